"""The rows that an Airflow in memory holds: DAGs, their runs, and the task instances of those."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

UNFINISHED = ("none", "scheduled", "queued", "running", "up_for_retry")


@dataclass(slots=True)
class Dag:
    dag_id: str
    tasks: dict[str, list[str]]
    owners: list[str] = field(default_factory=lambda: ["airflow"])
    tags: list[str] = field(default_factory=list)
    description: str | None = None
    mapped: frozenset[str] = frozenset()
    is_paused: bool = False
    is_stale: bool = False
    has_import_errors: bool = False
    schedule: str | None = None
    next_run_at: datetime | None = None


@dataclass(slots=True)
class Run:
    id: int
    dag_id: str
    run_id: str
    run_type: str
    run_after: datetime
    logical_date: datetime
    queued_at: datetime
    updated_at: datetime
    state: str = "queued"
    started_at: datetime | None = None
    ended_at: datetime | None = None
    conf: dict[str, Any] = field(default_factory=dict)
    note: str | None = None
    user: str | None = None
    changed_at: datetime | None = None
    """When the last change could be seen: later than its stamp where it was committed late."""


@dataclass(slots=True)
class Task:
    id: int
    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    updated_at: datetime
    state: str | None = None
    try_number: int = 0
    max_tries: int = 0
    queued_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    note: str | None = None
    hostname: str = ""
    changed_at: datetime | None = None


RunKey = tuple[str, str]
TaskKey = tuple[str, str, str, int]
