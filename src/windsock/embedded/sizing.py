"""Computes PostgreSQL's memory settings."""

import os
from contextlib import suppress
from pathlib import Path

LEAST_MB, MOST_MB = 128, 1024
"""PostgreSQL's own default; and a size beyond which nothing was gained (docs/decisions/0001)."""
SHARE = 8
LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
"""Of a container: cgroup v2 (`max` for none, https://docs.kernel.org/admin-guide/cgroup-v2.html) and v1."""


def shared_buffers() -> str:
    """An eighth of the memory there is, as PostgreSQL's setting has it."""
    megabytes = memory_bytes() // SHARE // 2**20
    return f"{min(max(megabytes, LEAST_MB), MOST_MB)}MB"


def memory_bytes(limits: tuple[Path, ...] = LIMITS) -> int:
    """Return the memory of the machine, or a container's limit; 0 if it is unknown."""
    known: list[int] = []
    with suppress(OSError, ValueError):  # not known there, not the name of anything there
        known.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for limit in limits:
        with suppress(OSError, ValueError):
            known.append(int(limit.read_text()))
    return max(min(known, default=0), 0)
