"""Breaks the sync or the outbox in ways that matter, one after the other, and says which check notices.

`make mutations` runs it on a copy of the sources. Its tables are in docs/sync-testing.md and notification-testing.md.
A mutation that nothing notices is a hole in the property test, and the script ends with 1.
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
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import notifications.mutations
import sync.mutations
from mutation_testing.mutation import Mutation

ROOT = Path(__file__).parents[2]
EXAMPLES = os.environ.get("WINDSOCK_TEST_EXAMPLES", "400")
SECONDS = 900


@dataclass(frozen=True)
class Suite:
    """A property test and its mutations. `read_failure`: which check failed, from pytest's output, if one did."""

    test: str
    mutations: tuple[Mutation, ...]
    read_failure: Callable[[str], str | None]


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("words", nargs="*", help="only the mutations in whose sentence one of them stands")
    arguments.add_argument("--of", choices=SUITES, default="sync", help="what is broken")
    arguments.add_argument("--jobs", type=int, default=1, help="how many are tried at a time")
    options = arguments.parse_args()
    suite = SUITES[options.of]
    chosen = [item for item in suite.mutations if not options.words or any(word in item.what for word in options.words)]
    for candidate in chosen:
        candidate.mutated(ROOT / "src" / "windsock")  # all of them, before the first hour is spent
    print("| mutation | caught by | after |\n|---|---|---|", flush=True)  # noqa: T201 - it is what the script is for
    missed = 0
    with ThreadPoolExecutor(options.jobs) as pool:
        for mutation, (caught, seconds) in zip(chosen, pool.map(partial(_try, suite), chosen), strict=True):
            missed += caught is None
            print(f"| {mutation.what} | {caught or '**nothing**'} | {seconds:.0f} s |", flush=True)  # noqa: T201
    return 1 if missed else 0


def _try(suite: Suite, mutation: Mutation) -> tuple[str | None, float]:
    """By what it was caught (None: by nothing), and how long that took."""
    with tempfile.TemporaryDirectory(prefix="windsock-mutation-") as folder:
        source = Path(folder) / "windsock"
        shutil.copytree(ROOT / "src" / "windsock", source, ignore=shutil.ignore_patterns("__pycache__"))
        Path(folder).chmod(0o755)
        (source / mutation.file).write_text(mutation.mutated(source), encoding="utf-8")
        started = time.monotonic()
        caught = _run(suite, folder)
        return caught, time.monotonic() - started


def _run(suite: Suite, folder: str) -> str | None:
    """The test ends with the first example that fails."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", suite.test, "--show-capture=no"]
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
    if (caught := suite.read_failure(done.stdout)) is not None:
        return caught
    raise SystemExit(f"the tests failed otherwise:\n{done.stdout[-3000:]}")


def _read_sync_failure(output: str) -> str | None:
    for sentence in re.findall(r"^E\s+AssertionError: ([^\n]*)", output, re.MULTILINE):
        match = re.match(r"\([a-e]\) [^\[({:]*", sentence)
        if match:
            return match[0].strip()
    place = re.findall(r"^tests/sync/harness\.py:\d+: in (\w+)", output, re.MULTILINE)
    return "(a) no good pass after quiet" if "settle" in place else None


def _read_outbox_failure(output: str) -> str | None:
    """The sentence of the assertion; an example that does not fail again is in a group of exceptions, behind bars."""
    match = re.search(r"^[E |]+AssertionError: ([^\n:({\[]*)", output, re.MULTILINE)
    return match[1].strip() if match else None


SUITES = {
    "sync": Suite("tests/sync/test_property.py", sync.mutations.MUTATIONS, _read_sync_failure),
    "outbox": Suite("tests/notifications/test_outbox.py", notifications.mutations.MUTATIONS, _read_outbox_failure),
}

if __name__ == "__main__":
    sys.exit(main())
