"""Trigger a pipeline; clear, mark, pause and note in Airflow; list what people did."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Body, Header, Query, Request, Response
from pydantic import AfterValidator, StringConstraints

from windsock.actions.approvals import ApprovalService
from windsock.actions.models import (
    Action,
    ActionKind,
    ActionOutcome,
    Approval,
    ApprovalResponseIn,
    ClearResult,
    ClearRunIn,
    ClearTaskRunIn,
    MarkRunIn,
    MarkTaskRunIn,
    NoteIn,
    PausedIn,
    TriggerIn,
)
from windsock.actions.service import ActionService, ClearOutcome
from windsock.actions.store import list_actions, without_metadata
from windsock.auth.permissions import CanAct, CanTrigger, CanView, ConditionalView
from windsock.http.openapi import RELAYS_PROVIDER_ERRORS
from windsock.http.pagination import LIST_HEADERS, PageQuery20
from windsock.http.responses import json_response, page_response
from windsock.http.validation import check_storable
from windsock.pipelines.models import PipelineDetail
from windsock.pipelines.store import get_pipeline
from windsock.runs.models import Run, TaskRun
from windsock.runs.store import get_run_without_tasks
from windsock.runs.task_runs import get_task_run

router = APIRouter(prefix="/spaces/{slug}/orchestration")

IdempotencyKey = Annotated[
    Annotated[str, StringConstraints(min_length=1, max_length=255), AfterValidator(check_storable)] | None,
    Header(
        alias="Idempotency-Key",
        description="1..255 characters. The same key with the same target and body gets the first answer again, "
        "also after a lost connection; with another body it is 409.",
    ),
]
REPLAYED = {
    "Idempotency-Replayed": {
        "description": "true: the answer to an earlier request with the same Idempotency-Key.",
        "schema": {"type": "string", "enum": ["true"]},
    }
}
LIST: dict[int | str, dict[str, Any]] = {200: {"headers": LIST_HEADERS}}
MAY_BE_REPLAYED: dict[int | str, dict[str, Any]] = {200: {"headers": REPLAYED}}
RELAYS = {RELAYS_PROVIDER_ERRORS: True}
CREATED: dict[int | str, dict[str, Any]] = {
    201: {
        "headers": {
            "Location": {"description": "Where to follow the run.", "schema": {"type": "string"}},
            **REPLAYED,
        }
    }
}


@router.post(
    "/pipelines/{pipeline_id}/trigger",
    tags=["pipelines"],
    response_model=Run,
    status_code=201,
    responses=CREATED,
    openapi_extra=RELAYS,
    summary="Trigger a run",
)
async def trigger_pipeline(
    request: Request,
    space: CanTrigger,
    pipeline_id: UUID,
    body: Annotated[TriggerIn | None, Body()] = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Start a run in Airflow, at most once, and mirror it at once.

    Airflow's refusal is relayed with its own status and words, and the header X-Provider. The run of a paused DAG is
    created and stays queued until the DAG is unpaused.
    """
    row, is_replayed = await request.app.state.triggers.trigger(
        space, pipeline_id, body or TriggerIn(), idempotency_key
    )
    headers = {"Location": f"/api/v1.0/spaces/{space.slug}/orchestration/runs/{row['id']}"}
    if is_replayed:
        headers["Idempotency-Replayed"] = "true"
    return json_response(request, row, status=201, headers=headers)


@router.post(
    "/runs/{run_id}/clear",
    response_model=ClearResult,
    responses=MAY_BE_REPLAYED,
    openapi_extra=RELAYS,
    tags=["runs"],
    summary="Clear task runs of a run, so that they run again",
)
async def clear_run(
    request: Request,
    space: CanAct,
    run_id: UUID,
    body: Annotated[ClearRunIn | None, Body()] = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Clear in Airflow, at most once: those that failed, unless told otherwise.

    409 where there is nothing to clear, where task runs go on that a clear would kill, and while somebody else clears
    or marks the run. Airflow's refusal is relayed with its own status and words, and the header X-Provider.
    """
    body = body or ClearRunIn()
    outcome = await _service(request).clear(space, run_id, body, idempotency_key)
    return _clear_response(request, outcome, dry_run=body.dry_run)


@router.post(
    "/task-runs/{task_run_id}/clear",
    response_model=ClearResult,
    responses=MAY_BE_REPLAYED,
    openapi_extra=RELAYS,
    tags=["runs"],
    summary="Clear one task run, so that it runs again",
)
async def clear_task_run(
    request: Request,
    space: CanAct,
    task_run_id: UUID,
    body: Annotated[ClearTaskRunIn | None, Body()] = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """As clearing a run. Airflow 2 clears a mapped task with all its instances."""
    body = body or ClearTaskRunIn()
    chosen = ClearRunIn(**body.model_dump())
    outcome = await _service(request).clear_task_run(space, task_run_id, chosen, idempotency_key)
    return _clear_response(request, outcome, dry_run=body.dry_run)


@router.post(
    "/runs/{run_id}/mark",
    response_model=Run,
    responses=MAY_BE_REPLAYED,
    openapi_extra=RELAYS,
    tags=["runs"],
    summary="Mark a run as success or failed",
)
async def mark_run(
    request: Request, space: CanAct, run_id: UUID, body: MarkRunIn, idempotency_key: IdempotencyKey = None
) -> Response:
    """Set the state in Airflow, which ends the tasks that go on; nothing is sent where it is that already."""
    is_replayed = await _service(request).mark_run(space, run_id, body.status, body.reason, idempotency_key)
    run = await get_run_without_tasks(space, space.id, run_id)
    return json_response(request, without_metadata(run), headers=_replayed(is_replayed=is_replayed))


@router.post(
    "/task-runs/{task_run_id}/mark",
    response_model=TaskRun,
    responses=MAY_BE_REPLAYED,
    openapi_extra=RELAYS,
    tags=["runs"],
    summary="Mark a task run as success, failed or skipped",
)
async def mark_task_run(
    request: Request, space: CanAct, task_run_id: UUID, body: MarkTaskRunIn, idempotency_key: IdempotencyKey = None
) -> Response:
    """Airflow then runs those tasks behind it that failed because of it."""
    is_replayed = await _service(request).mark_task_run(space, task_run_id, body.status, body.reason, idempotency_key)
    task_run = await get_task_run(space, space.id, task_run_id)
    return json_response(request, task_run, headers=_replayed(is_replayed=is_replayed))


@router.put(
    "/pipelines/{pipeline_id}/paused",
    tags=["pipelines"],
    response_model=PipelineDetail,
    openapi_extra=RELAYS,
    summary="Pause or resume a pipeline",
)
async def update_paused(request: Request, space: CanAct, pipeline_id: UUID, body: PausedIn) -> Response:
    await _service(request).set_paused(space, pipeline_id, is_paused=body.is_paused, reason=body.reason)
    return json_response(request, await get_pipeline(space, space, pipeline_id))


@router.put(
    "/runs/{run_id}/note",
    response_model=Run,
    openapi_extra=RELAYS,
    tags=["runs"],
    summary="Write Airflow's note on a run",
)
async def update_run_note(request: Request, space: CanAct, run_id: UUID, body: NoteIn) -> Response:
    """Replaces the note that is there; for a discussion, comment on the run."""
    await _service(request).note_run(space, run_id, body.note)
    return json_response(request, without_metadata(await get_run_without_tasks(space, space.id, run_id)))


@router.put(
    "/task-runs/{task_run_id}/note",
    response_model=TaskRun,
    openapi_extra=RELAYS,
    tags=["runs"],
    summary="Write Airflow's note on a task run",
)
async def update_task_run_note(request: Request, space: CanAct, task_run_id: UUID, body: NoteIn) -> Response:
    await _service(request).note_task_run(space, task_run_id, body.note)
    return json_response(request, await get_task_run(space, space.id, task_run_id))


@router.get(
    "/actions",
    response_model=list[Action],
    responses=LIST,
    name="list_actions",
    tags=["runs"],
    summary="What people did in Airflow through Windsock, newest first",
)
async def list_actions_of_space(
    request: Request,
    space: ConditionalView,
    paging: PageQuery20,
    kind: Annotated[list[ActionKind] | None, Query(description="Several mean any of them.")] = None,
    outcome: Annotated[list[ActionOutcome] | None, Query(description="Several mean any of them.")] = None,
    pipeline_id: Annotated[list[UUID] | None, Query(description="Several mean any of them.")] = None,
    run_id: Annotated[list[UUID] | None, Query(description="Several mean any of them.")] = None,
) -> Response:
    """Kept for 90 days; the audit log keeps them for ever."""
    rows, total = await list_actions(space, paging, kind=kind, outcome=outcome, pipeline_id=pipeline_id, run_id=run_id)
    return page_response(request, rows, total, paging, etag=space.etag)


@router.get(
    "/approvals",
    response_model=list[Approval],
    responses=LIST,
    openapi_extra=RELAYS,
    tags=["runs"],
    summary="Task runs that wait for the input of a person, the oldest question first",
)
async def list_approvals(request: Request, space: CanView, paging: PageQuery20) -> Response:
    """Reads them from Airflow 3; Airflow 2 has none. An Airflow without waiting task runs gets no request."""
    service: ApprovalService = request.app.state.approvals
    rows = await service.list_approvals(space)
    return page_response(request, rows[paging.offset : paging.offset + paging.size], len(rows), paging)


@router.post(
    "/task-runs/{task_run_id}/answer",
    response_model=TaskRun,
    responses=MAY_BE_REPLAYED,
    openapi_extra=RELAYS,
    tags=["runs"],
    summary="Answer a task run that waits for the input of a person",
)
async def respond_to_task_run(
    request: Request, space: CanAct, task_run_id: UUID, body: ApprovalResponseIn, idempotency_key: IdempotencyKey = None
) -> Response:
    """Airflow's rules of who may answer apply to the account of the connector."""
    service: ApprovalService = request.app.state.approvals
    is_replayed = await service.respond(space, task_run_id, body, idempotency_key)
    task_run = await get_task_run(space, space.id, task_run_id)
    return json_response(request, task_run, headers=_replayed(is_replayed=is_replayed))


def _service(request: Request) -> ActionService:
    service: ActionService = request.app.state.actions
    return service


def _clear_response(request: Request, outcome: ClearOutcome, *, dry_run: bool) -> Response:
    result = {"dry_run": dry_run, "run": outcome.run, "task_runs": outcome.task_runs}
    return json_response(request, result, headers=_replayed(is_replayed=outcome.is_replayed))


def _replayed(*, is_replayed: bool) -> dict[str, str]:
    return {"Idempotency-Replayed": "true"} if is_replayed else {}
