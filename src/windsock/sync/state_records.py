"""JSON documents in the sync state of a connector, as records; pydantic reads and writes them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from windsock.providers.scopes import Resume
from windsock.sync.polling import RunKey

Stream = Literal["runs", "task_runs"]
BACKLOG_KEYS = ("pending", "missed", "older")
"""Runs that the next pass looks at, as EventLogCursor has them."""


@dataclass(frozen=True, slots=True)
class WindowPosition:
    """Position within a window of the backfill that is half read."""

    start: datetime
    end: datetime | None
    stream: Stream
    resume: Resume
    saved_at: datetime


@dataclass(frozen=True, slots=True)
class BackfillPosition:
    """How far back the history has been read (`end`) and is to be read (`goal`); `span` is that of the next window.

    `as_of`: the provider's clock before the first window. `window`: position within the next one, if it is half read.
    """

    as_of: datetime
    goal: datetime
    end: datetime | None = None
    span: timedelta | None = None
    is_complete: bool = False
    window: WindowPosition | None = None


@dataclass(frozen=True, slots=True)
class ChangesCheckpoint:
    """Position in an unfinished full poll. `until`: where its step ends; None for one that reads all changes."""

    since: datetime
    until: datetime | None = None
    stream: Stream = "runs"
    as_of: datetime | None = None
    resume: Resume | None = None
    saved_at: datetime | None = None
    kind: Literal["changes"] = "changes"


@dataclass(frozen=True, slots=True)
class ResyncCheckpoint:
    """Position in an unfinished full sync. DAG by DAG it has no position, but the time when it began."""

    position: BackfillPosition | None = None
    started_at: datetime | None = None
    saved_at: datetime | None = None
    kind: Literal["history"] = "history"


Checkpoint = ChangesCheckpoint | ResyncCheckpoint


@dataclass(frozen=True, slots=True)
class EventLogCursor:
    """Position in the event log, and the runs that the next pass looks at.

    `pending`: named by the log. `missed`: not found when looked for, which is one observation of their deletion.
    `older`: runs from before the history that came because they changed. `since` and `retry_at` of a log that failed.
    """

    is_readable: bool = False
    processed_ids: list[int] = field(default_factory=list)
    recheck_ids: list[int] = field(default_factory=list)
    pending: list[RunKey] = field(default_factory=list)
    missed: list[RunKey] = field(default_factory=list)
    older: list[RunKey] = field(default_factory=list)
    since: datetime | None = None
    retry_at: datetime | None = None

    @property
    def has_backlog(self) -> bool:
        return bool(self.pending or self.missed or self.older)


@dataclass(frozen=True, slots=True)
class IdentitySample:
    """A run with the time when it began, and when it was seen: another Airflow does not have the same ones."""

    dag_id: str
    run_id: str
    started_at: datetime
    seen_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Quarantine:
    """Changes that the sync applies only after a person accepts them. `missing`: of each kind. SQL sets `since`."""

    kind: Literal["mass_loss", "other_airflow"]
    reason: str
    missing: dict[str, int] | None = None
    examples: list[Any] = field(default_factory=list)
    since: datetime | None = None


@dataclass(slots=True)
class ClockDifference:
    """`behind`: how far the stamps are behind Date, in seconds, by the heartbeat; None where it is not known.

    `rows_behind`: where it is not, as rows showed that changes had been missed, at most. `applied`: what the last pass
    corrected. `sure_until`: as of then the clocks were known, so that nothing was missed before. `is_pending`: the
    heartbeat is old, and it takes a second look whether the scheduler stands still or its clock is behind.
    """

    ahead_of_ours: float | None = None
    behind: float | None = None
    rows_behind: float = 0.0
    applied: float = 0.0
    beat: datetime | None = None
    sure_until: datetime | None = None
    measured_at: datetime | None = None
    is_pending: bool = False
    sentence: str | None = None
