"""Stores a page although some of its rows cannot be stored: bisects to the row, then to its fields."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Generic, Literal, TypeVar

import psycopg

from windsock.db.database import Transaction
from windsock.db.sqlstates import is_unstorable
from windsock.providers.base import ProviderPipeline, ProviderRun, ProviderTaskRun, SkippedRow

Kind = Literal["pipelines", "runs", "task_runs"]
T = TypeVar("T", ProviderPipeline, ProviderRun, ProviderTaskRun)
R = TypeVar("R")

NEUTRAL: dict[str, Any] = {
    "conf": {},
    "provider_metadata": {},
    "owners": [],
    "tags": [],
    "try_number": 0,
    "max_tries": 0,
}
"""What stands for a field that cannot be stored; of all others that may be missing, None. Names become the id."""
ESSENTIAL = frozenset(
    {
        "pipeline_external_id", "run_external_id", "external_id", "map_index", "status", "run_type", "run_at",
        "is_paused", "is_active", "has_import_errors", "region_id", "region_index",
    }
)  # fmt: skip
"""A row that cannot be stored with these is skipped: without them it would be another row, or a false one."""
LONGEST_REASON = 300


class Unstorable(Exception):
    """A page was refused because of a value in it; the cause is the database's error."""


async def storing(work: Awaitable[R]) -> R:
    """Raises Unstorable where PostgreSQL, or what writes to it, refuses a value."""
    try:
        return await work
    except Exception as error:
        if is_unstorable(error):
            raise Unstorable from error
        raise


@dataclass(slots=True)
class Isolated(Generic[R]):
    """Result of a page: the results of its parts, and rows that were skipped or stored without fields."""

    results: list[R] = field(default_factory=list)
    skipped: list[SkippedRow] = field(default_factory=list)


async def store_isolated(
    tx: Transaction, kind: Kind, rows: Sequence[T], store: Callable[[list[T]], Awaitable[R]]
) -> Isolated[R]:
    """Store all rows that can be stored, each part under a separate savepoint.

    For after a page was refused as a whole: n bad rows of m cost about n · log₂ m attempts, and one for each of their
    fields. Raises what is not the fault of a value.
    """
    isolated: Isolated[R] = Isolated()
    culprits: Counter[str] = Counter()
    parts = [list(rows)]
    while parts:
        part = parts.pop()
        result, error = await _attempt(tx, part, store)
        if error is None:
            isolated.results.append(result)  # type: ignore[arg-type]
        elif len(part) > 1:
            middle = len(part) // 2
            parts += [part[middle:], part[:middle]]
        else:
            await _store_without_fields(tx, kind, part[0], error, store, isolated, culprits)
    return isolated


async def _store_without_fields(
    tx: Transaction,
    kind: Kind,
    row: T,
    error: Exception,
    store: Callable[[list[T]], Awaitable[R]],
    isolated: Isolated[R],
    culprits: Counter[str],
) -> None:
    optional: list[str] = [field.name for field in fields(row) if field.name not in ESSENTIAL]
    # Mostly it is one field, and in all rows of a page the same one.
    optional.sort(key=lambda name: -culprits[name])
    for names in [*((name,) for name in optional), tuple(optional)]:
        candidate = _without(row, names)
        if candidate == row:
            continue
        result, refused = await _attempt(tx, [candidate], store)
        if refused is None:
            culpable = names if len(names) == 1 else await _fewest(tx, row, names, store)
            culprits.update(culpable)
            isolated.results.append(result)  # type: ignore[arg-type]
            isolated.skipped.append(skipped_row(kind, row, _reason(error), culpable))
            return
    isolated.skipped.append(skipped_row(kind, row, _reason(error)))


async def _fewest(
    tx: Transaction, row: T, names: tuple[str, ...], store: Callable[[list[T]], Awaitable[R]]
) -> tuple[str, ...]:
    """Stores the row, which can be stored without all of `names`, with each of them that can be stored, too."""
    left = names
    for name in names:
        fewer = tuple(field for field in left if field != name)
        candidate = _without(row, fewer)
        if candidate == _without(row, left) or (await _attempt(tx, [candidate], store))[1] is None:
            left = fewer
    return left


async def _attempt(
    tx: Transaction, rows: list[T], store: Callable[[list[T]], Awaitable[R]]
) -> tuple[R | None, Exception | None]:
    try:
        async with tx.savepoint():
            return await storing(store(rows)), None
    except Unstorable as refused:
        return None, refused


def skipped_row(kind: Kind, row: T, reason: str, without: tuple[str, ...] = ()) -> SkippedRow:
    """The row as a SkippedRow."""
    if isinstance(row, ProviderPipeline):
        return SkippedRow(kind=kind, reason=reason, pipeline_external_id=row.external_id, fields=without)
    is_task = isinstance(row, ProviderTaskRun)
    return SkippedRow(
        kind=kind,
        reason=reason,
        pipeline_external_id=row.pipeline_external_id,
        run_external_id=row.run_external_id if isinstance(row, ProviderTaskRun) else row.external_id,
        task_external_id=row.external_id if is_task else None,
        region_id=row.region_id if isinstance(row, ProviderTaskRun) else None,
        region_index=row.region_index if isinstance(row, ProviderTaskRun) else None,
        map_index=row.map_index if isinstance(row, ProviderTaskRun) else None,
        fields=without,
    )


def _without(row: T, names: tuple[str, ...]) -> T:
    changes: dict[str, Any] = {name: row.external_id if name == "name" else NEUTRAL.get(name) for name in names}
    return replace(row, **changes)


def _reason(refused: Exception) -> str:
    error = refused.__cause__
    message = error.diag.message_primary if isinstance(error, psycopg.Error) else None
    return f"it cannot be stored ({(message or str(error))[:LONGEST_REASON]})"
