"""Login with an API key or a one-time link, and logout."""

from typing import Annotated
from urllib.parse import urlencode, urlsplit
from uuid import UUID

from fastapi import APIRouter, Depends, Form, Query, Request, Response

from windsock.auth.authenticator import COOKIE
from windsock.auth.authorizer import Authorizer
from windsock.auth.csrf import check_same_origin
from windsock.auth.keys import hash_token
from windsock.auth.permissions import IsSignedIn
from windsock.auth.sessions import (
    SESSION_DAYS,
    consume_login_link,
    create_session,
    find_login_link,
    revoke_session,
)
from windsock.db.database import Database
from windsock.web.forms import FormState
from windsock.web.layout import SPACE_COOKIE
from windsock.web.templates import HEADERS, form_page, redirect, render

router = APIRouter(include_in_schema=False)

OWN_SITE = [Depends(check_same_origin)]
Secret = Annotated[str, Form(max_length=500)]
Target = Annotated[str, Form(max_length=4000, alias="next")]


@router.get("/sign-in")
async def show_sign_in(
    request: Request, target: Annotated[str, Query(max_length=4000, alias="next")] = "/"
) -> Response:
    return render(request, "sign_in.html", next=_safe_next_url(target), form=FormState())


@router.post("/sign-in", dependencies=OWN_SITE)
async def sign_in(request: Request, api_key: Secret = "", target: Target = "/") -> Response:
    authorizer: Authorizer = request.app.state.authorizer
    row = await authorizer.authorize(hash_token(api_key.strip()), None)
    if row is None:
        # The key is not shown again: it is a credential.
        form = FormState(errors={"api_key": "This API key is unknown, expired or revoked."})
        return render(request, "sign_in.html", status_code=401, next=_safe_next_url(target), form=form)
    return await _start_session(request, row["user_id"], _safe_next_url(target), key_id=row["key_id"])


@router.get("/sign-in/link")
async def show_link(request: Request, token: Annotated[str, Query(max_length=500)] = "") -> Response:
    """It asks first: whatever looks at links on their way must not use them up."""
    db: Database = request.app.state.db
    async with db.transaction() as tx:
        who = await find_login_link(tx, token)
    return render(request, "link.html", status_code=200 if who else 401, who=who, token=token)


@router.post("/sign-in/link", dependencies=OWN_SITE)
async def sign_in_by_link(request: Request, token: Secret = "") -> Response:
    db: Database = request.app.state.db
    async with db.transaction() as tx:
        user_id = await consume_login_link(tx, token)
    if user_id is None:
        return render(request, "link.html", status_code=401, who=None, token="")
    return await _start_session(request, user_id, "/", key_id=None)


@router.post("/sign-out")
async def sign_out(caller: IsSignedIn) -> Response:
    if caller.session_id is not None:
        async with caller.transaction() as tx:
            await revoke_session(tx, caller.id, caller.session_id)
    response = redirect("/sign-in", "signed_out")
    for name in (COOKIE, SPACE_COOKIE):
        response.delete_cookie(name, path="/")
    return response


def redirect_to_login(request: Request) -> Response:
    """Redirect to the login page and back afterwards; htmx is sent a full redirect.

    The way back from a refresh or a form leads to the page that sent it.
    """
    is_htmx = request.headers.get("hx-request") == "true"
    target = form_page(request)
    if request.method == "GET" and not is_htmx:
        target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    address = f"/sign-in?{urlencode({'next': target})}" if target and target != "/" else "/sign-in"
    if is_htmx:
        return Response(status_code=401, headers={**HEADERS, "HX-Redirect": address})
    return redirect(address)


async def _start_session(request: Request, user_id: UUID, target: str, *, key_id: UUID | None) -> Response:
    db: Database = request.app.state.db
    async with db.transaction() as tx:
        token = await create_session(tx, user_id, request.headers.get("user-agent", ""), key_id=key_id)
    response = redirect(target)
    response.set_cookie(
        COOKIE,
        token,
        max_age=SESSION_DAYS * 86_400,
        path="/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="lax",
    )
    return response


def _safe_next_url(target: str) -> str:
    """A page of ours; whatever leads elsewhere is the first page. Browsers take a backslash for a slash."""
    try:
        parts = urlsplit(target.replace("\\", "/"))
    except ValueError:  # a host in brackets that is none, or with characters that look like others
        return "/"
    is_own = not parts.scheme and not parts.netloc and target.startswith("/") and not target.startswith(("//", "/\\"))
    return target if is_own and target.isprintable() else "/"
