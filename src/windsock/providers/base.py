"""Protocol of providers and its typed values: pipelines, runs, task runs, complete scans."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Generic, Literal, Protocol, TypeVar

from windsock.providers.hints import EventLogHints
from windsock.providers.miscounts import Miscounts
from windsock.providers.scopes import (
    NO_REGION,
    NO_REGION_INDEX,
    ProviderParam,
    Resume,
    RunRange,
    RunRequest,
    ScanScope,
    TaskRunId,
)
from windsock.providers.task_logs import TaskLogProvider

T = TypeVar("T")
Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderPipeline:
    """A DAG. `owner` is the provider's own string; `owners` its parts, trimmed, in a stable order; tags sorted.

    `is_draining`: no new runs start, and those that there are go on to their end (Airflow 3.4).
    """

    external_id: str
    name: str
    description: str | None
    owner: str | None
    owners: list[str]
    tags: list[str]
    schedule: str | None
    schedule_description: str | None
    next_run_at: datetime | None
    is_paused: bool
    is_draining: bool = False
    is_active: bool
    has_import_errors: bool
    provider_metadata: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderRun:
    """A DAG run, identified by (pipeline_external_id, external_id). All times are aware and in UTC.

    `run_at` orders the runs of a pipeline as a person expects: run_after where the provider has it, else the later of
    logical date and end of the data interval; never changes for a run and is never null. `conf`: any JSON, mostly an
    object. `last_decision`: when the scheduler last looked at it, in the provider's notation; it only serves to tell
    whether the run has changed.
    """

    pipeline_external_id: str
    external_id: str
    status: str
    run_type: str
    run_at: datetime
    queued_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    run_after: datetime | None
    logical_date: datetime | None
    data_interval_start: datetime | None
    data_interval_end: datetime | None
    conf: Any
    note: str | None
    triggered_by: str | None
    last_decision: str | None = None
    provider_metadata: Json

    @property
    def position(self) -> datetime | None:
        """Where the provider's lists have it in time (see RunRange)."""
        return self.run_after or self.logical_date


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderTaskRun:
    """A task instance, identified by its run, its task (external_id), its region and its map_index.

    `map_index` is NOT_MAPPED or ≥ 0. The row with NOT_MAPPED of a mapped task is a placeholder that stops to exist when
    the first instance with a map_index ≥ 0 appears; the mirror drops it then. `status` is "none" where Airflow says
    null. `run_at`: where its run stands in time, as far as the task run tells it; the mirror has it from the run.
    `execution_id`: Airflow 3's id, another one at each try and after a clear; not mirrored.

    A region (Airflow 3.4) is one execution of a loop, or one expansion of a mapped task. In that of a loop
    `region_index` is the iteration, in that of an expansion the map index; the placeholder has NO_REGION_INDEX.
    `loop_id` and `loop_iteration` name the loop around the task, also for the mapped tasks inside.
    """

    pipeline_external_id: str
    run_external_id: str
    external_id: str
    map_index: int
    region_id: str = NO_REGION
    region_index: int = NO_REGION_INDEX
    loop_id: str | None = None
    loop_iteration: int | None = None
    name: str
    operator: str | None
    status: str
    try_number: int
    max_tries: int
    queued_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    pool: str | None
    queue: str | None
    hostname: str | None
    note: str | None
    run_at: datetime | None = None
    execution_id: str | None = None
    provider_metadata: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class SkippedRow:
    """A row of the provider that could not be listed, parsed or stored; with `fields`, it is stored without those.

    The ids are None where the provider did not show them (a row that cannot be listed, or of another kind).
    `reason` is a sentence for people, without the ids. `unlisted`: it stands for so many rows that are in the total of
    their list and that the list never gives, whichever they are; 0 for a single row.
    """

    kind: Literal["pipelines", "runs", "task_runs"]
    reason: str
    pipeline_external_id: str | None = None
    run_external_id: str | None = None
    task_external_id: str | None = None
    region_id: str | None = None
    region_index: int | None = None
    map_index: int | None = None
    fields: tuple[str, ...] = ()
    unlisted: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[T]):
    """One page of a scan.

    `skipped`: rows of this page that the provider has and that are not among `rows`, or only without some fields.

    `as_of`: the provider's clock at the moment before the scan's *first* request was answered (Date header minus the
    time the request took); also after a resume. Everything changed before `as_of` is in the scan.
    `expected`: rows the provider promises for the whole scan, None where it does not say.
    `resume`: hand it to the same scan to go on after this page; None on the last page.
    """

    rows: list[T]
    as_of: datetime
    expected: int | None
    resume: Resume | None
    skipped: tuple[SkippedRow, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderImportError:
    """A file that the provider failed to import. `filename` is relative to its bundle, if it has one."""

    bundle_name: str | None
    filename: str
    stack_trace: str
    raised_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineListing:
    """The complete list of pipelines that the account may see.

    `import_errors`: None where the provider did not tell this time.
    """

    rows: list[ProviderPipeline]
    import_errors: list[ProviderImportError] | None
    as_of: datetime
    skipped: tuple[SkippedRow, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiVersionInfo:
    """Which API answers: `api_version` is "v1" or "v2", `version` the provider's own ("3.3.2")."""

    api_version: str
    version: str


class Provider(TaskLogProvider, Protocol):
    """One orchestrator behind one connector. Each method gives everything it promises or raises ProviderFailed."""

    @property
    def requests(self) -> int:
        """Requests sent so far, retries and sign-in included."""
        ...

    async def detect_version(self) -> ApiVersionInfo: ...

    @property
    def request_seconds(self) -> float:
        """Spent waiting for answers so far."""
        ...

    @property
    def server_time(self) -> datetime | None:
        """The provider's clock before its newest answer; None before the first."""

    @property
    def ahead_of_ours(self) -> float | None:
        """How many seconds the provider's clock is ahead of ours, by its newest answer; None where it does not say."""
        ...

    def set_clock(self, *, behind: timedelta, is_confirmed: bool) -> None:
        """Correct every `as_of` from now on: it is by the clock of the host that stamps rows, so far behind.

        Without `is_confirmed` it is not later than by our own clock either.
        """
        ...

    def set_miscounts(self, miscounts: Miscounts) -> None:
        """Set the record of lists that lack rows of their totals, which the scans read and extend.

        A list that lacks rows gives them all, and then raises ProviderIncomplete, until `miscounts` believe it.
        """
        ...

    @property
    def server_time_received_at(self) -> datetime | None:
        """The server time of the newest response, uncorrected."""
        ...

    async def heartbeat(self) -> datetime | None:
        """The newest of the host that stamps the provider's rows, by its clock; None where it does not say."""
        ...

    async def list_pipelines(self, *, reads_import_errors: bool = True) -> PipelineListing:
        """All of them. Without `reads_import_errors`, one request less; the listing then holds None for them."""
        ...

    def runs(self, scope: ScanScope, resume: Resume | None = None) -> AsyncIterator[Page[ProviderRun]]: ...

    def task_runs(self, scope: ScanScope, resume: Resume | None = None) -> AsyncIterator[Page[ProviderTaskRun]]: ...

    async def count_runs(self, window: RunRange) -> int:
        """How many runs of the window the provider has; one request."""
        ...

    async def count_task_runs(self, window: RunRange) -> int: ...

    async def may_read_all(self) -> bool:
        """Whether the account may list the runs and task runs of all pipelines at once. One or two requests.

        False where the provider answers 403: with rights on single pipelines, each is to be read by itself.
        """
        ...

    async def read_event_log(self, since: datetime, seen: list[int], once: list[int]) -> EventLogHints:
        """Read the event log since then, without the entries in `seen`; young entries once more when they are older.

        An entry may be there before what it tells of.
        """
        ...

    async def run(
        self, pipeline_external_id: str, external_id: str, position: datetime | None = None
    ) -> ProviderRun | None:
        """One run, or None when the provider itself says that it does not exist.

        `position`: as ProviderRun has it. Raises ProviderInconclusive for a run that has no usable address where it is
        None.
        """
        ...

    async def trigger(self, request: RunRequest, *, may_exist: bool) -> ProviderRun:
        """Start the run exactly once; with `may_exist` (it was tried before) look for it first.

        It raises as ProviderActions do; where it was cancelled, `may_have_triggered` tells whether it was sent.
        """
        ...

    @property
    def may_have_triggered(self) -> bool: ...

    async def task_graph(self, pipeline_external_id: str) -> dict[str, list[str]]:
        """The tasks of a pipeline, each with the tasks right behind it."""
        ...

    async def tries(self, task_run: TaskRunId) -> list[ProviderTaskRun]:
        """Each try of a task instance that the provider still knows, the newest included, in their order."""
        ...

    async def params(self, pipeline_external_id: str) -> list[ProviderParam]:
        """Return the parameters of a run, in the order in which the pipeline declares them."""
        ...

    async def aclose(self) -> None: ...
