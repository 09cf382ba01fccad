"""A row that the provider has and the mirror lacks: its identity, where it lies in time, and its warning in words."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from uuid import UUID

import orjson

from windsock.db.database import Row, Transaction
from windsock.db.queries import load
from windsock.providers.base import SkippedRow
from windsock.providers.scopes import NO_REGION_INDEX, NOT_MAPPED, RunRange, ScanScope, SingleRun
from windsock.sync.progress import Progress

QUERIES = load(__package__, "skips.sql")

SMALLEST_INDEX, LARGEST_INDEX = -(2**63), 2**63 - 1
OPEN_END = datetime.max.replace(tzinfo=UTC)
MAX_NAME_LENGTH, MAX_REASON_LENGTH = 250, 500
MAX_NAMED = 20
"""Warnings of one sync."""

Span = tuple[datetime, datetime]
"""A window of runs, both ends included."""
Key = tuple[str, str | None, str | None, str | None, int | None, str | None, int | None]
"""Kind, DAG, run, task, map_index, region_id, region_index."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A recorded row. `span`: the narrowest window of runs in which it was met; None: it was met among changes."""

    identity: UUID
    row: SkippedRow
    span: Span | None
    is_mirrored: bool = False
    task_runs: int = 0

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


def entry_of(row: SkippedRow, span: Span | None, place: int) -> Entry:
    """`place`: of a row without a name, which of those with the same ids in the same reading it is."""
    where: list[object] = []
    if not is_named(row):
        where = [place, None if row.run_external_id or span is None else [at.isoformat() for at in span]]
    key = key_of(row)
    ids = key if row.region_id else key[:5]  # as it was before there were regions
    digest = hashlib.sha256(orjson.dumps([ids, where])).digest()
    return Entry(UUID(bytes=digest[:16]), row, span)


def key_of(row: SkippedRow) -> Key:
    """Return the key of a row; for a task run that is not mapped, NOT_MAPPED equals no map_index."""
    index = _stored_index(row.map_index)
    ids = (row.pipeline_external_id, row.run_external_id, row.task_external_id)
    return row.kind, *ids, None if index == NOT_MAPPED else index, *_region(row)


def is_named(row: SkippedRow) -> bool:
    ids = {"pipelines": row.pipeline_external_id, "runs": row.run_external_id, "task_runs": row.task_external_id}
    return bool(row.pipeline_external_id and ids[row.kind])


def within(row: SkippedRow, scope: ScanScope | None) -> SkippedRow:
    """The row with the ids that the question tells where the provider does not."""
    dag_id = row.pipeline_external_id or getattr(scope, "pipeline_external_id", None)
    run_id = row.run_external_id or getattr(scope, "run_external_id", None)
    return replace(row, pipeline_external_id=dag_id, run_external_id=run_id)


def span_of(scope: ScanScope | None) -> Span | None:
    return (scope.start, scope.end or OPEN_END) if isinstance(scope, RunRange) else None


def is_inside(span: Span, window: RunRange) -> bool:
    return window.start <= span[0] and (window.end is None or span[1] <= window.end)


def overlaps(span: Span | None, other: Span | None) -> bool:
    """Not where one begins as the other ends: those are neighbours."""
    if span is None or other is None:
        return False
    return span == other or (span[0] < other[1] and other[0] < span[1])


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
    return {
        "identity": entry.identity,
        "kind": entry.row.kind,
        **ids_of(entry.row),
        "fields": list(entry.row.fields),
        "reason": entry.row.reason[:MAX_REASON_LENGTH],
        "unlisted": entry.row.unlisted,
        "window_start": start,
        "window_end": end,
    }


def recorded(row: Row) -> Entry:
    """A row of the table as an Entry."""
    return Entry(row["identity"], skipped_row(row), recorded_span(row), row["is_mirrored"], row["task_runs"])


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


def warning_of(row: SkippedRow) -> str:
    """Names DAG, run and task as far as they are known, and the reason."""
    dag, run = _named("DAG", row.pipeline_external_id), _named("run", row.run_external_id)
    of_dag = f" of {dag}" if row.pipeline_external_id else ""
    of_run = f" of {run}{of_dag}" if row.run_external_id else of_dag
    if row.kind == "pipelines":
        subject = dag
    elif row.kind == "runs":
        subject = f"{run}{of_dag}"
    else:
        is_mapped = row.map_index is not None and row.map_index != NOT_MAPPED
        index = f"[{row.map_index}]" if is_mapped else ""
        region_id, region_index = _region(row)
        of_region = "" if region_index in {None, row.map_index} else f", index {region_index}"
        region = f" (region {region_id[:MAX_NAME_LENGTH]}{of_region})" if region_id else ""
        subject = f"{_named('task', row.task_external_id)}{index}{region}{of_run}"
    subject = subject[0].upper() + subject[1:]
    reason = row.reason.replace("\0", "\ufffd")[:MAX_REASON_LENGTH].rstrip(". ")
    if row.fields:
        return f"{subject} is stored without {', '.join(row.fields)}: {reason}."
    return f"{subject} is left as it was or left out: {reason}."


def _named(noun: str, external_id: str | None) -> str:
    return f"{noun} {external_id[:MAX_NAME_LENGTH]}" if external_id else f"a {noun} that Airflow does not name"


async def warn_of_skipped(tx: Transaction, progress: Progress) -> None:
    """Name the rows that the mirror lacks at the end of a sync, whichever sync met them."""
    names = {"space_id": progress.space_id, "connector_id": progress.connector_id}
    rows = await tx.fetch_all(QUERIES["summarize_skipped_rows"], **names, most=MAX_NAMED)
    progress.skipped = rows[0]["total"] if rows else 0
    for row in rows:
        progress.warn(warning_of(skipped_row(row)))
    if progress.skipped > len(rows):
        progress.warn(
            f"And {progress.skipped - len(rows)} more rows of Airflow could not be read or stored completely."
        )
