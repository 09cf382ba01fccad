"""A run by hand: a form made of the DAG's params, sent at most once, and what Airflow answered."""

from typing import Any
from uuid import UUID, uuid4

from fastapi import APIRouter, Request, Response
from pydantic import ValidationError

from windsock.access.space import PageTrigger, Space
from windsock.errors import BadRequest, Conflict, ProviderFailed, ProviderRefused
from windsock.pipelines.store import get_pipeline
from windsock.triggers.models import LONGEST_NOTE, TriggerIn
from windsock.triggers.sending import Triggers
from windsock.web.forms import read_form
from windsock.web.frame import around
from windsock.web.params import DEFAULTS, PREFIX, a_field, conf_of, inexact_defaults
from windsock.web.rendering import go, page, plain

router = APIRouter(include_in_schema=False, prefix="/spaces/{slug}/pipelines/{pipeline_id}/trigger")


@router.get("")
async def show_form(request: Request, space: PageTrigger, pipeline_id: UUID) -> Response:
    return await _form(request, space, pipeline_id, {}, another_request())


@router.post("")
async def trigger(request: Request, space: PageTrigger, pipeline_id: UUID) -> Response:
    """Sent again with the same hidden key, as by a double click, it answers with the same run."""
    given = await read_form(request)
    key = given.get("key", "")[:255] or another_request()
    try:
        asked = _asked(given)
    except BadRequest as error:
        return await _form(request, space, pipeline_id, given, key, str(error), error.status)
    triggers: Triggers = request.app.state.triggers
    try:
        run, _ = await triggers.trigger(space, pipeline_id, asked, key)
    except ProviderRefused as refusal:  # a new attempt is another request
        return await _form(request, space, pipeline_id, given, another_request(), f"Airflow: {refusal}", 422)
    except ProviderFailed as failure:  # it may have been started: the same key finds it
        return await _form(request, space, pipeline_id, given, key, str(failure), 502)
    except Conflict as error:
        return await _form(request, space, pipeline_id, given, another_request(), str(error), error.status)
    return go(f"/spaces/{space.slug}/runs/{run['id']}")


def _asked(given: dict[str, str]) -> TriggerIn:
    """Raises BadRequest with a sentence."""
    fields = [(name, text) for name, text in given.items() if name.startswith(PREFIX)]
    conf = conf_of(fields, given.get("conf", ""), given.get(DEFAULTS, ""))
    try:
        return TriggerIn(conf=conf or None, note=given.get("note") or None)
    except ValidationError as error:
        first = error.errors()[0]
        raise BadRequest(f"{first['loc'][0] if first['loc'] else 'Conf'}: {first['msg']}.") from None


def another_request() -> str:
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
        pipeline: dict[str, Any] = plain(await get_pipeline(tx, space, pipeline_id))
    unread, fields = None, []
    try:
        triggers: Triggers = request.app.state.triggers
        fields = [a_field(one, drafted) for one in await triggers.params(space, pipeline_id)]
    except ProviderFailed as failure:
        unread = str(failure)
    return page(
        request, "trigger.html", status_code=status, **await around(space), pipeline=pipeline, fields=fields,
        unread=unread, complaint=complaint, key=key, note=drafted.get("note", ""), conf=drafted.get("conf", ""),
        longest_note=LONGEST_NOTE, defaults=inexact_defaults(fields),
    )  # fmt: skip
