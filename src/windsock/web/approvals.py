"""The page of task runs that wait for the input of a person."""

from typing import Any
from uuid import UUID

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import ValidationError

from windsock.actions.approvals import ApprovalService
from windsock.actions.models import LONGEST_NOTE, ApprovalResponseIn
from windsock.auth.authenticator import Space
from windsock.auth.permissions import PageAct, PageView
from windsock.errors import BadRequest, Conflict, Invalid, ProviderFailed
from windsock.http.validation import parse_json
from windsock.web.forms import read_fields
from windsock.web.layout import layout_context
from windsock.web.templates import redirect, render, to_jsonable

router = APIRouter(include_in_schema=False, prefix="/spaces/{slug}/approvals")


@router.get("")
async def show_approvals(request: Request, space: PageView) -> Response:
    return await _page(request, space)


@router.post("/{task_run_id}")
async def respond(request: Request, space: PageAct, task_run_id: UUID) -> Response:
    fields = await read_fields(request)
    values = dict(fields)
    try:
        body = ApprovalResponseIn(
            chosen_options=[value for name, value in fields if name == "option"],
            params=_params(values.get("params", "")),
            requested_at=values.get("requested_at") or None,
            reason=values.get("reason", "").strip() or None,
        )
        service: ApprovalService = request.app.state.approvals
        await service.respond(space, task_run_id, body)
    except ValidationError:
        return await _page(request, space, "Choose one of the options.")
    except (BadRequest, Conflict, Invalid, ProviderFailed) as failure:
        return await _page(request, space, str(failure))
    return redirect(f"/spaces/{space.slug}/approvals", "approval_sent")


async def _page(request: Request, space: Space, complaint: str | None = None) -> Response:
    service: ApprovalService = request.app.state.approvals
    approvals, failure = [], None
    try:
        approvals = [_shown(row) for row in await service.list_approvals(space)]
    except ProviderFailed as error:
        failure = str(error)
    return render(
        request, "approvals.html", status_code=422 if complaint else 200, **await layout_context(space),
        approvals=approvals, failure=failure, complaint=complaint, longest_note=LONGEST_NOTE,
    )  # fmt: skip


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    """With the values of its form as JSON; Airflow wraps each value with its schema."""
    values = {
        name: value["value"] if isinstance(value, dict) and "value" in value else value
        for name, value in row["params"].items()
    }
    text = orjson.dumps(values, option=orjson.OPT_INDENT_2).decode() if values else ""
    shown: dict[str, Any] = to_jsonable(row)
    return shown | {"params_text": text}


def _params(text: str) -> dict[str, Any]:
    """Raises BadRequest for what is no JSON object."""
    if not text.strip():
        return {}
    try:
        values = parse_json(text)
    except ValueError:
        raise BadRequest("The values are no JSON.") from None
    if not isinstance(values, dict):
        raise BadRequest("The values must be a JSON object.")
    return values
