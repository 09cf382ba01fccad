"""Configures malloc and the garbage collector to keep freed memory in the process."""

import ctypes
import gc
from collections.abc import Callable

TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD = -1, -2, -3
"""The parameters of mallopt(3), as glibc's malloc.h numbers them."""
KEPT_BYTES = 32 * 2**20
LARGEST_BYTES = 8 * 2**20
AT_ONCE_BYTES = 2 * 2**20
OBJECTS_BETWEEN = 20_000
"""Made and not gone again, before garbage is looked for among the young; those of a page go by themselves."""


def keep_memory() -> bool:
    """For processes that answer or store pages. False where the C library knows no such thing, which does no harm.

    An answer is some hundred kilobytes, of which glibc gets each from the kernel by itself, page fault by page fault,
    and gives it back at once: two thirds of what the percentiles of 100 pipelines took. Up to KEPT_BYTES stay.
    """
    try:
        mallopt: Callable[[int, int], int] = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    wanted = ((MMAP_THRESHOLD, LARGEST_BYTES), (TRIM_THRESHOLD, KEPT_BYTES), (TOP_PAD, AT_ONCE_BYTES))
    return sum(mallopt(parameter, value) for parameter, value in wanted) == len(wanted)  # 1 each


def leave_alone_what_is_there() -> None:
    """The program itself is not looked through for garbage any more: that made every answer wait, 50 ms at a time.

    And what came later is looked through less often than Python would, at every 700 objects (3.11).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(OBJECTS_BETWEEN)
