"""Users of the installation, for superadmins: list, create, deactivate, sign-in links."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from pydantic import AfterValidator, BaseModel

from windsock.auth.authenticator import Caller
from windsock.auth.permissions import PageSuperadmin
from windsock.auth.sessions import LINK_MINUTES, create_login_link
from windsock.db.database import Actor, Database, Row, Transaction
from windsock.errors import Conflict, UserNotFound
from windsock.http.pagination import FIRST_PAGE, PageParams, PageQuery100
from windsock.http.validation import Name, StorableText
from windsock.pipelines.filters import escape_like
from windsock.spaces.store import QUERIES, create_user, expect_row, require_another_superadmin, update_user
from windsock.web.forms import (
    Confirmed,
    FormInvalid,
    FormState,
    check_email,
    errors_at,
    read_form,
    render_confirmation,
    validate_form,
)
from windsock.web.layout import account_context
from windsock.web.shown_once import clear_secret, read_secret, redirect_with_secret
from windsock.web.templates import redirect, redirect_past_end, render, to_jsonable

router = APIRouter(include_in_schema=False, prefix="/users")


class NewUserForm(BaseModel):
    email: Annotated[str, AfterValidator(check_email)]
    name: Name
    is_superadmin: bool = False


class UserForm(BaseModel):
    name: Name
    is_superadmin: bool = False


@router.get("")
async def show_users(
    request: Request,
    caller: PageSuperadmin,
    paging: PageQuery100,
    q: Annotated[StorableText, Query(max_length=300)] = "",
) -> Response:
    return await _render_users(request, caller, FormState(), q.strip(), paging)


@router.post("")
async def make_user(request: Request, caller: PageSuperadmin) -> Response:
    values = await read_form(request)
    try:
        body = validate_form(NewUserForm, values)
        with errors_at("email"):
            async with caller.transaction() as tx:
                row = await create_user(tx, email=body.email, name=body.name, is_superadmin=body.is_superadmin)
    except FormInvalid as error:
        return await _render_users(request, caller, FormState(values, error.errors, "new"))
    return redirect(f"/users/{row['id']}", "user_created")


@router.get("/{user_id}")
async def show_user(request: Request, caller: PageSuperadmin, user_id: UUID) -> Response:
    """A sign-in link that was just created is shown once."""
    return await _render_user(request, caller, user_id, FormState())


@router.post("/{user_id}")
async def change_user(request: Request, caller: PageSuperadmin, user_id: UUID) -> Response:
    values = await read_form(request)
    try:
        body = validate_form(UserForm, values)
        with errors_at("is_superadmin"):
            async with caller.transaction() as tx:
                await update_user(tx, user_id, name=body.name, is_superadmin=body.is_superadmin)
    except FormInvalid as error:
        return await _render_user(request, caller, user_id, FormState(values, error.errors, "user"))
    is_still_allowed = body.is_superadmin or user_id != caller.id
    return redirect(f"/users/{user_id}" if is_still_allowed else "/", "user_changed")


@router.post("/{user_id}/deactivate")
async def deactivate_user(
    request: Request,
    caller: PageSuperadmin,
    user_id: UUID,
    confirmed: Confirmed = False,  # noqa: FBT002 - a form field
) -> Response:
    async with caller.transaction() as tx:
        if confirmed:
            await update_user(tx, user_id, is_active=False)
            return redirect(f"/users/{user_id}", "user_deactivated")
        user = await _find_user(tx, user_id)
        await require_another_superadmin(tx, user_id)
    is_self = user_id == caller.id
    return render_confirmation(
        request, await account_context(request, caller),
        title="Deactivate yourself?" if is_self else f"Deactivate {user['name']}?",
        consequence=("You are" if is_self else f"{user['name']} is") + " signed out everywhere, and all API keys of "
        "this user are revoked for good. Memberships, comments and audit log stay.",
        action="Deactivate", back=f"/users/{user_id}",
    )  # fmt: skip


@router.post("/{user_id}/reactivate")
async def reactivate_user(caller: PageSuperadmin, user_id: UUID) -> Response:
    async with caller.transaction() as tx:
        await update_user(tx, user_id, is_active=True)
    return redirect(f"/users/{user_id}", "user_reactivated")


@router.post("/{user_id}/sign-in-link")
async def make_link(request: Request, caller: PageSuperadmin, user_id: UUID) -> Response:
    async with caller.transaction() as tx:
        user = await _find_user(tx, user_id)
        if not user["is_active"]:
            raise Conflict(f"{user['name']} is deactivated. Reactivate this user first.")
        token = await create_login_link(tx, user_id)
    link = f"{request.base_url}sign-in/link?token={token}"
    return redirect_with_secret(request, caller, f"/users/{user_id}", link)


async def _find_user(tx: Transaction, user_id: UUID) -> Row:
    row = await tx.fetch_one(QUERIES["get_user"], user_id=user_id)
    if row is None:
        raise UserNotFound
    return row


async def _render_users(
    request: Request, caller: Caller, form: FormState, q: str = "", paging: PageParams = FIRST_PAGE
) -> Response:
    pattern = f"%{escape_like(q)}%" if q else None
    async with caller.transaction() as tx:
        rows = await tx.fetch_all(QUERIES["search_users"], pattern=pattern, limit=paging.size, offset=paging.offset)
        total = expect_row(await tx.fetch_one(QUERIES["count_searched_users"], pattern=pattern))["total"]
    pages = paging.last_page(total)
    if past_end := redirect_past_end(request, paging.page, pages):
        return past_end
    return render(
        request, "users.html", status_code=form.status_code, **await account_context(request, caller),
        users=to_jsonable(rows), form=form, q=q, total=total, number=paging.page, pages=pages,
    )  # fmt: skip


async def _render_user(request: Request, caller: Caller, user_id: UUID, form: FormState) -> Response:
    async with caller.transaction() as tx:
        user = await _find_user(tx, user_id)
    db: Database = request.app.state.db
    async with db.user_transaction(Actor(user_id, None, None)) as tx:  # shows the memberships of that user
        memberships = await tx.fetch_all(QUERIES["my_spaces"], user_id=user_id, is_superadmin=False)
    response = render(
        request, "user.html", status_code=form.status_code, **await account_context(request, caller),
        user=to_jsonable(user), memberships=to_jsonable(memberships), form=form,
        link=read_secret(request, caller), minutes=LINK_MINUTES,
    )  # fmt: skip
    clear_secret(request, response)
    return response
