"""Breaks the sync in ways that matter, one after the other, and says which of the tests notices.

`make mutations` runs it on a copy of the sources; docs/sync-testing.md has its table. A mutation that nothing notices
is a hole in the property test, and the script ends with 1.
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
from pathlib import Path

from sync.mutations import MUTATIONS, Mutation

ROOT = Path(__file__).parents[2]
EXAMPLES = os.environ.get("WINDSOCK_TEST_EXAMPLES", "400")
SECONDS = 900


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("words", nargs="*", help="only the mutations in whose sentence one of them stands")
    arguments.add_argument("--jobs", type=int, default=1, help="how many are tried at a time")
    options = arguments.parse_args()
    chosen = [item for item in MUTATIONS if not options.words or any(word in item.what for word in options.words)]
    for candidate in chosen:
        candidate.mutated(ROOT / "src" / "windsock")  # all of them, before the first hour is spent
    print("| mutation | caught by | after |\n|---|---|---|", flush=True)  # noqa: T201 - it is what the script is for
    missed = 0
    with ThreadPoolExecutor(options.jobs) as pool:
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
        started = time.monotonic()
        caught = _run(folder)
        return caught, time.monotonic() - started


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
        match = re.match(r"\([a-e]\) [^\[({:]*", sentence)
        if match:
            return match[0].strip()
    place = re.findall(r"^tests/sync/harness\.py:\d+: in (\w+)", done.stdout, re.MULTILINE)
    if "settle" in place:
        return "(a) no good pass after quiet"
    raise SystemExit(f"the tests failed otherwise:\n{done.stdout[-3000:]}")


if __name__ == "__main__":
    sys.exit(main())
