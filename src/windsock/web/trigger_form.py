"""The form that triggers a run: fields of the DAG's params, sent at most once."""

import re
from typing import Annotated, Any
from uuid import UUID, uuid4

from fastapi import APIRouter, Query, Request, Response
from pydantic import ValidationError

from windsock.actions.models import LONGEST_NOTE, TriggerIn
from windsock.actions.trigger import TriggerService
from windsock.auth.authenticator import Space
from windsock.auth.permissions import PageTrigger
from windsock.errors import BadRequest, Conflict, IdempotencyConflict, ProviderFailed, ProviderHTTPError
from windsock.pipelines.store import get_pipeline
from windsock.web.forms import read_form
from windsock.web.layout import layout_context
from windsock.web.params import DEFAULTS, PREFIX, form_field, inexact_defaults, parse_conf
from windsock.web.templates import redirect, render, to_jsonable

IDEMPOTENCY_KEY = re.compile(r"[0-9a-f]{32}")
SENT_BEFORE = (
    "This form was sent before with other values, so nothing was started now. Choose Trigger to start a run with these."
)

router = APIRouter(include_in_schema=False, prefix="/spaces/{slug}/pipelines/{pipeline_id}/trigger")


@router.get("")
async def show_form(
    request: Request, space: PageTrigger, pipeline_id: UUID, key: Annotated[str, Query(max_length=255)] = ""
) -> Response:
    """Each form has an idempotency key in its address, so that the form is the same one after Back and a reload."""
    if not IDEMPOTENCY_KEY.fullmatch(key):
        return redirect(f"{request.url.path}?key={new_idempotency_key()}")
    return await _form(request, space, pipeline_id, {}, key)


@router.post("")
async def trigger(request: Request, space: PageTrigger, pipeline_id: UUID) -> Response:
    """Sent again with the same key, by a double click or after Back, it starts no second run."""
    form = await read_form(request)
    key = form.get("key", "")[:255] or new_idempotency_key()
    try:
        body = _trigger_body(form)
    except BadRequest as error:
        return await _form(request, space, pipeline_id, form, key, str(error), error.status)
    triggers: TriggerService = request.app.state.triggers
    try:
        run, is_repeated = await triggers.trigger(space, pipeline_id, body, key)
    except ProviderHTTPError as refusal:  # a new attempt is another request
        return await _form(request, space, pipeline_id, form, new_idempotency_key(), f"Airflow: {refusal}", 422)
    except ProviderFailed as failure:  # it may have been started: the same key finds it
        return await _form(request, space, pipeline_id, form, key, str(failure), 502)
    except IdempotencyConflict:
        return await _form(request, space, pipeline_id, form, new_idempotency_key(), SENT_BEFORE, 409)
    except Conflict as error:
        return await _form(request, space, pipeline_id, form, new_idempotency_key(), str(error), error.status)
    notice = "run_already_started" if is_repeated else "run_started"
    return redirect(f"/spaces/{space.slug}/runs/{run['id']}", notice)


def _trigger_body(form: dict[str, str]) -> TriggerIn:
    """Raises BadRequest with a sentence."""
    fields = [(name, text) for name, text in form.items() if name.startswith(PREFIX)]
    conf = parse_conf(fields, form.get("conf", ""), form.get(DEFAULTS, ""))
    try:
        return TriggerIn(conf=conf or None, note=form.get("note") or None)
    except ValidationError as error:
        first = error.errors()[0]
        raise BadRequest(f"{first['loc'][0] if first['loc'] else 'Conf'}: {first['msg']}.") from None


def new_idempotency_key() -> str:
    return uuid4().hex


async def _form(
    request: Request,
    space: Space,
    pipeline_id: UUID,
    drafted: dict[str, str],
    key: str,
    complaint: str | None = None,
    status: int = 200,
) -> Response:
    async with space.transaction() as tx:
        pipeline: dict[str, Any] = to_jsonable(await get_pipeline(tx, space, pipeline_id))
    unread, fields = None, []
    try:
        triggers: TriggerService = request.app.state.triggers
        fields = [form_field(param, drafted) for param in await triggers.params(space, pipeline_id)]
    except ProviderFailed as failure:
        unread = str(failure)
    return render(
        request, "trigger.html", status_code=status, **await layout_context(space), pipeline=pipeline, fields=fields,
        unread=unread, complaint=complaint, key=key, note=drafted.get("note", ""), conf=drafted.get("conf", ""),
        longest_note=LONGEST_NOTE, defaults=inexact_defaults(fields),
    )  # fmt: skip
