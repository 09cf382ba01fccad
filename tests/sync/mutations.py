"""Breaks the sync in ways that matter, one after the other, and says which of the tests notices.

`make mutations` runs it on a copy of the sources; docs/sync.md has its table. A mutation that nothing notices is a hole
in the property test, and the script ends with 1.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
EXAMPLES = os.environ.get("WINDSOCK_TEST_EXAMPLES", "400")
SECONDS = 900


@dataclass(frozen=True)
class Mutation:
    what: str
    file: str
    old: str
    new: str


MUTATIONS = (
    Mutation(
        "pages advance by the limit, not by the rows received",
        "providers/airflow/pages.py",
        "end = offset + len(part.rows)",
        "end = offset + self._limits.page",
    ),
    Mutation(
        "the watermark is our clock at the end of the pass",
        "sync/changes.py",
        "self._watermark = self.quick_from = await self._sweep(point, saves=saves)",
        "await self._sweep(point, saves=saves)\n            self._watermark = self.quick_from = datetime.now(UTC)",
    ),
    Mutation("no overlap before the watermark", "sync/changes.py", "timedelta(seconds=120)", "timedelta(seconds=0)"),
    Mutation(
        "task runs are not asked for what changed, only runs are",
        "sync/changes.py",
        'reading.scan("task_runs", self._provider.task_runs(scope, resume))',
        'reading.scan("task_runs", self._provider.task_runs(ChangedSince(datetime.now(UTC) + timedelta(days=9))))',
    ),
    Mutation(
        "a pass that broke off moves the watermark too",
        "sync/sync.sql",
        "watermark = CASE WHEN %(is_complete)s THEN %(watermark)s::timestamptz ELSE watermark END",
        "watermark = CASE WHEN %(is_complete)s THEN %(watermark)s::timestamptz"
        " ELSE watermark + interval '10 minutes' END",
    ),
    Mutation(
        "what is missing once is gone, also in a pass that breaks off",
        "sync/gone.sql",
        "UPDATE runs x SET {marks}",
        "UPDATE runs x SET removed_at = now(), {marks}",
    ),
    Mutation(
        "fewer rows than promised are taken for all",
        "providers/airflow/listing.py",
        "if self.least is not None and self.read < self.least - self.grown:",
        "if False:",
    ),
    Mutation(
        "the placeholder of a mapped task stays beside its instances",
        "sync/mirror.py",
        'await tx.run(QUERIES["drop_placeholders"], **self._space, keys=keys)',
        "",
    ),
    Mutation(
        "an interrupted first sync takes its watermark from the pass that ended it",
        "sync/passes.py",
        'return history, await self._poll(as_of, saves=False) if self._state["history"] else as_of',
        "return history, listed_at",
    ),
    Mutation(
        "a sync sets the criticality of what it stores",
        "sync/mirror.sql",
        "SET name = excluded.name, description",
        "SET criticality = 'medium', name = excluded.name, description",
    ),
    Mutation(
        "runs that have come back stay removed",
        "sync/mirror.sql",
        "triggered_by = excluded.triggered_by, provider_metadata = excluded.provider_metadata,\n"
        "        missed_by = NULL, gone_by = NULL, removed_at = NULL, archived_at = NULL,",
        "triggered_by = excluded.triggered_by, provider_metadata = excluded.provider_metadata,\n       ",
    ),
    Mutation(
        "each run that changed is fetched once more by itself",
        "sync/changes.py",
        "await reading.list_pipelines_when_unknown({run.pipeline_external_id for run in page.rows})\n"
        "                after",
        "for run in page.rows:\n"
        "                    for _ in range(4):\n"
        "                        await self._provider.run(run.pipeline_external_id, run.external_id)\n"
        "                await reading.list_pipelines_when_unknown({run.pipeline_external_id for run in page.rows})\n"
        "                after",
    ),
)


def main() -> int:
    chosen = [one for one in MUTATIONS if len(sys.argv) == 1 or any(word in one.what for word in sys.argv[1:])]
    print("| mutation | caught by | after |\n|---|---|---|", flush=True)  # noqa: T201 - it is what the script is for
    missed = 0
    for mutation in chosen:
        caught, seconds = _try(mutation)
        missed += caught is None
        print(f"| {mutation.what} | {caught or '**nothing**'} | {seconds:.0f} s |", flush=True)  # noqa: T201
    return 1 if missed else 0


def _try(mutation: Mutation) -> tuple[str | None, float]:
    """By what it was caught (None: by nothing), and how long that took."""
    with tempfile.TemporaryDirectory(prefix="windsock-mutation-") as folder:
        source = Path(folder) / "windsock"
        shutil.copytree(ROOT / "src" / "windsock", source, ignore=shutil.ignore_patterns("__pycache__"))
        Path(folder).chmod(0o755)
        file = source / mutation.file
        text = file.read_text(encoding="utf-8")
        if text.count(mutation.old) != 1:
            raise SystemExit(f"{mutation.file} has not exactly one place for: {mutation.what}")
        file.write_text(text.replace(mutation.old, mutation.new), encoding="utf-8")
        began = time.monotonic()
        caught = _run(folder)
        return caught, time.monotonic() - began


def _run(folder: str) -> str | None:
    command = [sys.executable, "-m", "pytest", "-q", "-x", "tests/sync/test_property.py", "--show-capture=no"]
    done = subprocess.run(
        [*command, "--tb=short", "-p", "no:cacheprovider"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": folder, "WINDSOCK_TEST_EXAMPLES": EXAMPLES},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    if done.returncode == 0:
        return None
    told = r"^E\s+AssertionError: (\([a-e]\)[^\n]*|the watermark passed|the mirror never came to rest)"
    found = re.findall(told, done.stdout, re.MULTILINE)
    if found:
        return "(e) the watermark" if "watermark" in found[0] else str(found[0])[:60]
    place = re.findall(r"^tests/sync/doubled\.py:\d+: in (\w+)", done.stdout, re.MULTILINE)
    if "assert_watermark_is_true" in place:
        return "(e) the watermark"
    if "assert_equal" in place:
        return "(a) mirror = source"
    if "settle" in place:
        return "(a) no good pass after quiet"
    raise SystemExit(f"the tests failed otherwise:\n{done.stdout[-3000:]}")


if __name__ == "__main__":
    sys.exit(main())
