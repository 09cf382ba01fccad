"""The account of the signed-in user: API keys and sessions."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from windsock.auth.authenticator import Caller
from windsock.auth.permissions import IsSignedIn
from windsock.auth.sessions import list_sessions, revoke_other_sessions, revoke_session
from windsock.errors import NotFound
from windsock.http.validation import Name
from windsock.spaces.store import QUERIES, create_key
from windsock.web.forms import Confirmed, FormInvalid, FormState, read_form, render_confirmation, validate_form
from windsock.web.layout import account_context
from windsock.web.shown_once import clear_secret, read_secret, redirect_with_secret
from windsock.web.templates import redirect, render, to_jsonable

router = APIRouter(include_in_schema=False)

MAX_KEYS = 500


class KeyForm(BaseModel):
    name: Name
    days: Annotated[int | None, Field(ge=1, le=3650)] = None


@router.get("/api-keys")
async def show_keys(request: Request, caller: IsSignedIn) -> Response:
    """A key that was just created is shown once: reloading the page neither shows it nor creates another one."""
    response = await _render_keys(request, caller, FormState(), full_key=read_secret(request, caller))
    clear_secret(request, response)
    return response


@router.post("/api-keys")
async def make_key(request: Request, caller: IsSignedIn) -> Response:
    values = await read_form(request)
    try:
        body = validate_form(KeyForm, values)
    except FormInvalid as error:
        return await _render_keys(request, caller, FormState(values, error.errors))
    async with caller.transaction() as tx:
        created = await create_key(tx, caller.id, name=body.name, expires_in_days=body.days)
    return redirect_with_secret(request, caller, "/api-keys", created["full_key"])


@router.post("/api-keys/{key_id}/revoke")
async def revoke_key(request: Request, caller: IsSignedIn, key_id: UUID, confirmed: Confirmed = False) -> Response:  # noqa: FBT002 - a form field
    """Sessions that began with the key end with it."""
    async with caller.transaction() as tx:
        rows = await tx.fetch_all(QUERIES["list_keys"], user_id=caller.id, limit=MAX_KEYS, offset=0)
        key = next((row for row in rows if row["id"] == key_id), None)
        if key is None:
            raise NotFound("API key of yours")
        if confirmed:
            await tx.execute(QUERIES["revoke_key"], key_id=key_id, user_id=caller.id)
    if not confirmed:
        return render_confirmation(
            request, await account_context(request, caller), title=f"Revoke the API key “{key['name']}”?",
            consequence="Programs that use it stop working at once. Browsers that signed in with it are signed out.",
            action="Revoke", back="/api-keys",
        )  # fmt: skip
    return redirect("/api-keys", "key_revoked")


@router.get("/sessions")
async def show_sessions(request: Request, caller: IsSignedIn) -> Response:
    async with caller.transaction() as tx:
        rows = await list_sessions(tx, caller.id)
    return render(request, "sessions.html", **await account_context(request, caller), sessions=to_jsonable(rows))


@router.post("/sessions/{session_id}/end")
async def end_one_session(
    request: Request,
    caller: IsSignedIn,
    session_id: UUID,
    confirmed: Confirmed = False,  # noqa: FBT002 - a form field
) -> Response:
    async with caller.transaction() as tx:
        session = next((row for row in await list_sessions(tx, caller.id) if row["id"] == session_id), None)
        if session is None:
            raise NotFound("session of yours")
        if confirmed:
            await revoke_session(tx, caller.id, session_id)
    if not confirmed:
        is_this = session_id == caller.session_id
        return render_confirmation(
            request, await account_context(request, caller),
            title="Sign out this browser?" if is_this else f"Sign out “{session['user_agent'] or 'unknown browser'}”?",
            consequence="You have to sign in again here." if is_this else "Whoever uses it has to sign in again.",
            action="Sign out", back="/sessions",
        )  # fmt: skip
    return redirect("/sessions", "session_ended")


@router.post("/sessions/end-others")
async def end_all_others(request: Request, caller: IsSignedIn, confirmed: Confirmed = False) -> Response:  # noqa: FBT002 - a form field
    if not confirmed:
        return render_confirmation(
            request, await account_context(request, caller), title="Sign out all other browsers?",
            consequence="Only this browser stays signed in. API keys keep working.", action="Sign out",
            back="/sessions",
        )  # fmt: skip
    if caller.session_id is not None:
        async with caller.transaction() as tx:
            await revoke_other_sessions(tx, caller.id, caller.session_id)
    return redirect("/sessions", "sessions_ended")


async def _render_keys(request: Request, caller: Caller, form: FormState, full_key: str | None = None) -> Response:
    async with caller.transaction() as tx:
        rows = await tx.fetch_all(QUERIES["list_keys"], user_id=caller.id, limit=MAX_KEYS, offset=0)
    context = await account_context(request, caller)
    return render(
        request, "api_keys.html", status_code=form.status_code, **context, keys=to_jsonable(rows), form=form,
        full_key=full_key, slug=context["menu_space"]["slug"] if context["menu_space"] else "my-space",
    )  # fmt: skip
