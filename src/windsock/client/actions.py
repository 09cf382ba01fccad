"""Actions in Airflow as operations of the client: clear, mark, pause, note, respond."""

from collections.abc import Awaitable, Callable, Collection, Mapping
from datetime import datetime
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar
from uuid import UUID, uuid4

from pydantic import TypeAdapter

from windsock.actions.models import (
    Action,
    ActionKind,
    ActionOutcome,
    Approval,
    BulkClear,
    ClearResult,
    RunMark,
    TaskRunMark,
)
from windsock.client.lists import LARGEST_PAGE, with_signature
from windsock.client.operations import TRIGGER_SECONDS, Call, get, orchestration_of
from windsock.pipelines.models import PipelineDetail
from windsock.runs.models import Run, TaskRun

P = ParamSpec("P")
T = TypeVar("T")


def clear_run(
    space: str,
    run_id: UUID,
    *,
    task_run_ids: Collection[UUID] | None = None,
    only_failed: bool = True,
    include_downstream: bool = False,
    dry_run: bool = False,
    reason: str | None = None,
    idempotency_key: str | None = None,
) -> Call[ClearResult]:
    """Clear task runs of a run, once: whatever becomes of the connection. With `dry_run` only list them."""
    body = {
        "task_run_ids": None if task_run_ids is None else [str(task_run_id) for task_run_id in task_run_ids],
        "only_failed": only_failed,
        "include_downstream": include_downstream,
        "dry_run": dry_run,
        "reason": reason,
    }
    return _action("POST", f"{orchestration_of(space)}/runs/{run_id}/clear", ClearResult, body, idempotency_key)


def clear_task_run(
    space: str,
    task_run_id: UUID,
    *,
    include_downstream: bool = False,
    dry_run: bool = False,
    reason: str | None = None,
    idempotency_key: str | None = None,
) -> Call[ClearResult]:
    body = {"include_downstream": include_downstream, "dry_run": dry_run, "reason": reason}
    path = f"{orchestration_of(space)}/task-runs/{task_run_id}/clear"
    return _action("POST", path, ClearResult, body, idempotency_key)


def clear_fingerprint(
    space: str,
    fingerprint_id: UUID,
    *,
    dry_run: bool = False,
    reason: str | None = None,
    idempotency_key: str | None = None,
) -> Call[BulkClear]:
    """Start to clear all failed runs with a fingerprint, each at most once. With `dry_run` only list them."""
    body = {"dry_run": dry_run, "reason": reason}
    path = f"{orchestration_of(space)}/fingerprints/{fingerprint_id}/clear"
    return _action("POST", path, BulkClear, body, idempotency_key)


def bulk_clear(space: str, fingerprint_id: UUID, bulk_clear_id: UUID) -> Call[BulkClear]:
    """How far it is, with the result of each run."""
    return get(f"{orchestration_of(space)}/fingerprints/{fingerprint_id}/clear/{bulk_clear_id}", BulkClear)


def mark_run(
    space: str, run_id: UUID, status: RunMark, *, reason: str | None = None, idempotency_key: str | None = None
) -> Call[Run]:
    body = {"status": status, "reason": reason}
    return _action("POST", f"{orchestration_of(space)}/runs/{run_id}/mark", Run, body, idempotency_key)


def mark_task_run(
    space: str, task_run_id: UUID, status: TaskRunMark, *, reason: str | None = None, idempotency_key: str | None = None
) -> Call[TaskRun]:
    body = {"status": status, "reason": reason}
    return _action("POST", f"{orchestration_of(space)}/task-runs/{task_run_id}/mark", TaskRun, body, idempotency_key)


def set_paused(space: str, pipeline_id: UUID, *, is_paused: bool, reason: str | None = None) -> Call[PipelineDetail]:
    body = {"is_paused": is_paused, "reason": reason}
    return _action("PUT", f"{orchestration_of(space)}/pipelines/{pipeline_id}/paused", PipelineDetail, body)


def note_run(space: str, run_id: UUID, note: str | None) -> Call[Run]:
    """Write Airflow's note on a run; None removes it."""
    return _action("PUT", f"{orchestration_of(space)}/runs/{run_id}/note", Run, {"note": note})


def note_task_run(space: str, task_run_id: UUID, note: str | None) -> Call[TaskRun]:
    return _action("PUT", f"{orchestration_of(space)}/task-runs/{task_run_id}/note", TaskRun, {"note": note})


def respond(
    space: str,
    task_run_id: UUID,
    chosen_options: Collection[str],
    *,
    params: Mapping[str, Any] | None = None,
    requested_at: datetime | None = None,
    reason: str | None = None,
    idempotency_key: str | None = None,
) -> Call[TaskRun]:
    """Respond to a task run that waits for input."""
    body = {
        "chosen_options": list(chosen_options),
        "params": dict(params or {}),
        "requested_at": None if requested_at is None else requested_at.isoformat(),
        "reason": reason,
    }
    return _action("POST", f"{orchestration_of(space)}/task-runs/{task_run_id}/answer", TaskRun, body, idempotency_key)


def approvals(space: str) -> Call[list[Approval]]:
    """Task runs that wait for the input of a person, the oldest first."""
    return get(f"{orchestration_of(space)}/approvals", list[Approval], size=LARGEST_PAGE)


def actions(
    space: str,
    *,
    kind: ActionKind | Collection[ActionKind] | None = None,
    outcome: ActionOutcome | Collection[ActionOutcome] | None = None,
    pipeline_id: UUID | Collection[UUID] | None = None,
    run_id: UUID | Collection[UUID] | None = None,
    size: int = LARGEST_PAGE,
) -> Call[list[Action]]:
    """Actions of members in Airflow, newest first."""
    return get(
        f"{orchestration_of(space)}/actions", list[Action],
        kind=kind, outcome=outcome, pipeline_id=pipeline_id, run_id=run_id, size=size,
    )  # fmt: skip


def _action(method: str, path: str, response_type: type[T], body: Mapping[str, Any], key: str | None = None) -> Call[T]:
    """Always repeatable: a POST has a key, and a PUT sets a value."""
    return Call(
        method=method,
        path=path,
        response_type=TypeAdapter(response_type),
        is_repeatable=True,
        body=body,
        headers={"Idempotency-Key": key or str(uuid4())} if method == "POST" else {},
        seconds=TRIGGER_SECONDS,
    )


class Sender(Protocol):
    """A client that sends one call."""

    def _slug(self) -> str: ...

    def _send(self, call: Call[T]) -> T: ...


class AsyncSender(Protocol):
    def _slug(self) -> str: ...

    def _send(self, call: Call[T]) -> Awaitable[T]: ...


def sent(call: Callable[Concatenate[str, P], Call[T]]) -> Callable[Concatenate[Sender, P], T]:
    """The method of a client that makes this call in the client's space, with the same parameters."""

    @wraps(call)
    def method(self: Sender, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._send(call(self._slug(), *args, **kwargs))

    return with_signature(method, call)


def async_sent(call: Callable[Concatenate[str, P], Call[T]]) -> Callable[Concatenate[AsyncSender, P], Awaitable[T]]:
    """As `sent`, for the client for asyncio."""

    @wraps(call)
    def method(self: AsyncSender, /, *args: P.args, **kwargs: P.kwargs) -> Awaitable[T]:
        return self._send(call(self._slug(), *args, **kwargs))

    return with_signature(method, call)
