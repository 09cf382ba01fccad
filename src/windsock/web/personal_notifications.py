"""Personal settings of notifications, and the link in e-mails that unsubscribes (RFC 8058)."""

from uuid import UUID

from fastapi import APIRouter, Request, Response
from pydantic import ValidationError

from windsock.auth.authenticator import Caller
from windsock.auth.permissions import IsSignedIn
from windsock.connectors.encryption import Encryption
from windsock.db.database import Database
from windsock.errors import Conflict, PageNotFound
from windsock.notifications.models import PersonalSettingsIn
from windsock.notifications.store import get_personal_settings, mute_space, put_personal_settings
from windsock.web.forms import FormState, field_errors, read_fields
from windsock.web.layout import account_context
from windsock.web.templates import redirect, render, to_jsonable

router = APIRouter(include_in_schema=False)

MAX_TOKEN = 2_000


@router.get("/notifications")
async def show_settings(request: Request, caller: IsSignedIn) -> Response:
    return await _render(request, caller, FormState())


@router.post("/notifications")
async def save_settings(request: Request, caller: IsSignedIn) -> Response:
    fields = await read_fields(request)
    values = {name: value.strip() for name, value in fields}
    try:
        body = PersonalSettingsIn.model_validate(
            {
                "email_enabled": values.get("email_enabled") == "true",
                "critical_passes": values.get("critical_passes") == "true",
                "muted_space_ids": [value for name, value in fields if name == "muted_space_ids"],
                "time_zone": values.get("time_zone") or "UTC",
                **{name: values.get(name) or None for name in ("quiet_start", "quiet_end", "digest_at")},
            }
        )
    except ValidationError as error:
        return await _render(request, caller, FormState(values, field_errors(error)))
    async with caller.transaction() as tx:
        await put_personal_settings(tx, caller.id, body)
    return redirect("/notifications", "personal_settings_saved")


@router.get("/unsubscribe/{token}")
async def show_unsubscribe(request: Request, token: str) -> Response:
    """It asks first: programs look at the links of e-mails."""
    _read_token(request, token)
    return render(request, "unsubscribe.html", token=token, is_done=False)


@router.post("/unsubscribe/{token}")
async def unsubscribe(request: Request, token: str) -> Response:
    """Without a session: mail programs send it for their users. The link says for whom."""
    user_id, space_id = _read_token(request, token)
    db: Database = request.app.state.db
    async with db.transaction() as tx:
        await mute_space(tx, user_id, space_id)
    return render(request, "unsubscribe.html", token=token, is_done=True)


def _read_token(request: Request, token: str) -> tuple[UUID, UUID]:
    """User and space. Raises PageNotFound for a link that Windsock did not write."""
    secrets: Encryption = request.app.state.secrets
    try:
        values = secrets.decrypt(token[:MAX_TOKEN].encode())
        return UUID(values["unsubscribe"]), UUID(values["space"])
    except (Conflict, KeyError, ValueError):
        raise PageNotFound("This link is not complete. Sign in, and change your notifications there.") from None


async def _render(request: Request, caller: Caller, form: FormState) -> Response:
    async with caller.transaction() as tx:
        settings = await get_personal_settings(tx, caller.id)
    return render(
        request, "personal_notifications.html", status_code=form.status_code, **await account_context(request, caller),
        settings=to_jsonable(settings), form=form,
    )  # fmt: skip
