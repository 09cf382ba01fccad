"""Every operation as a value: what is sent, what comes back, and whether it may be sent again."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Generic, TypeVar
from urllib.parse import quote
from uuid import UUID, uuid4

from pydantic import TypeAdapter

from windsock.comments.models import Comment
from windsock.failures.log_models import Level, TaskLogPage
from windsock.failures.models import FingerprintDetail
from windsock.pipelines.models import PipelineDetail
from windsock.runs.models import Run, RunDetail, TaskRun
from windsock.saved_views.models import SavedView
from windsock.spaces.models import Me
from windsock.sync.models import SyncRun

T = TypeVar("T")

FOLLOW_SECONDS = 2.0
"""Between two looks at a log that is followed."""
TRIGGER_SECONDS = 120.0
"""Windsock waits for Airflow, and looks a run up whose answer was lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[T]):
    """`response_type` is what the body is read as. `is_repeatable`: sent twice, it does what it does once."""

    method: str
    path: str
    response_type: TypeAdapter[T]
    is_repeatable: bool
    params: Mapping[str, Any] = field(default_factory=dict)
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    seconds: float | None = None

    def page(self, number: int) -> "Call[T]":
        return replace(self, params={**self.params, "page": number})

    def page_behind(self, cursor: str) -> "Call[T]":
        return replace(self, params={**self.params, "cursor": cursor})


def get(path: str, response_type: Any, **params: Any) -> Call[Any]:  # noqa: ANN401 - a type
    query = {name: _text(value) for name, value in params.items() if value not in (None, [], ())}
    return Call(method="GET", path=path, response_type=TypeAdapter(response_type), is_repeatable=True, params=query)


def _put(method: str, path: str, response_type: Any, body: Any = None) -> Call[Any]:  # noqa: ANN401 - a type, JSON
    return Call(method=method, path=path, response_type=TypeAdapter(response_type), is_repeatable=True, body=body)


def _post(path: str, body: object) -> Call[FingerprintDetail]:
    response_type = TypeAdapter(FingerprintDetail)
    return Call(method="POST", path=path, response_type=response_type, is_repeatable=False, body=body)


def _text(value: Any) -> Any:  # noqa: ANN401 - a parameter, or several
    if isinstance(value, list | tuple | set | frozenset):
        return [_text(item) for item in value]
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError("a time must say its offset: use datetime.now(timezone.utc), not datetime.now()")
        return value.isoformat()
    return str(value)


def orchestration_of(space: str) -> str:
    return f"/spaces/{quote(space, safe='')}/orchestration"


def me() -> Call[Me]:
    return get("/users/me", Me)


def pipeline(space: str, pipeline_id: UUID, days: int | None) -> Call[PipelineDetail]:
    return get(f"{orchestration_of(space)}/pipelines/{pipeline_id}", PipelineDetail, days=days)


def set_team(space: str, pipeline_id: UUID, team_id: UUID | None) -> Call[PipelineDetail]:
    body = {"team_id": None if team_id is None else str(team_id)}
    return _put("PATCH", f"{orchestration_of(space)}/pipelines/{pipeline_id}/team", PipelineDetail, body)


def set_criticality(space: str, pipeline_id: UUID, criticality: str) -> Call[PipelineDetail]:
    body = {"criticality": criticality}
    return _put("PATCH", f"{orchestration_of(space)}/pipelines/{pipeline_id}/criticality", PipelineDetail, body)


def watch(space: str, pipeline_id: UUID, *, is_watched: bool) -> Call[None]:
    return _put("PUT" if is_watched else "DELETE", f"{orchestration_of(space)}/pipelines/{pipeline_id}/watch", None)


def trigger(
    space: str,
    pipeline_id: UUID,
    conf: Mapping[str, Any] | None,
    logical_date: datetime | None,
    note: str | None,
    idempotency_key: str | None,
) -> Call[Run]:
    """Always with a key, and so repeatable: whatever became of the first, there is one run."""
    return Call(
        method="POST",
        path=f"{orchestration_of(space)}/pipelines/{pipeline_id}/trigger",
        response_type=TypeAdapter(Run),
        is_repeatable=True,
        body={
            "conf": dict(conf or {}),
            "logical_date": None if logical_date is None else _text(logical_date),
            "note": note,
        },
        headers={"Idempotency-Key": str(uuid4()) if idempotency_key is None else idempotency_key},
        seconds=TRIGGER_SECONDS,
    )


def run(space: str, run_id: UUID) -> Call[RunDetail]:
    return get(f"{orchestration_of(space)}/runs/{run_id}", RunDetail)


def task_run(space: str, task_run_id: UUID) -> Call[TaskRun]:
    return get(f"{orchestration_of(space)}/task-runs/{task_run_id}", TaskRun)


def comment(space: str, kind: str, resource_id: UUID, content: str, parent_id: UUID | None) -> Call[Comment]:
    """Never sent twice: two comments would stand there."""
    return Call(
        method="POST",
        path=f"{orchestration_of(space)}/{kind}/{resource_id}/comments",
        response_type=TypeAdapter(Comment),
        is_repeatable=False,
        body={"content": content, "parent_id": None if parent_id is None else str(parent_id)},
    )


def edit_comment(space: str, comment_id: UUID, content: str) -> Call[Comment]:
    return _put("PUT", f"{orchestration_of(space)}/comments/{comment_id}", Comment, {"content": content})


def delete_comment(space: str, comment_id: UUID) -> Call[None]:
    return _put("DELETE", f"{orchestration_of(space)}/comments/{comment_id}", None)


def save_view(space: str, name: str, query: str, *, is_shared: bool) -> Call[SavedView]:
    """Never sent twice: the second one would be refused, since the name is taken."""
    return Call(
        method="POST",
        path=f"{orchestration_of(space)}/views",
        response_type=TypeAdapter(SavedView),
        is_repeatable=False,
        body={"name": name, "query": query, "is_shared": is_shared},
    )


def change_view(
    space: str, view_id: UUID, name: str | None, query: str | None, *, is_shared: bool | None
) -> Call[SavedView]:
    changes = {"name": name, "query": query, "is_shared": is_shared}
    body = {field: value for field, value in changes.items() if value is not None}
    return _put("PATCH", f"{orchestration_of(space)}/views/{view_id}", SavedView, body)


def delete_view(space: str, view_id: UUID) -> Call[None]:
    return _put("DELETE", f"{orchestration_of(space)}/views/{view_id}", None)


def fingerprint(space: str, fingerprint_id: UUID) -> Call[FingerprintDetail]:
    return get(f"{orchestration_of(space)}/fingerprints/{fingerprint_id}", FingerprintDetail)


def name_fingerprint(space: str, fingerprint_id: UUID, name: str | None) -> Call[FingerprintDetail]:
    path = f"{orchestration_of(space)}/fingerprints/{fingerprint_id}"
    return _put("PATCH", path, FingerprintDetail, {"name": name})


def set_runbook(space: str, fingerprint_id: UUID, comment_id: UUID | None) -> Call[FingerprintDetail]:
    body = {"comment_id": None if comment_id is None else str(comment_id)}
    return _put("PUT", f"{orchestration_of(space)}/fingerprints/{fingerprint_id}/runbook", FingerprintDetail, body)


def merge_fingerprint(space: str, fingerprint_id: UUID, into: UUID) -> Call[FingerprintDetail]:
    """Never sent twice: the second time the group is merged already."""
    return _post(f"{orchestration_of(space)}/fingerprints/{fingerprint_id}/merge", {"into": str(into)})


def split_fingerprint(
    space: str, fingerprint_id: UUID, task_failure_ids: Iterable[UUID], run_ids: Iterable[UUID]
) -> Call[FingerprintDetail]:
    """Never sent twice: the second time the failures are in another group."""
    body = {"task_failure_ids": [str(each) for each in task_failure_ids], "run_ids": [str(each) for each in run_ids]}
    return _post(f"{orchestration_of(space)}/fingerprints/{fingerprint_id}/split", body)


def sync(space: str, connector_id: UUID, *, is_full: bool) -> Call[SyncRun]:
    """Asked twice, the unfinished one is answered."""
    return _put("POST", f"{orchestration_of(space)}/connectors/{connector_id}/sync", SyncRun, {"is_full": is_full})


def sync_run(space: str, sync_id: UUID) -> Call[SyncRun]:
    return get(f"{orchestration_of(space)}/syncs/{sync_id}", SyncRun)


def cancel_sync(space: str, sync_id: UUID) -> Call[SyncRun]:
    """Asked twice, it is cancelled once; the second answer may say that it has ended."""
    return _put("POST", f"{orchestration_of(space)}/syncs/{sync_id}/cancel", SyncRun)


def task_log(
    space: str, task_run_id: UUID, try_number: int | None, tail: int | None, level: Level | None, cursor: str | None
) -> Call[TaskLogPage]:
    return get(
        f"{orchestration_of(space)}/task-runs/{task_run_id}/logs",
        TaskLogPage,
        try_number=try_number,
        tail=tail,
        level=level,
        cursor=cursor,
    )
