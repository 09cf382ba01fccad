"""Notifications of a space: rules and channels, messages, and why a person was notified of an incident or not."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from pydantic import ValidationError

from windsock.auth.authenticator import Space
from windsock.auth.permissions import PageNotify, PageView
from windsock.connectors.store import list_connectors_of
from windsock.http.pagination import FIRST_PAGE, PageParams, PageQuery20
from windsock.notifications.models import MessageState
from windsock.notifications.preview import preview_rule
from windsock.notifications.rule_models import RuleIn, RuleUpdate
from windsock.notifications.sentences import KINDS as INCIDENT_KINDS
from windsock.notifications.sentences import OUTCOMES
from windsock.notifications.store import (
    change_rule,
    create_rule,
    delete_rule,
    get_incident_name,
    get_rule,
    list_channels,
    list_decisions,
    list_messages,
    list_rules,
    resend_message,
)
from windsock.web.bulk_edit import team_options
from windsock.web.forms import (
    Confirmed,
    FormInvalid,
    FormState,
    errors_at,
    field_errors,
    is_number,
    read_fields,
    render_confirmation,
)
from windsock.web.layout import layout_context
from windsock.web.templates import redirect, redirect_past_end, render, to_jsonable

MANY = PageParams(1, 1_000)
"""Of the options of a rule: saving its form must not drop one that is selected."""
router = APIRouter(include_in_schema=False, prefix="/spaces/{slug}/notifications")

LISTS = ("kinds", "team_ids", "connector_ids", "channel_ids", "events", "group_by")
CHECKBOXES = ("is_active", "to_team_channels", "to_watchers", "critical_passes")
NULLABLE = ("repeat_seconds", "quiet_start", "quiet_end", "digest_at")


@router.get("")
async def show_notifications(request: Request, space: PageView) -> Response:
    async with space.transaction() as tx:
        rules, _ = await list_rules(tx, space.id, FIRST_PAGE)
        channels, _ = await list_channels(tx, space.id, FIRST_PAGE)
    return render(
        request, "notifications.html", **await layout_context(space), rules=to_jsonable(rules),
        channels=to_jsonable(channels),
    )  # fmt: skip


@router.get("/rules/new")
async def show_new_rule(request: Request, space: PageNotify) -> Response:
    return await _render_rule(request, space, to_jsonable(RuleIn(name="-").model_dump()) | {"name": ""}, FormState())


@router.get("/rules/{rule_id}")
async def show_rule(request: Request, space: PageView, rule_id: UUID) -> Response:
    async with space.transaction() as tx:
        rule = await get_rule(tx, space.id, rule_id)
    return await _render_rule(request, space, to_jsonable(rule), FormState())


@router.post("/rules/new")
async def add_rule(request: Request, space: PageNotify) -> Response:
    return await _save_rule(request, space, None)


@router.post("/rules/{rule_id}")
async def save_rule(request: Request, space: PageNotify, rule_id: UUID) -> Response:
    return await _save_rule(request, space, rule_id)


@router.post("/rules/{rule_id}/delete")
async def remove_rule(request: Request, space: PageNotify, rule_id: UUID, confirmed: Confirmed = False) -> Response:  # noqa: FBT002 - a form field
    async with space.transaction() as tx:
        rule = await get_rule(tx, space.id, rule_id)
        if confirmed:
            await delete_rule(tx, space.id, rule_id)
    if not confirmed:
        return render_confirmation(
            request, await layout_context(space), title=f"Delete the rule “{rule['name']}”?",
            consequence="Nobody is notified by it any more. What was announced by it is still resolved.",
            action="Delete", back=f"/spaces/{space.slug}/notifications/rules/{rule_id}",
        )  # fmt: skip
    return redirect(f"/spaces/{space.slug}/notifications", "rule_deleted")


@router.get("/messages")
async def show_messages(
    request: Request,
    space: PageView,
    paging: PageQuery20,
    channel_id: Annotated[list[UUID] | None, Query()] = None,
    pipeline_id: Annotated[list[UUID] | None, Query()] = None,
    status: Annotated[list[MessageState] | None, Query()] = None,
) -> Response:
    which = {
        "space_id": space.id, "channel_id": channel_id, "pipeline_id": pipeline_id, "status": status,
        "created_from": None, "created_to": None,
    }  # fmt: skip
    async with space.transaction() as tx:
        rows, total = await list_messages(tx, which, paging)
        channels, _ = await list_channels(tx, space.id, FIRST_PAGE)
    pages = paging.last_page(total)
    if last_page := redirect_past_end(request, paging.page, pages):
        return last_page
    return render(
        request, "messages.html", **await layout_context(space), messages=to_jsonable(rows), total=total,
        number=paging.page, pages=pages, channels=to_jsonable(channels),
        chosen=[str(id_) for id_ in channel_id or []], statuses=status or [],
    )  # fmt: skip


@router.post("/messages/{message_id}/resend")
async def resend(request: Request, space: PageNotify, message_id: UUID) -> Response:
    async with space.transaction() as tx:
        await resend_message(tx, space.id, message_id)
    request.app.state.notification_jobs.wake()
    return redirect(f"/spaces/{space.slug}/notifications/messages", "message_queued")


@router.get("/why/{incident_id}")
async def show_why(request: Request, space: PageView, incident_id: UUID) -> Response:
    """Each event of an incident with what every rule decided about it."""
    async with space.transaction() as tx:
        incident = await get_incident_name(tx, space.id, incident_id)
        decisions = await list_decisions(tx, space.id, incident_id)
    return render(
        request, "why.html", **await layout_context(space), incident=to_jsonable(incident),
        decisions=to_jsonable(decisions), outcomes=OUTCOMES,
    )  # fmt: skip


async def _save_rule(request: Request, space: Space, rule_id: UUID | None) -> Response:
    """With the button Preview the form is shown again, with what the rule would have sent."""
    fields = await read_fields(request)
    values = _values(fields)
    preview = None
    try:
        body = _validate(values)
        with errors_at():
            async with space.transaction() as tx:
                if ("do", "preview") in fields:
                    has_mail = request.app.state.delivery.has_mail
                    preview = await preview_rule(tx, space.id, body, has_mail=has_mail)
                elif rule_id is None:
                    await create_rule(tx, space.id, body)
                else:
                    await change_rule(tx, space.id, rule_id, RuleUpdate(**body.model_dump()))
    except FormInvalid as error:
        return await _render_rule(request, space, {**values, "id": rule_id}, FormState({}, error.errors))
    if preview is not None:
        return await _render_rule(request, space, {**values, "id": rule_id}, FormState(), to_jsonable(preview))
    return redirect(f"/spaces/{space.slug}/notifications", "rule_saved")


def _values(fields: list[tuple[str, str]]) -> dict[str, Any]:
    """As the fields of RuleIn, not validated yet."""
    last = {name: value.strip() for name, value in fields}
    values: dict[str, Any] = {name: [value for field, value in fields if field == name] for name in LISTS}
    values |= {name: last.get(name) == "true" for name in CHECKBOXES}
    values |= {name: last.get(name) or None for name in NULLABLE}
    values["tags"] = [tag.strip() for tag in last.get("tags", "").split(",") if tag.strip()]
    values |= {name: last.get(name, "") for name in ("name", "min_criticality", "time_zone")}
    values |= {name: last.get(name, "") for name in ("min_failures", "after_successes", "hold_seconds")}
    return values


def _validate(values: dict[str, Any]) -> RuleIn:
    """Raises FormInvalid."""
    whole = ("min_failures", "after_successes", "hold_seconds", "repeat_seconds")
    numbers = {name: int(values[name]) for name in whole if is_number(values[name] or "")}
    filled = {name: value for name, value in values.items() if value != ""}
    try:
        return RuleIn.model_validate({**filled, **numbers})
    except ValidationError as error:
        raise FormInvalid(field_errors(error)) from None


async def _render_rule(
    request: Request, space: Space, rule: dict[str, Any], form: FormState, preview: object = None
) -> Response:
    async with space.transaction() as tx:
        channels, _ = await list_channels(tx, space.id, MANY)
        connectors, _ = await list_connectors_of(tx, space.id, MANY)
        (teams,) = await tx.fetch_batch(team_options(space))
    return render(
        request, "rule.html", status_code=form.status_code, **await layout_context(space), rule=to_jsonable(rule),
        form=form, channels=to_jsonable(channels), connectors=to_jsonable(connectors), teams=to_jsonable(teams),
        incident_kinds=INCIDENT_KINDS, preview=preview,
    )  # fmt: skip
