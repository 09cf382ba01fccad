"""A row that the provider has and the mirror lacks: its identity, and where it lies in time."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import orjson

from windsock.db.database import Row
from windsock.db.queries import load
from windsock.providers.base import SkippedRow
from windsock.providers.scopes import NO_REGION_INDEX, NOT_MAPPED, RunRange, ScanScope, SingleRun, UpdatedSince

QUERIES = load(__package__, "skips.sql")

SMALLEST_INDEX, LARGEST_INDEX = -(2**63), 2**63 - 1
OPEN_END = datetime.max.replace(tzinfo=UTC)
MAX_REASON_LENGTH = 500

CLOCK_TOLERANCE = timedelta(minutes=10)
"""The clock that stamps a change may be ahead of the one that answers."""
LONGEST_CHANGES = timedelta(days=1)
"""Ranges of changes that overlap are joined up to this length."""

Span = tuple[datetime, datetime]
"""A window of runs or a range of changes, both ends included."""
Key = tuple[str, str | None, str | None, str | None, int | None, str | None, int | None]
"""Kind, DAG, run, task, map_index, region_id, region_index."""


class Place(NamedTuple):
    """Where a row was met: in a window of runs, in a range of changes, or neither is known."""

    span: Span | None
    changes: Span | None


@dataclass(frozen=True, slots=True)
class Entry:
    """A recorded row. `span`: the narrowest window of runs in which it was met; None: it was met among changes.

    `changes`: a range of changes in which a row without a name was met: this row, or another that was taken for it.
    """

    identity: UUID
    row: SkippedRow
    span: Span | None
    is_mirrored: bool = False
    task_runs: int = 0
    changes: Span | None = None

    @property
    def key(self) -> Key:
        return key_of(self.row)

    @property
    def is_named(self) -> bool:
        return is_named(self.row)

    @property
    def is_whole(self) -> bool:
        """Nothing of the row is stored as it is now."""
        return not self.row.fields

    def counted(self, kind: str, window: RunRange) -> int:
        """How many rows of the window that are in the provider's totals and not in the mirror it stands for."""
        if not self.is_whole or self.is_mirrored or self.span is None or not is_inside(self.span, window):
            return 0
        if window.pipeline_external_id not in {None, self.row.pipeline_external_id}:
            return 0
        if self.row.kind == kind:
            return max(1, self.row.unlisted)
        return self.task_runs if (self.row.kind, kind) == ("runs", "task_runs") else 0

    def is_within(self, scope: ScanScope | None) -> bool:
        """Whether reading all of `scope` must have met the row."""
        row = self.row
        if row.kind == "pipelines":
            return scope is None
        if isinstance(scope, SingleRun):
            return (row.pipeline_external_id, row.run_external_id) == (
                scope.pipeline_external_id,
                scope.run_external_id,
            )
        if not isinstance(scope, RunRange) or self.span is None:
            return False
        of_pipeline = scope.pipeline_external_id in {None, row.pipeline_external_id}
        return of_pipeline and is_inside(self.span, scope)

    def overlaps(self, scope: ScanScope | None) -> bool:
        """Whether reading all of `scope` may have met the row."""
        if not isinstance(scope, RunRange) or scope.pipeline_external_id not in {None, self.row.pipeline_external_id}:
            return False
        return overlaps(self.span, span_of(scope)) if self.span is not None else self.is_named

    def is_among(self, scope: UpdatedSince) -> bool:
        """Whether reading all of `scope` must have met what was met among changes."""
        if self.changes is None or scope.pipeline_external_id not in {None, self.row.pipeline_external_id}:
            return False
        return scope.since <= self.changes[0] and (scope.until is None or self.changes[1] <= scope.until)

    def may_lack(self, row: SkippedRow, changes: Span | None) -> bool:
        """A row without a name, met in `changes` if it is not None, may be this one."""
        if self.row.kind != row.kind or not self.is_whole or bool(self.row.unlisted) != bool(row.unlisted):
            return False
        if changes is None:
            return True
        known = self.changes
        is_near = known is None or (overlaps(known, changes) and changes[1] - known[0] <= LONGEST_CHANGES)
        return is_near and row.pipeline_external_id in {None, self.row.pipeline_external_id}

    def may_be(self, other: Entry) -> bool:
        """This one has no name, and `other`, of which more is known, may be the same row."""
        if self.is_named or other.span is None or self.row.kind != other.row.kind:
            return False
        if bool(self.row.unlisted) != bool(other.row.unlisted):
            return False
        if (self.key, self.span) == (other.key, other.span):
            return False
        ids = zip(self.key[1:], other.key[1:], strict=True)
        is_wider = self.span is None or (self.span[0] <= other.span[0] and other.span[1] <= self.span[1])
        return is_wider and all(mine in {None, theirs} for mine, theirs in ids)


def unlisted_rows(entries: Iterable[Entry]) -> Counter[str]:
    """By kind, how many rows of runs the provider counts and never lists."""
    total: Counter[str] = Counter()
    for entry in entries:
        total[entry.row.kind] += entry.row.unlisted if entry.row.kind != "pipelines" else 0
    return total


def entry_of(row: SkippedRow, place: Place, number: int) -> Entry:
    """`number`: of a row without a name, which of those with the same ids in the same reading it is."""
    where: list[object] = []
    if not is_named(row):
        bounds = None if row.run_external_id else place.span or place.changes
        where = [number, bounds and [at.isoformat() for at in bounds]]
    key = key_of(row)
    ids = key if row.region_id else key[:5]  # as it was before there were regions
    digest = hashlib.sha256(orjson.dumps([ids, where])).digest()
    return Entry(UUID(bytes=digest[:16]), row, place.span, changes=place.changes)


def key_of(row: SkippedRow) -> Key:
    """Return the key of a row; for a task run that is not mapped, NOT_MAPPED equals no map_index."""
    index = _stored_index(row.map_index)
    ids = (row.pipeline_external_id, row.run_external_id, row.task_external_id)
    return row.kind, *ids, None if index == NOT_MAPPED else index, *_region(row)


def is_named(row: SkippedRow) -> bool:
    ids = {"pipelines": row.pipeline_external_id, "runs": row.run_external_id, "task_runs": row.task_external_id}
    return bool(row.pipeline_external_id and ids[row.kind])


def is_nameless(row: SkippedRow) -> bool:
    """Neither the row nor its run has a name."""
    return not is_named(row) and row.kind != "pipelines" and not row.run_external_id


def within(row: SkippedRow, scope: ScanScope | None) -> SkippedRow:
    """The row with the ids that the question tells where the provider does not."""
    dag_id = row.pipeline_external_id or getattr(scope, "pipeline_external_id", None)
    run_id = row.run_external_id or getattr(scope, "run_external_id", None)
    return replace(row, pipeline_external_id=dag_id, run_external_id=run_id)


def span_of(scope: ScanScope | None) -> Span | None:
    return (scope.start, scope.end or OPEN_END) if isinstance(scope, RunRange) else None


def place_of(row: SkippedRow, scope: ScanScope | None, now: datetime | None) -> Place:
    """Where a reading of `scope` met the row. `now`: by the provider's clock."""
    if not isinstance(scope, UpdatedSince) or scope.runs_until is not None or not is_nameless(row) or row.unlisted:
        return Place(span_of(scope), None)
    return Place(None, (scope.since, scope.until or (now or datetime.now(UTC)) + CLOCK_TOLERANCE))


def is_inside(span: Span, window: RunRange) -> bool:
    return window.start <= span[0] and (window.end is None or span[1] <= window.end)


def overlaps(span: Span | None, other: Span | None) -> bool:
    """Not where one begins as the other ends: those are neighbours."""
    if span is None or other is None:
        return False
    return span == other or (span[0] < other[1] and other[0] < span[1])


def hull(span: Span | None, other: Span | None) -> Span | None:
    if span is None or other is None:
        return span or other
    return min(span[0], other[0]), max(span[1], other[1])


def narrowest(span: Span | None, before: Span | None) -> Span | None:
    if span is None or before is None:
        return span or before
    return min(span, before, key=lambda bounds: bounds[1] - bounds[0])


def ids_of(row: SkippedRow) -> Row:
    return {
        "pipeline_external_id": row.pipeline_external_id,
        "run_external_id": row.run_external_id,
        "task_external_id": row.task_external_id,
        "region_id": _region(row)[0],
        "region_index": _region(row)[1],
        "map_index": _stored_index(row.map_index),
    }


def columns_of(entry: Entry) -> Row:
    start, end = entry.span or (None, None)
    changed_from, changed_until = entry.changes or (None, None)
    return {
        "identity": entry.identity,
        "kind": entry.row.kind,
        **ids_of(entry.row),
        "fields": list(entry.row.fields),
        "reason": entry.row.reason[:MAX_REASON_LENGTH],
        "unlisted": entry.row.unlisted,
        "window_start": start,
        "window_end": end,
        "changed_from": changed_from,
        "changed_until": changed_until,
    }


def recorded(row: Row) -> Entry:
    """A row of the table as an Entry."""
    changes = None if row["changed_from"] is None else (row["changed_from"], row["changed_until"])
    return Entry(row["identity"], skipped_row(row), recorded_span(row), row["is_mirrored"], row["task_runs"], changes)


def recorded_span(row: Row) -> Span | None:
    return None if row["window_start"] is None else (row["window_start"], row["window_end"])


def skipped_row(row: Row) -> SkippedRow:
    names = ("kind", "reason", "unlisted", *ids_of(SkippedRow(kind="runs", reason="")))
    return SkippedRow(**{name: row[name] for name in names}, fields=tuple(row["fields"]))


def _stored_index(map_index: int | None) -> int | None:
    return map_index if map_index is not None and SMALLEST_INDEX <= map_index <= LARGEST_INDEX else None


def _region(row: SkippedRow) -> tuple[str | None, int | None]:
    """Nothing where there is none."""
    index = _stored_index(row.region_index)
    return (row.region_id, None if index == NO_REGION_INDEX else index) if row.region_id else (None, None)


def key_of_run(dag_id: str, run_id: str) -> Key:
    return "runs", dag_id, run_id, None, None, None, None
