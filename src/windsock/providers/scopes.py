"""Scopes of scans and counts, and resume tokens."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

NOT_MAPPED = -1
"""The map_index of a task run that is not an instance of a mapped task (Airflow's own number for it)."""
NO_REGION, NO_REGION_INDEX = "", -1
"""Of a task run that is in no region; -1 also of the placeholder of a mapped task in a region."""


@dataclass(frozen=True, slots=True)
class UpdatedSince:
    """Everything the provider says has changed at or after `since` (its own clock).

    With `runs_from`, only of runs whose position in time is not before it: a question that a large provider answers
    quickly, and that leaves out what changed in older runs; with `runs_until`, only of runs not after it. With `until`,
    what was changed again after it may be left out: it belongs to the time that follows. With `pipeline_external_id`,
    only of that pipeline.
    """

    since: datetime
    runs_from: datetime | None = None
    until: datetime | None = None
    runs_until: datetime | None = None
    pipeline_external_id: str | None = None


@dataclass(frozen=True, slots=True)
class Unfinished:
    """Runs that the provider says are queued or running now, whenever they changed; with `runs_until`, not after it."""

    runs_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class RunRange:
    """Everything of the runs whose position in time (run_after; logical date on Airflow 2) is in [start, end].

    Both ends are included, since both APIs only offer gte and lte; `end=None` is open and holds runs of the future.
    With `pipeline_external_id`, only of that pipeline; of one that it does not have Airflow 2 gives nothing, and
    Airflow 3 refuses with 404.
    """

    start: datetime
    end: datetime | None
    pipeline_external_id: str | None = None


@dataclass(frozen=True, slots=True)
class SingleRun:
    """All task runs of one run. `position`: as ProviderRun has it, for runs that only lists can show."""

    pipeline_external_id: str
    run_external_id: str
    position: datetime | None = None


@dataclass(frozen=True, slots=True)
class TaskRunId:
    """One task instance; `map_index` and the region as in ProviderTaskRun."""

    pipeline_external_id: str
    run_external_id: str
    external_id: str
    map_index: int
    region_id: str = NO_REGION
    region_index: int = NO_REGION_INDEX

    @classmethod
    def of(cls, pipeline_external_id: str, run_external_id: str, row: Mapping[str, Any]) -> Self:
        """From a row of the mirror, or of the API, which has null for what the provider leaves out."""
        return cls(
            pipeline_external_id,
            run_external_id,
            row["external_id"],
            NOT_MAPPED if row["map_index"] is None else row["map_index"],
            row["region_id"] or NO_REGION,
            NO_REGION_INDEX if row["region_index"] is None else row["region_index"],
        )


ScanScope = UpdatedSince | RunRange | Unfinished | SingleRun
"""Unfinished is for runs only, SingleRun for task runs only."""

Resume = dict[str, Any]
"""Where a scan goes on after a page, as a JSON object that only the provider understands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """A run to start. `external_id` is ours and unique, so that the run can be found should the answer be lost."""

    pipeline_external_id: str
    external_id: str
    conf: dict[str, Any]
    logical_date: datetime | None
    note: str


@dataclass(frozen=True, slots=True)
class ProviderParam:
    """A parameter of a run that the pipeline declares; `schema`: JSON Schema, as Airflow checks it."""

    name: str
    value: Any
    schema: dict[str, Any]
    description: str | None
