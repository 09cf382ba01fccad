"""Clear, mark, note and pause: a dry run or a question first, then the action with a reason."""

from collections.abc import Mapping
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, StringConstraints

from windsock.actions.models import LONGEST_NOTE, ClearRunIn, RunMark, TaskRunMark
from windsock.actions.service import ActionService
from windsock.auth.authenticator import Space
from windsock.auth.permissions import PageAct
from windsock.errors import Conflict, Invalid, NotFound, ProviderFailed
from windsock.pipelines.store import get_pipeline
from windsock.runs.store import get_run_without_tasks
from windsock.runs.task_runs import get_task_run
from windsock.web.forms import Confirmed, FormInvalid, FormState, read_form, validate_form
from windsock.web.layout import layout_context
from windsock.web.templates import REFUSED_HEADERS, is_htmx_partial, redirect, render, to_jsonable
from windsock.web.trigger_form import new_idempotency_key

router = APIRouter(include_in_schema=False, prefix="/spaces/{slug}")

MAX_LISTED = 100
"""Task runs that the list of a dry run shows."""
Text = Annotated[str, StringConstraints(max_length=LONGEST_NOTE)]


class ClearForm(BaseModel):
    """`task_run_id`: only this one; `downstream`: and the tasks behind it; `all`: also tasks that did not fail."""

    task_run_id: UUID | None = None
    downstream: bool = False
    all: bool = False
    reason: Text | None = None
    key: Text | None = None


class MarkRunForm(BaseModel):
    status: RunMark
    reason: Text | None = None
    key: Text | None = None


class MarkTaskRunForm(BaseModel):
    task_run_id: UUID
    status: TaskRunMark
    reason: Text | None = None
    key: Text | None = None


class PausedForm(BaseModel):
    is_paused: bool
    reason: Text | None = None


class NoteForm(BaseModel):
    task_run_id: UUID | None = None
    note: Text | None = None


@router.post("/runs/{run_id}/clear")
async def clear_run(request: Request, space: PageAct, run_id: UUID, confirmed: Confirmed = False) -> Response:  # noqa: FBT002 - a form field
    values = await read_form(request)
    form = validate_form(ClearForm, values)
    ids = [form.task_run_id] if form.task_run_id else None
    only_failed = ids is None and not form.all
    page = f"/spaces/{space.slug}/runs/{run_id}"
    key = form.key or new_idempotency_key()
    fields = {"all": str(form.all).lower(), "key": key}
    if form.task_run_id:
        fields |= {"task_run_id": str(form.task_run_id), "downstream": str(form.downstream).lower()}
    body = ClearRunIn(
        task_run_ids=ids, only_failed=only_failed, include_downstream=form.downstream, dry_run=not confirmed,
        reason=form.reason or None,
    )  # fmt: skip
    error, outcome = None, None
    try:
        outcome = await _service(request).clear(space, run_id, body, key)
    except Invalid as invalid:
        body = body.model_copy(update={"dry_run": True})
        outcome = await _service(request).clear(space, run_id, body)
        error = FormInvalid({"reason": str(invalid)})
    except (Conflict, ProviderFailed) as failure:
        error = FormInvalid({"": str(failure)})
    if outcome is not None and confirmed and error is None:
        return redirect(page, "tasks_cleared", len(outcome.task_runs))
    return await _confirm(
        request, space, error, values, title="Clear failed tasks" if only_failed else "Clear tasks", back=page,
        tasks=to_jsonable(outcome.task_runs) if outcome else [], fields=fields, action="Clear",
        consequence="Airflow runs these tasks again.", is_possible=outcome is not None and bool(outcome.task_runs),
        offers_downstream=form.task_run_id is not None and not form.downstream,
    )  # fmt: skip


@router.post("/runs/{run_id}/mark")
async def mark_run(request: Request, space: PageAct, run_id: UUID, confirmed: Confirmed = False) -> Response:  # noqa: FBT002 - a form field
    values = await read_form(request)
    page = f"/spaces/{space.slug}/runs/{run_id}"
    task: MarkTaskRunForm | None = None
    form: MarkRunForm | MarkTaskRunForm
    if values.get("task_run_id"):
        form = task = validate_form(MarkTaskRunForm, values)
    else:
        form = validate_form(MarkRunForm, values)
    key, error = form.key or new_idempotency_key(), None
    if confirmed:
        try:
            if task is not None:
                await _service(request).mark_task_run(space, task.task_run_id, task.status, form.reason, key)
            else:
                await _service(request).mark_run(space, run_id, form.status, form.reason, key)
            return redirect(page, "marked")
        except (Conflict, Invalid, ProviderFailed) as failure:
            error = _error(failure)
    name = (await get_task_run(space, space.id, task.task_run_id))["external_id"] if task else "the run"
    consequence = (
        "Airflow then runs those tasks behind it that failed because of it." if task else "Tasks that go on are ended."
    )
    fields = {"status": form.status, "key": key} | ({"task_run_id": str(task.task_run_id)} if task else {})
    return await _confirm(
        request, space, error, values, title=f"Mark {name} as {form.status}", back=page, fields=fields,
        action=f"Mark as {form.status}", consequence=consequence,
    )  # fmt: skip


@router.post("/pipelines/{pipeline_id}/paused")
async def set_paused(request: Request, space: PageAct, pipeline_id: UUID, confirmed: Confirmed = False) -> Response:  # noqa: FBT002 - a form field
    values = await read_form(request)
    form, error = validate_form(PausedForm, values), None
    page = f"/spaces/{space.slug}/pipelines/{pipeline_id}"
    if confirmed:
        try:
            await _service(request).set_paused(space, pipeline_id, is_paused=form.is_paused, reason=form.reason)
            return redirect(page, "pipeline_paused" if form.is_paused else "pipeline_resumed")
        except (Conflict, Invalid, ProviderFailed) as failure:
            error = _error(failure)
    pipeline = await get_pipeline(space, space, pipeline_id)
    verb = "Pause" if form.is_paused else "Resume"
    return await _confirm(
        request, space, error, values, title=f"{verb} {pipeline['name']}", back=page, action=verb,
        fields={"is_paused": str(form.is_paused).lower()},
        consequence="Airflow starts no runs of it any more." if form.is_paused else "Airflow starts its runs again.",
    )  # fmt: skip


@router.get("/runs/{run_id}/note")
async def show_note(
    request: Request, space: PageAct, run_id: UUID, task_run_id: Annotated[UUID | None, Query()] = None
) -> Response:
    return await _note_page(request, space, run_id, task_run_id, FormState())


@router.post("/runs/{run_id}/note")
async def write_note(request: Request, space: PageAct, run_id: UUID) -> Response:
    values = await read_form(request)
    task_run_id = None
    try:
        form = validate_form(NoteForm, values)
        task_run_id = form.task_run_id
        if task_run_id is not None:
            await _service(request).note_task_run(space, task_run_id, form.note)
        else:
            await _service(request).note_run(space, run_id, form.note)
    except (FormInvalid, Conflict, ProviderFailed) as failure:
        error = failure if isinstance(failure, FormInvalid) else _error(failure)
        return await _note_page(request, space, run_id, task_run_id, FormState(values, error.errors))
    return redirect(f"/spaces/{space.slug}/runs/{run_id}", "note_written")


async def _note_page(
    request: Request, space: Space, run_id: UUID, task_run_id: UUID | None, form: FormState
) -> Response:
    run = to_jsonable(await get_run_without_tasks(space, space.id, run_id))
    task = None if task_run_id is None else to_jsonable(await get_task_run(space, space.id, task_run_id))
    if task is not None and task["run_id"] != run["id"]:
        raise NotFound("task run")
    return render(
        request, "note.html", status_code=form.status_code, **await layout_context(space), run=run, task=task,
        form=form, longest_note=LONGEST_NOTE,
    )  # fmt: skip


async def _confirm(
    request: Request,
    space: Space,
    error: FormInvalid | None,
    values: Mapping[str, str],
    *,
    is_possible: bool = True,
    **shown: Any,  # noqa: ANN401 - of the template
) -> Response:
    """A page, or a dialog for htmx, whose form sends the same request again with a reason and `confirmed`."""
    template = "action_form.html" if is_htmx_partial(request) else "action.html"
    form = FormState(values, error.errors if error else {}, "action")
    context = {"tasks": [], "offers_downstream": False, "max_listed": MAX_LISTED, "longest_note": LONGEST_NOTE, **shown}
    return render(
        request, template, status_code=form.status_code, headers=REFUSED_HEADERS, **await layout_context(space),
        **context, form=form, is_possible=is_possible,
    )  # fmt: skip


def _error(failure: Conflict | Invalid | ProviderFailed) -> FormInvalid:
    """A missing reason belongs to its field."""
    return FormInvalid({"reason" if isinstance(failure, Invalid) else "": str(failure)})


def _service(request: Request) -> ActionService:
    service: ActionService = request.app.state.actions
    return service
