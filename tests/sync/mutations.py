"""Breaks the sync in ways that matter, one after the other, and says which of the tests notices.

`make mutations` runs it on a copy of the sources; docs/sync.md has its table. A mutation that nothing notices is a hole
in the property test, and the script ends with 1.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
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

    def mutated(self, source: Path) -> str:
        """The file with the mutation."""
        text = (source / self.file).read_text(encoding="utf-8")
        if text.count(self.old) != 1:
            raise SystemExit(f"{self.file} has not exactly one place for: {self.what}")
        return text.replace(self.old, self.new)


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
        "self._watermark, self.is_behind = step_ends or as_of, step_ends is not None",
        "self._watermark, self.is_behind = datetime.now(UTC), False",
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
        "a pass that broke off is the first of the two looks that it takes",
        "sync/gone.sql",
        "WHERE s.space_id = %(space_id)s AND s.id = x.missed_by AND s.status = 'complete') AS is_again",
        "WHERE s.space_id = %(space_id)s AND s.id = x.missed_by) AS is_again",
    ),
    Mutation(
        "what is missing for the first time is not looked for again soon",
        "sync/passes.py",
        "            looks_again=looks_again,\n",
        "            looks_again=False,\n",
    ),
    Mutation(
        "a loss of many pipelines at once is not held back",
        "sync/holding.py",
        "if is_much or (lost and lost == known):",
        "if lost < 0:",
    ),
    Mutation(
        "another Airflow is not recognised",
        "sync/holding.py",
        "if disagree < ENOUGH_WITNESSES:",
        "if disagree < ENOUGH_WITNESSES * 9:",
    ),
    Mutation(
        "what came back into sight is not read again",
        "sync/mirror.sql",
        "OR (%(has_begun)s AND (pipelines.missed_by IS NOT NULL OR pipelines.removed_at IS NOT NULL)),",
        "OR false,",
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
        "the placeholder of a mapped task goes with what was said about it",
        "sync/mirror.py",
        'await tx.run(QUERIES["expand_placeholders"], **self._space, keys=keys)',
        "",
    ),
    Mutation(
        "the iteration is no part of what identifies a task run",
        "providers/airflow/dialect.py",
        "region = (row.region_id, row.region_index)",
        "region = (row.region_id,)",
    ),
    Mutation(
        "a sync sets the criticality of what it stores",
        "sync/mirror.sql",
        "SET name = excluded.name, description",
        "SET criticality = 'medium', name = excluded.name, description",
    ),
    Mutation(
        "an interrupted first sync takes its watermark from the pass that ended it",
        "sync/passes.py",
        "return history, await self._poll(as_of, saves=False) if is_due else as_of",
        "return history, listed_at",
    ),
    Mutation(
        "a sweep that was broken off and went on is called true as of its end",
        "sync/changes.py",
        "if point and not self.is_behind:",
        "if False:",
    ),
    Mutation(
        "entries of the log are noted as seen before they are followed",
        "sync/changes.py",
        "        hints = await self._hints()\n        if hints.touches_pipelines",
        "        hints = await self._hints()\n"
        "        async with self._reading.db.in_space(self._reading.progress.space_id) as tx:\n"
        "            seen = {'is_readable': hints.seen is not None, 'seen': hints.seen or [], 'once': hints.once}\n"
        "            await tx._connection.execute('UPDATE sync_states SET events = %s', (Jsonb(seen),))\n"
        "        if hints.touches_pipelines",
    ),
    Mutation(
        "runs that have come back stay removed",
        "sync/mirror.sql",
        "triggered_by = excluded.triggered_by, provider_metadata = excluded.provider_metadata,\n"
        "        missed_by = NULL, gone_by = NULL, removed_at = NULL, archived_at = NULL,",
        "triggered_by = excluded.triggered_by, provider_metadata = excluded.provider_metadata,\n       ",
    ),
    Mutation(
        "a column is left out of what tells whether a row has changed",
        "sync/mirror.sql",
        "e.queue, e.hostname, e.note, e.provider_metadata)",
        "e.queue, e.hostname, i.note, e.provider_metadata)",
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
    Mutation(
        "any 404 at the address of a run is taken for its deletion",
        "providers/airflow/lookup.py",
        "    if not has_address(dag_id, run_id):\n"
        "        raise _AddressUnusable(_NO_ADDRESS)\n"
        "    path = f\"{dialect.root}/dags/{quote(dag_id, safe='~')}/dagRuns/{quote(run_id, safe='~')}\"\n"
        "    try:\n"
        "        body = (await ask(path, {})).body\n"
        "    except (ProviderRefused, ProviderNonsense) as failure:\n"
        "        if _says_missing(failure, dag_id, run_id):\n",
        "    path = f\"{dialect.root}/dags/{quote(dag_id, safe='~')}/dagRuns/{quote(run_id, safe='~')}\"\n"
        "    try:\n"
        "        body = (await ask(path, {})).body\n"
        "    except (ProviderRefused, ProviderNonsense) as failure:\n"
        "        if failure.status == HTTPStatus.NOT_FOUND:\n",
    ),
    Mutation(
        "a run id that is used again is taken for the run that had it",
        "sync/mirror.sql",
        "SELECT i.*, e.id AS known_id, {is_another} AS is_another,",
        "SELECT i.*, e.id AS known_id, false AS is_another,",
    ),
    Mutation(
        "what the mirror takes for unfinished is not asked for again",
        "sync/unfinished.py",
        "    if not believed:",
        "    if believed is not None:",
    ),
    Mutation(
        "the large mode is never left",
        "sync/polling.py",
        'return "small" if is_quick or is_small else mode',
        "return mode",
    ),
    Mutation(
        "a pipeline that is read by itself keeps the watermark of all",
        "sync/per_dag.py",
        'since = min(watermark, reading.state["vouched_until"] or watermark) - OVERLAP',
        "since = (self._provider.as_of or watermark) - OVERLAP",
    ),
    Mutation(
        "an idle sync asks who answers",
        "sync/passes.py",
        'if has_moved or state["failures"] > 0 or state["held"] is not None:',
        "if True:",
    ),
)


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("words", nargs="*", help="only the mutations in whose sentence one of them stands")
    arguments.add_argument("--jobs", type=int, default=1, help="how many are tried at a time")
    given = arguments.parse_args()
    chosen = [one for one in MUTATIONS if not given.words or any(word in one.what for word in given.words)]
    for one in chosen:
        one.mutated(ROOT / "src" / "windsock")  # all of them, before the first hour is spent
    print("| mutation | caught by | after |\n|---|---|---|", flush=True)  # noqa: T201 - it is what the script is for
    missed = 0
    with ThreadPoolExecutor(given.jobs) as pool:
        for mutation, (caught, seconds) in zip(chosen, pool.map(_try, chosen), strict=True):
            missed += caught is None
            print(f"| {mutation.what} | {caught or '**nothing**'} | {seconds:.0f} s |", flush=True)  # noqa: T201
    return 1 if missed else 0


def _try(mutation: Mutation) -> tuple[str | None, float]:
    """By what it was caught (None: by nothing), and how long that took."""
    with tempfile.TemporaryDirectory(prefix="windsock-mutation-") as folder:
        source = Path(folder) / "windsock"
        shutil.copytree(ROOT / "src" / "windsock", source, ignore=shutil.ignore_patterns("__pycache__"))
        Path(folder).chmod(0o755)
        (source / mutation.file).write_text(mutation.mutated(source), encoding="utf-8")
        began = time.monotonic()
        caught = _run(folder)
        return caught, time.monotonic() - began


def _run(folder: str) -> str | None:
    """The test ends with the first life that fails."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "tests/sync/test_property.py", "--show-capture=no"]
    try:
        done = subprocess.run(
            [*command, "--tb=short", "-p", "no:cacheprovider"],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": folder, "WINDSOCK_TEST_EXAMPLES": EXAMPLES},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return None
    if done.returncode == 0:
        return None
    for sentence in re.findall(r"^E\s+AssertionError: ([^\n]*)", done.stdout, re.MULTILINE):
        told = re.match(r"\([a-e]\) [^\[({:]*", sentence)
        if told:
            return told[0].strip()
    place = re.findall(r"^tests/sync/doubled\.py:\d+: in (\w+)", done.stdout, re.MULTILINE)
    if "settle" in place:
        return "(a) no good pass after quiet"
    raise SystemExit(f"the tests failed otherwise:\n{done.stdout[-3000:]}")


if __name__ == "__main__":
    sys.exit(main())
