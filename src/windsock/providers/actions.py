"""Protocol of the actions that a provider carries out, and their typed values."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from windsock.providers.base import Provider, ProviderPipeline, ProviderRun, ProviderTaskRun
from windsock.providers.scopes import SingleRun, TaskRunId


@dataclass(frozen=True, slots=True)
class ClearRequest:
    """Task runs of a run to be cleared: `tasks`, or all of it where there are none."""

    run: SingleRun
    tasks: tuple[TaskRunId, ...] = ()
    only_failed: bool = True
    include_downstream: bool = False


@dataclass(frozen=True, slots=True)
class ClearTarget:
    """A task run as it was before a clear. `marker` differs after one, however it is compared."""

    task: TaskRunId
    marker: str


@dataclass(frozen=True, slots=True)
class ApprovalResponse:
    """The answer to a task that waits for input. `requested_at`: of the question that is answered."""

    task: TaskRunId
    chosen_options: tuple[str, ...]
    params: dict[str, Any]
    requested_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class PendingApproval:
    """A task run that waits for the input of a person."""

    task: TaskRunId
    subject: str
    body: str | None
    options: list[str]
    defaults: list[str]
    is_multiple: bool
    params: dict[str, Any]
    assigned_users: list[str]
    requested_at: datetime


class ProviderActions(Protocol):
    """Changes that people make in the provider, each at most once.

    A method sends its request, and after a lost response looks whether it was carried out. It raises ProviderHTTPError
    where the provider refused; any other ProviderFailed leaves open whether it was carried out, unless `request_sent`
    is False. With `may_be_done` (an earlier attempt got no response) it looks first.
    """

    @property
    def may_be_sent(self) -> bool:
        """Whether a request that changes something may have left: for the one who cancels a method."""
        ...

    async def plan_clear(self, request: ClearRequest) -> list[ProviderTaskRun]:
        """The task runs that a clear would clear, as they are now."""
        ...

    def targets_of(self, tasks: Sequence[ProviderTaskRun]) -> list[ClearTarget]: ...

    async def clear(self, request: ClearRequest, targets: Sequence[ClearTarget], *, may_be_done: bool) -> None:
        """Clear exactly these targets. Raises ProviderPartlyDone where only some of them were cleared."""
        ...

    async def mark_run(self, run: SingleRun, status: str) -> None: ...

    async def mark_task_run(self, task: TaskRunId, status: str) -> None: ...

    async def set_paused(self, pipeline_external_id: str, *, is_paused: bool) -> ProviderPipeline: ...

    async def note_run(self, run: SingleRun, note: str) -> None: ...

    async def note_task_run(self, task: TaskRunId, note: str) -> None: ...

    async def list_approvals(self) -> list[PendingApproval]:
        """The task runs of all pipelines that wait for input, the oldest question first; at most MAX_APPROVALS."""
        ...

    async def respond(self, response: ApprovalResponse, *, may_be_done: bool) -> None: ...

    async def read_run(self, run: SingleRun) -> tuple[ProviderRun, list[ProviderTaskRun]]:
        """The run and all its task runs as they are now. Raises ProviderLacksObject where it does not exist."""
        ...


MAX_APPROVALS = 500


class ActingProvider(Provider, Protocol):
    """A provider in which people can change things."""

    @property
    def actions(self) -> ProviderActions: ...
