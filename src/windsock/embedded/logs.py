"""The log of the embedded PostgreSQL: cut while it runs, so that it never fills the disk."""

import os
from pathlib import Path

from windsock.embedded.os_account import open_private

MAX_LOG_BYTES = 10_000_000


def cut(log: Path) -> bool:
    """Move what is in a log that is too large into `<name>.1`, at most its last MAX_LOG_BYTES. Whether it was.

    PostgreSQL keeps its descriptor, which appends: it goes on at the beginning of the emptied file.
    """
    try:
        if log.lstat().st_size <= MAX_LOG_BYTES:
            return False
    except FileNotFoundError:
        return False
    current = open_private(log, os.O_RDWR)
    try:
        end = os.fstat(current).st_size
        last = os.pread(current, MAX_LOG_BYTES, max(0, end - MAX_LOG_BYTES))
        earlier = open_private(log.with_name(f"{log.name}.1"), os.O_WRONLY | os.O_TRUNC)
        with os.fdopen(earlier, "wb") as file:
            file.write(last)
        os.ftruncate(current, 0)
    finally:
        os.close(current)
    return True
