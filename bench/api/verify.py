"""Whether two servers answer the same: what is compared must be equal in content."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ERROR = 0.02
"""Twice what percentiles promise: the brute force's own ranks lie between two of ours."""


def compared(where: str, ours: Sequence[Any], theirs: Sequence[Any]) -> int:
    """How many rows were compared; raises where there are none, or `theirs` says something else."""
    if len(ours) != len(theirs) or not ours:
        raise RuntimeError(f"{len(ours)} rows, not {len(theirs)}: {where}")
    for mine, other in zip(ours, theirs, strict=True):
        if found := list(_differences(mine, other, "")):
            raise RuntimeError(f"{where}: {found[:3]}")
    return len(ours)


def _differences(mine: Any, other: Any, where: str) -> Iterator[str]:  # noqa: ANN401 - JSON
    if isinstance(mine, dict) and isinstance(other, dict):
        if mine.keys() != other.keys():
            yield f"{where}: {sorted(mine.keys() ^ other.keys())}"
        for name in mine.keys() & other.keys():
            yield from _differences(mine[name], other[name], f"{where}.{name}")
    elif isinstance(mine, list) and isinstance(other, list):
        if len(mine) != len(other):
            yield f"{where}: {len(mine)} and {len(other)}"
        for place, (left, two) in enumerate(zip(mine, other, strict=False)):
            yield from _differences(left, two, f"{where}[{place}]")
    elif isinstance(mine, float | int) and isinstance(other, float | int) and not isinstance(mine, bool):
        near = ERROR if where.endswith(("p50_duration_seconds", "p95_duration_seconds")) else 1e-9
        if not math.isclose(mine, other, rel_tol=near):
            yield f"{where}: {mine} and {other}"
    elif _plain(mine) != _plain(other):
        yield f"{where}: {mine!r} and {other!r}"


def _plain(value: object) -> object:
    """A time with or without the zeros behind it."""
    if isinstance(value, str) and value.endswith("Z") and "." in value:
        return value[:-1].rstrip("0").rstrip(".") + "Z"
    return value
