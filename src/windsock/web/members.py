"""Members of a space: list, add, change the role, remove."""

from typing import Annotated, Any, get_args
from uuid import UUID

from fastapi import APIRouter, Request, Response
from pydantic import AfterValidator, BaseModel

from windsock.auth.authenticator import Space
from windsock.auth.permissions import PageAdminister, PageView
from windsock.db.database import Row, Transaction
from windsock.errors import Conflict
from windsock.http.pagination import FIRST_PAGE, PageParams, PageQuery100
from windsock.http.validation import Name
from windsock.spaces.models import Role
from windsock.spaces.store import (
    QUERIES,
    add_member,
    create_user,
    delete_membership,
    expect_row,
    get_member,
    require_another_admin,
    set_role,
)
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
from windsock.web.layout import layout_context
from windsock.web.templates import redirect, redirect_past_end, render, to_jsonable

router = APIRouter(include_in_schema=False, prefix="/spaces/{slug}/members")


class MemberForm(BaseModel):
    email: Annotated[str, AfterValidator(check_email)]
    name: Name | None = None
    role: Role


class RoleForm(BaseModel):
    role: Role


@router.get("")
async def show_members(request: Request, space: PageView, paging: PageQuery100) -> Response:
    return await _render(request, space, FormState(), paging)


@router.post("")
async def create_member(request: Request, space: PageAdminister) -> Response:
    """Add a user by e-mail address; a superadmin creates the user by adding a name."""
    values = await read_form(request)
    try:
        body = validate_form(MemberForm, values)
        async with space.transaction() as tx:
            user = await _find_or_create_user(tx, space, body)
            with errors_at("email"):
                await add_member(tx, space, user, body.role)
    except FormInvalid as error:
        return await _render(request, space, FormState(values, error.errors, "member"))
    return redirect(f"/spaces/{space.slug}/members", "member_added")


@router.post("/{user_id}")
async def change_role(request: Request, space: PageAdminister, user_id: UUID) -> Response:
    values = await read_form(request)
    try:
        body = validate_form(RoleForm, values)
        async with space.transaction() as tx:
            await get_member(tx, space, user_id)
            with errors_at("role"):
                await set_role(tx, space, user_id, body.role)
    except FormInvalid as error:
        return await _render(request, space, FormState(values, error.errors, f"role-{user_id}"))
    return redirect(f"/spaces/{space.slug}/members", "role_changed")


@router.post("/{user_id}/remove")
async def delete_member(
    request: Request,
    space: PageAdminister,
    user_id: UUID,
    confirmed: Confirmed = False,  # noqa: FBT002 - a form field
) -> Response:
    async with space.transaction() as tx:
        member = await get_member(tx, space, user_id)
        if confirmed:
            await delete_membership(tx, space, user_id)
        else:
            await require_another_admin(tx, space.id, user_id)
    if not confirmed:
        is_self = user_id == space.caller.id
        return render_confirmation(
            request, await layout_context(space),
            title="Leave this space?" if is_self else f"Remove {member['name']} from this space?",
            consequence=("You lose" if is_self else f"{member['name']} loses") + " access to this space at once. "
            "Comments and entries of the audit log stay.",
            action="Leave" if is_self else "Remove", back=f"/spaces/{space.slug}/members",
        )  # fmt: skip
    has_left = user_id == space.caller.id and not space.caller.is_superadmin
    return redirect("/" if has_left else f"/spaces/{space.slug}/members", "member_removed")


async def _find_or_create_user(tx: Transaction, space: Space, body: MemberForm) -> Row:
    found = await tx.fetch_one(QUERIES["find_user"], email=body.email)
    if found is not None:
        return found
    if not space.caller.is_superadmin:
        raise FormInvalid({"email": "There is no user with this address. A superadmin can create one."})
    if body.name is None:
        raise FormInvalid({"name": "There is no user with this address yet. Fill in a name to create one."})
    with errors_at("email"):
        return await create_user(tx, email=body.email, name=body.name, is_superadmin=False)


async def _render(request: Request, space: Space, form: FormState, paging: PageParams = FIRST_PAGE) -> Response:
    async with space.transaction() as tx:
        rows = await tx.fetch_all(QUERIES["list_members"], space_id=space.id, limit=paging.size, offset=paging.offset)
        total = expect_row(await tx.fetch_one(QUERIES["count_members"], space_id=space.id))["total"]
    pages = paging.last_page(total)
    if past_end := redirect_past_end(request, paging.page, pages):
        return past_end
    members: list[dict[str, Any]] = to_jsonable(rows)
    if form.id.startswith("role-") and not any(form.id == f"role-{member['user_id']}" for member in members):
        raise Conflict(" ".join(form.errors.values()))  # on a page of the list that is not shown now
    return render(
        request, "members.html", status_code=form.status_code, **await layout_context(space), members=members,
        roles=get_args(Role.__value__), form=form, total=total, number=paging.page, pages=pages,
    )  # fmt: skip
