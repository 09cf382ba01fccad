"""The account of the signed-in user: API keys and sessions."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Form, Request, Response

from windsock.auth.authenticator import Caller
from windsock.auth.permissions import IsSignedIn
from windsock.auth.sessions import list_sessions, revoke_other_sessions, revoke_session
from windsock.errors import BadRequest, NotFound
from windsock.http.validation import StorableText
from windsock.spaces.store import QUERIES, create_key
from windsock.web.layout import list_visible_spaces
from windsock.web.templates import redirect, render, to_jsonable

router = APIRouter(include_in_schema=False)

MOST, LONGEST_NAME, LONGEST = 500, 200, 3650


@router.get("/api-keys")
async def show_keys(request: Request, caller: IsSignedIn) -> Response:
    return await _page(request, caller)


@router.post("/api-keys")
async def make_key(
    request: Request, caller: IsSignedIn, name: Annotated[StorableText, Form()], days: Annotated[str, Form()] = ""
) -> Response:
    """Shown on the page that answers, and never again."""
    lasts = int(days) if days.isdecimal() and days.isascii() and len(days) < 5 else None  # noqa: PLR2004 - 9,999
    if (days and lasts is None) or (lasts is not None and not 1 <= lasts <= LONGEST):
        raise BadRequest(f"A key lasts 1 to {LONGEST} days, or without end if you leave it empty.")
    if not 1 <= len(name.strip()) <= LONGEST_NAME:
        raise BadRequest(f"The name of a key has 1 to {LONGEST_NAME} characters.")
    async with caller.transaction() as tx:
        created = await create_key(tx, caller.id, name=name.strip(), expires_in_days=lasts)
    return await _page(request, caller, full_key=created["full_key"])


@router.post("/api-keys/{key_id}/revoke")
async def revoke_key(caller: IsSignedIn, key_id: UUID) -> Response:
    """At once; sessions that began with it end, too."""
    async with caller.transaction() as tx:
        if not await tx.execute(QUERIES["revoke_key"], key_id=key_id, user_id=caller.id):
            raise NotFound("API key of yours")
    return redirect("/api-keys")


@router.get("/sessions")
async def show_sessions(request: Request, caller: IsSignedIn) -> Response:
    async with caller.transaction() as tx:
        rows = await list_sessions(tx, caller.id)
    return render(request, "sessions.html", caller=caller, space=None, sessions=to_jsonable(rows))


@router.post("/sessions/{session_id}/end")
async def end_one_session(caller: IsSignedIn, session_id: UUID) -> Response:
    async with caller.transaction() as tx:
        if not await revoke_session(tx, caller.id, session_id):
            raise NotFound("session of yours")
    return redirect("/sessions")


@router.post("/sessions/end-others")
async def end_all_others(caller: IsSignedIn) -> Response:
    if caller.session_id is not None:
        async with caller.transaction() as tx:
            await revoke_other_sessions(tx, caller.id, caller.session_id)
    return redirect("/sessions")


async def _page(request: Request, caller: Caller, full_key: str | None = None) -> Response:
    async with caller.transaction() as tx:
        rows = await tx.fetch_all(QUERIES["list_keys"], user_id=caller.id, limit=MOST, offset=0)
    spaces = await list_visible_spaces(caller)
    return render(
        request, "api_keys.html", caller=caller, space=None, keys=to_jsonable(rows), full_key=full_key,
        slug=spaces[0]["slug"] if spaces else "my-space",
    )  # fmt: skip
