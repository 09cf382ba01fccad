"""A process that serves keeps what memory it had, and does not look through the program for garbage."""

import ctypes
import platform
import subprocess
import sys

import pytest

from windsock import memory

GLIBC = platform.libc_ver()[0] == "glibc"
FAULTS = """
import resource, sys
from windsock.memory import keep_memory
is_kept = sys.argv[1] == "kept" and keep_memory()
def use():
    for _ in range(50):
        pieces = [bytes(5_000_000) + b"." for _ in range(3)]
        del pieces
use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
use()
print(int(is_kept), resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
FROZEN = """
import gc
from windsock import app
from windsock.memory import leave_alone_what_is_there
leave_alone_what_is_there()
print(gc.get_freeze_count(), len(gc.get_objects()))
"""


def run_program(program: str, *arguments: str) -> list[int]:
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True, timeout=60
    )
    return [int(word) for word in done.stdout.split()]


def test_fetched_tries_are_not_requested_again() -> None:
    (is_retained, stored), (_, released) = run_program(FAULTS, "kept"), run_program(FAULTS, "given back")
    assert bool(is_retained) is GLIBC
    if is_retained:
        assert stored <= 100
        assert released > stored


def test_another_c_library_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    assert memory.keep_memory() is False


def test_program_objects_are_frozen_from_gc() -> None:
    frozen, scanned = run_program(FROZEN)
    assert frozen > 50_000
    assert scanned < frozen / 10
