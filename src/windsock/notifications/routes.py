"""Channels and rules of a space, its messages, and the personal settings of the caller."""

from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from windsock.auth.permissions import CanNotify, CanView, CurrentCaller
from windsock.http.pagination import LIST_HEADERS, PageQuery20
from windsock.http.responses import json_response, page_response
from windsock.http.validation import AwareDatetime
from windsock.incidents.models import IncidentKind
from windsock.notifications.channel_test import send_test_message
from windsock.notifications.models import (
    Channel,
    ChannelIn,
    ChannelTest,
    ChannelUpdate,
    Message,
    MessageState,
    PersonalSettings,
    PersonalSettingsIn,
    PipelineRecipients,
)
from windsock.notifications.preview import list_recipients, preview_rule
from windsock.notifications.rule_models import Preview, Rule, RuleIn, RuleUpdate
from windsock.notifications.store import (
    change_channel,
    change_rule,
    create_channel,
    create_rule,
    delete_channel,
    delete_rule,
    get_channel,
    get_message,
    get_personal_settings,
    get_rule,
    list_channels,
    list_messages,
    list_rules,
    put_personal_settings,
    resend_message,
)

router = APIRouter(tags=["notifications"])

LIST: dict[int | str, dict[str, Any]] = {200: {"headers": LIST_HEADERS}}
CHANNELS, RULES = "/spaces/{slug}/notifications/channels", "/spaces/{slug}/notifications/rules"
MESSAGES = "/spaces/{slug}/notifications/messages"


@router.get(CHANNELS, response_model=list[Channel], responses=LIST, name="list_channels", summary="List channels")
async def list_all_channels(request: Request, space: CanView, paging: PageQuery20) -> Response:
    """By name, each with its health."""
    async with space.transaction() as tx:
        rows, total = await list_channels(tx, space.id, paging)
    return page_response(request, rows, total, paging)


@router.post(CHANNELS, response_model=Channel, status_code=201, name="create_channel", summary="Create a channel")
async def make_channel(request: Request, space: CanNotify, body: ChannelIn) -> Response:
    """`config` and `secret` must fit the kind; 422 says what does not."""
    async with space.transaction() as tx:
        row = await create_channel(tx, space.id, body, request.app.state.secrets)
    return json_response(request, row, status=201)


@router.get(CHANNELS + "/{channel_id}", response_model=Channel, name="get_channel", summary="One channel")
async def get_one_channel(request: Request, space: CanView, channel_id: UUID) -> Response:
    async with space.transaction() as tx:
        row = await get_channel(tx, space.id, channel_id)
    return json_response(request, row)


@router.patch(CHANNELS + "/{channel_id}", response_model=Channel, name="update_channel", summary="Change a channel")
async def patch_channel(request: Request, space: CanNotify, channel_id: UUID, body: ChannelUpdate) -> Response:
    """A channel that was disabled is enabled again."""
    async with space.transaction() as tx:
        row = await change_channel(tx, space.id, channel_id, body, request.app.state.secrets)
    return json_response(request, row)


@router.delete(CHANNELS + "/{channel_id}", status_code=204, name="delete_channel", summary="Delete a channel")
async def remove_channel(space: CanNotify, channel_id: UUID) -> Response:
    """With its messages; rules lose it."""
    async with space.transaction() as tx:
        await delete_channel(tx, space.id, channel_id)
    return Response(status_code=204)


@router.post(
    CHANNELS + "/{channel_id}/test", response_model=ChannelTest, name="test_channel", summary="Send a test message"
)
async def send_test(request: Request, space: CanNotify, channel_id: UUID) -> Response:
    """Sends a real message. 200 whatever comes out: `success` tells, and `detail` what the receiver said."""
    result = await send_test_message(request.app.state.delivery, space, channel_id)
    return json_response(request, result)


@router.get(RULES, response_model=list[Rule], responses=LIST, name="list_rules", summary="List rules")
async def list_all_rules(request: Request, space: CanView, paging: PageQuery20) -> Response:
    async with space.transaction() as tx:
        rows, total = await list_rules(tx, space.id, paging)
    return page_response(request, rows, total, paging)


@router.post(RULES, response_model=Rule, status_code=201, name="create_rule", summary="Create a rule")
async def make_rule(request: Request, space: CanNotify, body: RuleIn) -> Response:
    async with space.transaction() as tx:
        row = await create_rule(tx, space.id, body)
    return json_response(request, row, status=201)


@router.post(RULES + "/preview", response_model=Preview, name="preview_rule", summary="What a rule would have sent")
async def preview(request: Request, space: CanView, body: RuleIn) -> Response:
    """The last 30 days, from the stored incidents. Nothing is sent or written."""
    async with space.transaction() as tx:
        result = await preview_rule(tx, space.id, body, has_mail=request.app.state.delivery.has_mail)
    return json_response(request, result)


@router.get(RULES + "/{rule_id}", response_model=Rule, name="get_rule", summary="One rule")
async def get_one_rule(request: Request, space: CanView, rule_id: UUID) -> Response:
    async with space.transaction() as tx:
        row = await get_rule(tx, space.id, rule_id)
    return json_response(request, row)


@router.patch(RULES + "/{rule_id}", response_model=Rule, name="update_rule", summary="Change a rule")
async def patch_rule(request: Request, space: CanNotify, rule_id: UUID, body: RuleUpdate) -> Response:
    async with space.transaction() as tx:
        row = await change_rule(tx, space.id, rule_id, body)
    return json_response(request, row)


@router.delete(RULES + "/{rule_id}", status_code=204, name="delete_rule", summary="Delete a rule")
async def remove_rule(space: CanNotify, rule_id: UUID) -> Response:
    async with space.transaction() as tx:
        await delete_rule(tx, space.id, rule_id)
    return Response(status_code=204)


@router.get(
    MESSAGES, response_model=list[Message], responses=LIST, name="list_messages", summary="Messages, newest first"
)
async def list_all_messages(
    request: Request,
    space: CanView,
    paging: PageQuery20,
    channel_id: Annotated[list[UUID] | None, Query(description="Several mean any of them.")] = None,
    pipeline_id: Annotated[list[UUID] | None, Query(description="About one of its incidents.")] = None,
    status: Annotated[list[MessageState] | None, Query(description="Several mean any of them.")] = None,
    created_from: Annotated[AwareDatetime | None, Query(description="Inclusive.")] = None,
    created_to: Annotated[AwareDatetime | None, Query(description="Exclusive.")] = None,
) -> Response:
    """Messages, newest first, with the reason for each and its attempts with the responses of the receiver."""
    which = {
        "space_id": space.id, "channel_id": channel_id, "pipeline_id": pipeline_id, "status": status,
        "created_from": created_from, "created_to": created_to,
    }  # fmt: skip
    async with space.transaction() as tx:
        rows, total = await list_messages(tx, which, paging)
    return page_response(request, rows, total, paging)


@router.post(
    MESSAGES + "/{message_id}/resend",
    response_model=Message,
    status_code=202,
    name="resend_message",
    summary="Send a message again",
)
async def resend(request: Request, space: CanNotify, message_id: UUID) -> Response:
    """Queues a copy. 409 for one that is still being sent."""
    async with space.transaction() as tx:
        new_id = await resend_message(tx, space.id, message_id)
        row = await get_message(tx, space.id, new_id)
    request.app.state.notification_jobs.wake()
    return json_response(request, row, status=202)


@router.get(
    "/spaces/{slug}/orchestration/pipelines/{pipeline_id}/recipients",
    response_model=PipelineRecipients,
    name="get_recipients",
    summary="Who would be told",
)
async def list_pipeline_recipients(
    request: Request,
    space: CanView,
    pipeline_id: UUID,
    kind: Annotated[IncidentKind, Query(description="Of an incident that opens now.")] = "failed",
) -> Response:
    """By every rule, whom it would tell if an incident of this pipeline opened now, and whom not."""
    now = datetime.now(UTC)
    async with space.transaction() as tx:
        rows = await list_recipients(tx, space.id, pipeline_id, kind, now, has_mail=request.app.state.delivery.has_mail)
    return json_response(request, {"pipeline_id": pipeline_id, "kind": kind, "recipients": rows})


@router.get(
    "/users/me/notifications",
    response_model=PersonalSettings,
    name="get_my_notifications",
    summary="Personal settings of the caller",
)
async def get_own_settings(request: Request, caller: CurrentCaller) -> Response:
    async with caller.transaction() as tx:
        row = await get_personal_settings(tx, caller.id)
    return json_response(request, row)


@router.put(
    "/users/me/notifications",
    response_model=PersonalSettings,
    name="update_my_notifications",
    summary="Change the personal settings of the caller",
)
async def put_own_settings(request: Request, caller: CurrentCaller, body: PersonalSettingsIn) -> Response:
    """Of e-mail to the caller, in all spaces. What is not sent gets its default."""
    async with caller.transaction() as tx:
        row = await put_personal_settings(tx, caller.id, body)
    return json_response(request, row)
