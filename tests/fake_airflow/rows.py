"""The rows that an Airflow in memory holds: DAGs, their runs, and the task instances of those."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

UNFINISHED = ("none", "scheduled", "queued", "running", "up_for_retry")


@dataclass(slots=True)
class Dag:
    dag_id: str
    tasks: dict[str, list[str]]
    name: str | None = None
    """Its display name, where that is not its id."""
    owners: list[str] = field(default_factory=lambda: ["airflow"])
    tags: list[str] = field(default_factory=list)
    description: str | None = None
    mapped: frozenset[str] = frozenset()
    loops: frozenset[str] = frozenset()
    """Task groups that are repeated, where Airflow knows loops."""
    is_paused: bool = False
    is_draining: bool = False
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
    trigger: dict[str, Any] | None = None
    changed_at: datetime | None = None
    region_id: str = ""
    region_index: int = -1
    loop: tuple[str, int] | None = None

    def become(self, map_index: int) -> None:
        """An instance of a mapped task; in a region the index is that of the region, too."""
        self.map_index = map_index
        if self.region_id:
            self.region_index = map_index

    @property
    def key(self) -> TaskKey:
        return task_key(self.dag_id, self.run_id, self.task_id, self.map_index, self.region_id, self.region_index)


RunKey = tuple[str, str]
TaskKey = tuple[Any, ...]
"""DAG, run, task and map index; in a region that and the index in it besides."""
STRANGE = ("2026/11/", "x/taskInstances/", "../", "a%2Fb ", "a b?#%;", "grün/運行 ", "~/")
"""Beginnings of run ids that `allowed_run_id_pattern` can be made to permit."""


def task_key(dag_id: str, run_id: str, task_id: str, map_index: int, region_id: str, region_index: int) -> TaskKey:
    return (dag_id, run_id, task_id, map_index, *((region_id, region_index) if region_id else ()))


def named(number: int, when: datetime, strange_ids: int) -> str:
    """The id of a run that was not named; of so many one is strange (0: none)."""
    if strange_ids and number % strange_ids == 0:
        return f"{STRANGE[number % len(STRANGE)]}{number}"
    return f"manual__{when.isoformat()}_{number}"


def tries_of(task: Task) -> list[Task]:
    """Those before the newest have failed: otherwise there would not be another."""
    return [*(replace(task, try_number=number, state="failed") for number in range(1, task.try_number)), task]
