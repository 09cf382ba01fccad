"""JSON documents in the sync state of a connector, as records."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from windsock.db.database import Row
from windsock.providers.scopes import Resume
from windsock.sync.polling import RunKey

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

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

    @classmethod
    def from_json(cls, document: Row | None) -> WindowPosition | None:
        if not document:
            return None
        start, end = datetime.fromisoformat(document["at"]["start"]), _time(document["at"]["end"])
        saved_at = datetime.fromisoformat(document["saved_at"])
        return cls(start, end, document["stream"], document["resume"], saved_at)

    def to_json(self) -> Row:
        at = {"start": self.start.isoformat(), "end": _iso(self.end)}
        return {"at": at, "stream": self.stream, "resume": self.resume, "saved_at": self.saved_at.isoformat()}


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

    @classmethod
    def from_json(cls, document: Row) -> BackfillPosition:
        return cls(
            as_of=datetime.fromisoformat(document["as_of"]),
            goal=datetime.fromisoformat(document["goal"]),
            end=_time(document.get("end")),
            span=timedelta(seconds=document["span"]) if document.get("span") else None,
            is_complete=bool(document.get("is_complete")),
            window=WindowPosition.from_json(document.get("window")),
        )

    def to_json(self) -> Row:
        document: Row = {
            "as_of": self.as_of.isoformat(),
            "goal": self.goal.isoformat(),
            "end": _iso(self.end),
            "span": self.span.total_seconds() if self.span else None,
            "is_complete": self.is_complete,
        }
        return document | ({"window": self.window.to_json()} if self.window else {})


@dataclass(frozen=True, slots=True)
class ChangesCheckpoint:
    """Position in an unfinished full poll. `until`: where its step ends; None for one that reads all changes."""

    since: datetime
    until: datetime | None = None
    stream: Stream = "runs"
    as_of: datetime | None = None
    resume: Resume | None = None
    saved_at: datetime | None = None

    def to_json(self) -> Row:
        return {"kind": "changes"} | _document(self)


@dataclass(frozen=True, slots=True)
class ResyncCheckpoint:
    """Position in an unfinished full sync. DAG by DAG it has no position, but the time when it began."""

    position: BackfillPosition | None = None
    started_at: datetime | None = None

    def to_json(self) -> Row:
        position = self.position.to_json() if self.position else {}
        started = {"began_at": self.started_at.isoformat()} if self.started_at else {}
        return {"kind": "history", **position, **started, "saved_at": datetime.now(UTC).isoformat()}


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

    @classmethod
    def from_json(cls, document: Row) -> EventLogCursor:
        backlog = {name: [(dag_id, run_id) for dag_id, run_id in document.get(name, [])] for name in BACKLOG_KEYS}
        return cls(
            bool(document.get("is_readable")),
            document.get("seen", []),
            document.get("once", []),
            since=_time(document.get("since")),
            retry_at=_time(document.get("asked_again_at")),
            **backlog,
        )

    def to_json(self) -> Row:
        backlog = {name: getattr(self, name) for name in BACKLOG_KEYS}
        ids = {"seen": self.processed_ids, "once": self.recheck_ids}
        times = {"since": _iso(self.since), "asked_again_at": _iso(self.retry_at)}
        return {"is_readable": self.is_readable, **ids, **backlog, **{name: at for name, at in times.items() if at}}


@dataclass(frozen=True, slots=True)
class IdentitySample:
    """A run with the time when it began, and when it was seen: another Airflow does not have the same ones."""

    dag_id: str
    run_id: str
    started_at: datetime
    seen_at: datetime | None = None

    def to_json(self) -> Row:
        return _document(self)


@dataclass(frozen=True, slots=True)
class Quarantine:
    """Changes that the sync applies only after a person accepts them. `missing`: how many of each kind."""

    kind: Literal["mass_loss", "other_airflow"]
    reason: str
    missing: dict[str, int] | None = None
    examples: list[Any] | None = None
    since: datetime | None = None

    def to_json(self) -> Row:
        """SQL adds `since`."""
        return {name: value for name, value in _document(self).items() if value is not None}


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

    def to_json(self) -> Row:
        return _document(self)


def parse_checkpoint(document: Row | None) -> Checkpoint | None:
    """The record of its kind."""
    if not document:
        return None
    if document["kind"] == "changes":
        values = parse_times(document, "since", "until", "as_of", "saved_at")
        return ChangesCheckpoint(**{name: values[name] for name in values.keys() - {"kind"}})
    position = BackfillPosition.from_json(document) if "goal" in document else None
    return ResyncCheckpoint(position, _time(document.get("began_at")))


def _document(record: DataclassInstance) -> Row:
    """The fields of a record as a JSON object."""
    values = {field.name: getattr(record, field.name) for field in fields(record)}
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in values.items()}


def parse_times(document: Row, *times: str) -> Row:
    """A JSON object with these members as times, None where they are absent."""
    return document | {name: _time(document.get(name)) for name in times}


def _iso(at: datetime | None) -> str | None:
    return at.isoformat() if at else None


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
