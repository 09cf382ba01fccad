"""Locks the kernel lets go of when their holder dies, however it dies."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from windsock.embedded.errors import EmbeddedPostgresError
from windsock.embedded.os_account import open_private


def try_lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def held_exclusively(path: Path, *, timeout: float) -> Iterator[None]:
    descriptor = open_private(path, os.O_RDWR)
    try:
        deadline = time.monotonic() + timeout
        while not try_lock(descriptor, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                raise EmbeddedPostgresError(
                    f"Another Windsock has been starting or stopping PostgreSQL in {path.parent} for more than "
                    f"{timeout:.0f} s. Look at its log, or end it."
                )
            time.sleep(0.02)
        yield
    finally:
        os.close(descriptor)
