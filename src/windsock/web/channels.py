"""The form of a channel of notifications: create, change, test, delete."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from pydantic import ValidationError

from windsock.auth.authenticator import Space
from windsock.auth.permissions import PageNotify, PageView
from windsock.notifications.channel_test import send_test_message
from windsock.notifications.kinds import KINDS, ChannelKind
from windsock.notifications.models import ChannelIn, ChannelUpdate
from windsock.notifications.store import change_channel, create_channel, delete_channel, get_channel
from windsock.web.bulk_edit import team_options
from windsock.web.forms import (
    Confirmed,
    FormInvalid,
    FormState,
    errors_at,
    field_errors,
    is_number,
    read_form,
    render_confirmation,
)
from windsock.web.layout import layout_context
from windsock.web.templates import redirect, render, to_jsonable

router = APIRouter(include_in_schema=False, prefix="/spaces/{slug}/notifications/channels")

FIELDS: dict[str, tuple[tuple[str, str, str], ...]] = {
    "slack": (
        ("secret.webhook_url", "Incoming webhook URL", "Or, for one message that is edited, the two fields below."),
        ("secret.bot_token", "Bot token", "With the scope chat:write."),
        ("config.channel", "Id of the Slack channel", "With a bot token only, such as C0123456789."),
    ),
    "teams": (("secret.webhook_url", "URL of the workflow", "“When a Teams webhook request is received”."),),
    "email": (("config.to", "Addresses", "Separated by commas, at most 20."),),
    "pagerduty": (
        ("secret.routing_key", "Integration key", "Of the Events API v2."),
        ("config.url", "URL", "Empty: https://events.pagerduty.com/v2/enqueue."),
    ),
    "alertmanager": (
        ("config.url", "URL", "Without /api/v2/alerts."),
        ("secret.username", "User name", "Where a proxy wants a sign-in."),
        ("secret.password", "Password", ""),
        ("secret.bearer_token", "Bearer token", ""),
    ),
    "webhook": (
        ("config.url", "URL", "Receives signed JSON (Standard Webhooks)."),
        ("secret.signing_secret", "Signing secret", "whsec_ and 24 to 64 random bytes in base64."),
        ("secret.previous_signing_secret", "Previous signing secret", "Signs too, while receivers change."),
    ),
}
"""Of each kind: name, label and hint. What begins with secret is never shown again."""


@router.get("/new")
async def show_new_channel(
    request: Request, space: PageNotify, kind: Annotated[ChannelKind, Query()] = "slack"
) -> Response:
    return await _render(request, space, {"kind": kind, "id": None}, FormState())


@router.post("/new")
async def add_channel(request: Request, space: PageNotify, kind: Annotated[ChannelKind, Query()] = "slack") -> Response:
    values = await read_form(request)
    try:
        body = _validate(ChannelIn, {"kind": kind, **_body(kind, values, {})})
        with errors_at():
            async with space.transaction() as tx:
                row = await create_channel(tx, space.id, body, request.app.state.secrets)
    except FormInvalid as error:
        return await _render(request, space, {"kind": kind, "id": None}, FormState(values, error.errors))
    return redirect(f"/spaces/{space.slug}/notifications/channels/{row['id']}", "channel_saved")


@router.get("/{channel_id}")
async def show_channel(request: Request, space: PageView, channel_id: UUID) -> Response:
    async with space.transaction() as tx:
        row = await get_channel(tx, space.id, channel_id)
    return await _render(request, space, to_jsonable(row), FormState())


@router.post("/{channel_id}")
async def save_channel(request: Request, space: PageNotify, channel_id: UUID) -> Response:
    values = await read_form(request)
    async with space.transaction() as tx:
        row = to_jsonable(await get_channel(tx, space.id, channel_id))
    try:
        body = _validate(ChannelUpdate, _body(row["kind"], values, row["config"]))
        with errors_at():
            async with space.transaction() as tx:
                await change_channel(tx, space.id, channel_id, body, request.app.state.secrets)
    except FormInvalid as error:
        return await _render(request, space, row, FormState(values, error.errors))
    return redirect(f"/spaces/{space.slug}/notifications/channels/{channel_id}", "channel_saved")


@router.post("/{channel_id}/test")
async def send_test(request: Request, space: PageNotify, channel_id: UUID) -> Response:
    result = await send_test_message(request.app.state.delivery, space, channel_id)
    async with space.transaction() as tx:
        row = await get_channel(tx, space.id, channel_id)
    return await _render(request, space, to_jsonable(row), FormState(), to_jsonable(result))


@router.post("/{channel_id}/delete")
async def remove_channel(
    request: Request,
    space: PageNotify,
    channel_id: UUID,
    confirmed: Confirmed = False,  # noqa: FBT002 - a form field
) -> Response:
    async with space.transaction() as tx:
        row = await get_channel(tx, space.id, channel_id)
        if confirmed:
            await delete_channel(tx, space.id, channel_id)
    if not confirmed:
        return render_confirmation(
            request, await layout_context(space), title=f"Delete the channel “{row['name']}”?",
            consequence="Its messages are deleted with it, and rules lose it.", action="Delete",
            back=f"/spaces/{space.slug}/notifications/channels/{channel_id}",
        )  # fmt: skip
    return redirect(f"/spaces/{space.slug}/notifications", "channel_deleted")


def _body(kind: str, values: dict[str, str], config: dict[str, Any]) -> dict[str, Any]:
    """A form without any secret leaves the stored one as it is."""
    parts: dict[str, dict[str, Any]] = {"config": {**config}, "secret": {}}
    for name, _, _ in FIELDS[kind]:
        place, _, key = name.partition(".")
        text = values.get(name, "").strip()
        if key == "to":
            parts[place][key] = [address.strip() for address in text.split(",") if address.strip()]
        elif text:
            parts[place][key] = text
        else:
            parts[place].pop(key, None)
    per_hour = values.get("max_per_hour", "").strip()
    return {
        "name": values.get("name", "").strip(),
        "config": parts["config"],
        "secret": parts["secret"] or None,
        "team_id": values.get("team_id") or None,
        "is_active": values.get("is_active") == "true",
        "max_per_hour": int(per_hour) if is_number(per_hour) else per_hour,
    }


def _validate(model: Any, values: dict[str, Any]) -> Any:  # noqa: ANN401 - a model
    """Raises FormInvalid."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise FormInvalid(field_errors(error)) from None


async def _render(
    request: Request, space: Space, channel: dict[str, Any], form: FormState, result: object = None
) -> Response:
    async with space.transaction() as tx:
        (teams,) = await tx.fetch_batch(team_options(space))
    return render(
        request, "channel.html", status_code=form.status_code, **await layout_context(space), channel=channel,
        form=form, fields=FIELDS[channel["kind"]], label=KINDS[channel["kind"]].label, teams=to_jsonable(teams),
        result=result, kinds={name: kind.label for name, kind in KINDS.items()},
    )  # fmt: skip
