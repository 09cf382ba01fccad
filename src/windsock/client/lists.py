"""The lists of the API with their filters: one signature each, which both clients take over as it is."""

from collections.abc import AsyncIterator, Callable, Collection, Iterator
from datetime import datetime
from functools import wraps
from inspect import signature
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar
from urllib.parse import quote
from uuid import UUID

from windsock.audit.models import AuditAction, AuditEvent, TargetType
from windsock.client.operations import Call, get, orchestration_of
from windsock.comments.models import Comment
from windsock.connectors.models import Connector
from windsock.failures.models import Fingerprint
from windsock.pipelines.filters import Criticality
from windsock.pipelines.models import Pipeline
from windsock.pipelines.routes import Sort
from windsock.runs.models import Run, TaskRun
from windsock.saved_views.models import SavedView
from windsock.spaces.models import Team
from windsock.sync.models import SyncRun

P = ParamSpec("P")
T = TypeVar("T")
M = TypeVar("M", bound=Callable[..., Any])

LARGEST_PAGE = 100
"""Of the lists that are read in pages of their own largest size."""


def pipelines(
    space: str,
    *,
    provider: str | Collection[str] | None = None,
    status: str | Collection[str] | None = None,
    owner: str | Collection[str] | None = None,
    tag: str | Collection[str] | None = None,
    criticality: Criticality | Collection[Criticality] | None = None,
    team_id: UUID | Collection[UUID] | None = None,
    connector_id: UUID | Collection[UUID] | None = None,
    q: str | None = None,
    watched_only: bool | None = None,
    is_paused: bool | None = None,
    has_import_errors: bool | None = None,
    overdue: bool | None = None,
    never_succeeded: bool | None = None,
    days: int | None = None,
    sort: Sort | None = None,
    size: int | None = None,
) -> Call[list[Pipeline]]:
    """By name, or by `sort`. Several values of a filter mean any of them; `size`: rows per request."""
    return get(
        f"{orchestration_of(space)}/pipelines", list[Pipeline],
        provider=provider, status=status, owner=owner, tag=tag, criticality=criticality, team_id=team_id,
        connector_id=connector_id, q=q, watched_only=watched_only, is_paused=is_paused,
        has_import_errors=has_import_errors, overdue=overdue,
        never_succeeded=never_succeeded, days=days, sort=sort, size=size,
    )  # fmt: skip


def runs(
    space: str,
    *,
    started_from: datetime | None = None,
    started_to: datetime | None = None,
    ended_from: datetime | None = None,
    ended_to: datetime | None = None,
    status: str | Collection[str] | None = None,
    run_type: str | Collection[str] | None = None,
    include_removed: bool | None = None,
    provider: str | Collection[str] | None = None,
    owner: str | Collection[str] | None = None,
    tag: str | Collection[str] | None = None,
    criticality: Criticality | Collection[Criticality] | None = None,
    team_id: UUID | Collection[UUID] | None = None,
    connector_id: UUID | Collection[UUID] | None = None,
    q: str | None = None,
    watched_only: bool | None = None,
    is_paused: bool | None = None,
    has_import_errors: bool | None = None,
    overdue: bool | None = None,
    size: int | None = None,
) -> Call[list[Run]]:
    """List the runs of the space, newest first. `status` filters runs; filters after `run_type` filter pipelines."""
    return get(
        f"{orchestration_of(space)}/runs", list[Run],
        started_from=started_from, started_to=started_to, ended_from=ended_from, ended_to=ended_to, status=status,
        run_type=run_type,
        include_removed=include_removed, provider=provider, owner=owner, tag=tag, criticality=criticality,
        team_id=team_id, connector_id=connector_id, q=q, watched_only=watched_only, is_paused=is_paused,
        has_import_errors=has_import_errors, overdue=overdue, size=size,
    )  # fmt: skip


def runs_of(
    space: str,
    pipeline_id: UUID,
    *,
    started_from: datetime | None = None,
    started_to: datetime | None = None,
    ended_from: datetime | None = None,
    ended_to: datetime | None = None,
    status: str | Collection[str] | None = None,
    run_type: str | Collection[str] | None = None,
    include_removed: bool | None = None,
    size: int | None = None,
) -> Call[list[Run]]:
    """List the runs of a pipeline, newest first."""
    path = f"{orchestration_of(space)}/pipelines/{pipeline_id}/runs"
    started = {"started_from": started_from, "started_to": started_to}
    ended = {"ended_from": ended_from, "ended_to": ended_to}
    filters = {"status": status, "run_type": run_type, "include_removed": include_removed}
    return get(path, list[Run], **started, **ended, **filters, size=size)


def task_runs(
    space: str,
    run_id: UUID,
    *,
    status: str | Collection[str] | None = None,
    external_id: str | Collection[str] | None = None,
    size: int | None = None,
) -> Call[list[TaskRun]]:
    """List the task runs of a run. `external_id` is Airflow's task_id."""
    path = f"{orchestration_of(space)}/runs/{run_id}/task-runs"
    return get(path, list[TaskRun], status=status, external_id=external_id, size=size)


def comments_on_run(space: str, run_id: UUID) -> Call[list[Comment]]:
    """Oldest first."""
    return get(f"{orchestration_of(space)}/runs/{run_id}/comments", list[Comment], size=LARGEST_PAGE)


def comments_on_task_run(space: str, task_run_id: UUID) -> Call[list[Comment]]:
    """Oldest first."""
    return get(f"{orchestration_of(space)}/task-runs/{task_run_id}/comments", list[Comment], size=LARGEST_PAGE)


def views(space: str) -> Call[list[SavedView]]:
    """The caller's own, then those that others share with the space."""
    return get(f"{orchestration_of(space)}/views", list[SavedView], size=LARGEST_PAGE)


def fingerprints(
    space: str,
    *,
    pipeline_id: UUID | Collection[UUID] | None = None,
    team_id: UUID | Collection[UUID] | None = None,
    q: str | None = None,
    size: int = LARGEST_PAGE,
) -> Call[list[Fingerprint]]:
    """List groups of failures, those that occurred last first."""
    path = f"{orchestration_of(space)}/fingerprints"
    return get(path, list[Fingerprint], pipeline_id=pipeline_id, team_id=team_id, q=q, size=size)


def connectors(space: str) -> Call[list[Connector]]:
    return get(f"/catalog/spaces/{quote(space, safe='')}/connectors", list[Connector], size=LARGEST_PAGE)


def syncs(
    space: str,
    *,
    connector_id: UUID | Collection[UUID] | None = None,
    status: str | Collection[str] | None = None,
    size: int = LARGEST_PAGE,
) -> Call[list[SyncRun]]:
    """Newest first."""
    path = f"/catalog/spaces/{quote(space, safe='')}/sync-history"
    return get(path, list[SyncRun], connector_id=connector_id, status=status, size=size)


def teams(space: str) -> Call[list[Team]]:
    return get(f"/spaces/{quote(space, safe='')}/teams", list[Team], size=LARGEST_PAGE)


def audit_events(
    space: str,
    *,
    actor_id: UUID | Collection[UUID] | None = None,
    action: AuditAction | Collection[AuditAction] | None = None,
    target_type: TargetType | Collection[TargetType] | None = None,
    target_id: UUID | Collection[UUID] | None = None,
    created_from: datetime | None = None,
    created_to: datetime | None = None,
    size: int = LARGEST_PAGE,
) -> Call[list[AuditEvent]]:
    """For admins, newest first."""
    return get(
        f"/spaces/{quote(space, safe='')}/audit-events", list[AuditEvent],
        actor_id=actor_id, action=action, target_type=target_type, target_id=target_id, created_from=created_from,
        created_to=created_to, size=size,
    )  # fmt: skip


class Lists(Protocol):
    """A client that reads lists page by page."""

    def _slug(self) -> str: ...

    def _pages(self, call: Call[list[T]]) -> Iterator[T]: ...


class AsyncLists(Protocol):
    def _slug(self) -> str: ...

    def _pages(self, call: Call[list[T]]) -> AsyncIterator[T]: ...


def paged(call: Callable[Concatenate[str, P], Call[list[T]]]) -> Callable[Concatenate[Lists, P], Iterator[T]]:
    """The method of a client that makes this call in the client's space: the same parameters, checked when called."""

    @wraps(call)
    def method(self: Lists, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        return self._pages(call(self._slug(), *args, **kwargs))

    return with_signature(method, call)


def async_paged(
    call: Callable[Concatenate[str, P], Call[list[T]]],
) -> Callable[Concatenate[AsyncLists, P], AsyncIterator[T]]:
    """As `paged`, for the client for asyncio."""

    @wraps(call)
    def method(self: AsyncLists, /, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[T]:
        return self._pages(call(self._slug(), *args, **kwargs))

    return with_signature(method, call)


def with_signature(method: M, call: Callable[..., Any]) -> M:
    """For `help()`: the client stands where the call has its space."""
    of_call = signature(call)
    space, *others = of_call.parameters.values()
    shown = [space.replace(name="self", annotation=space.empty), *others]
    vars(method)["__signature__"] = of_call.replace(parameters=shown, return_annotation=of_call.empty)
    return method
