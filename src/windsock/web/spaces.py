"""All spaces of the installation, for superadmins: list, create."""

from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import AfterValidator, BaseModel

from windsock.auth.authenticator import SLUG, Caller
from windsock.auth.permissions import PageSuperadmin
from windsock.http.pagination import FIRST_PAGE, PageParams, PageQuery100
from windsock.http.validation import Name
from windsock.spaces.models import SpaceIn
from windsock.spaces.store import QUERIES, create_own_space, expect_row
from windsock.web.forms import FormInvalid, FormState, errors_at, read_form, validate_form
from windsock.web.layout import account_context
from windsock.web.templates import redirect, redirect_past_end, render, to_jsonable

router = APIRouter(include_in_schema=False, prefix="/spaces")


def check_slug(text: str) -> str:
    if not SLUG.fullmatch(text):
        raise ValueError("use 1 to 63 lower-case letters, digits and hyphens, with no hyphen at either end")
    return text


class NewSpaceForm(BaseModel):
    name: Name
    slug: Annotated[str, AfterValidator(check_slug)]


@router.get("")
async def show_spaces(request: Request, caller: PageSuperadmin, paging: PageQuery100) -> Response:
    return await _render(request, caller, FormState(), paging)


@router.post("")
async def create_space(request: Request, caller: PageSuperadmin) -> Response:
    values = await read_form(request)
    try:
        body = validate_form(NewSpaceForm, values)
        with errors_at("slug"):
            await create_own_space(caller, SpaceIn(slug=body.slug, name=body.name))
    except FormInvalid as error:
        return await _render(request, caller, FormState(values, error.errors, "new"))
    return redirect(f"/spaces/{body.slug}/members", "space_created")


async def _render(request: Request, caller: Caller, form: FormState, paging: PageParams = FIRST_PAGE) -> Response:
    everyone = {"user_id": caller.id, "is_superadmin": True}
    async with caller.transaction() as tx:
        rows = await tx.fetch_all(QUERIES["list_spaces"], **everyone, limit=paging.size, offset=paging.offset)
        total = expect_row(await tx.fetch_one(QUERIES["count_spaces"], **everyone))["total"]
    pages = paging.last_page(total)
    if past_end := redirect_past_end(request, paging.page, pages):
        return past_end
    return render(
        request, "spaces.html", status_code=form.status_code, **await account_context(request, caller),
        rows=to_jsonable(rows), form=form, total=total, number=paging.page, pages=pages,
    )  # fmt: skip
