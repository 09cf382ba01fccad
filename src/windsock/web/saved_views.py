"""Forms with which views of the pipeline list are saved, changed and deleted."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Form, Request, Response

from windsock.auth.authenticator import Space
from windsock.auth.permissions import PageSaveView
from windsock.db.database import Row
from windsock.errors import BadRequest, WindsockError
from windsock.http.validation import StorableText
from windsock.saved_views import store
from windsock.saved_views.models import MAX_NAME, SavedViewIn, SavedViewUpdate, check_query, normalize_query
from windsock.web.forms import WHOLE_FORM, Confirmed, FormState, render_confirmation
from windsock.web.layout import layout_context
from windsock.web.templates import is_htmx_partial, load_page, redirect, render, to_jsonable

router = APIRouter(include_in_schema=False, prefix="/spaces/{slug}/views")

MAX_SHOWN = 500
"""Views on a page."""


def mark_editable(space: Space, views: list[Row]) -> list[dict[str, Any]]:
    """Rows of the list, each with whether the caller may rename and delete it."""
    return [{**view, "is_editable": store.may_edit(space, view)} for view in to_jsonable(views)]


@router.post("")
async def create_view(
    request: Request,
    space: PageSaveView,
    name: Annotated[StorableText, Form()] = "",
    query: Annotated[StorableText, Form()] = "",
    shared: Annotated[bool, Form()] = False,  # noqa: FBT002 - a form field
) -> Response:
    """Save the filters and the order of `query`, a query string of the list."""
    try:
        body = SavedViewIn(name=_check_name(name), query=_check_query(query), is_shared=shared)
        async with space.transaction() as tx:
            await store.create_view(tx, space, body)
    except WindsockError as error:
        return _refuse(request, error)
    return _show_list(request, space, body.query, "view_saved")


@router.post("/{view_id}")
async def update_view(
    request: Request,
    space: PageSaveView,
    view_id: UUID,
    name: Annotated[StorableText, Form()] = "",
    query: Annotated[StorableText, Form()] = "",
    shared: Annotated[bool, Form()] = False,  # noqa: FBT002 - a form field
) -> Response:
    """Rename it, and share it or not. `query`: the list to return to."""
    try:
        async with space.transaction() as tx:
            body = SavedViewUpdate(name=_check_name(name), is_shared=shared)
            await store.change_view(tx, space, view_id, body)
    except WindsockError as error:
        return _refuse(request, error)
    return _show_list(request, space, query, "view_changed")


@router.post("/{view_id}/delete")
async def delete_view(
    request: Request,
    space: PageSaveView,
    view_id: UUID,
    query: Annotated[StorableText, Form()] = "",
    confirmed: Confirmed = False,  # noqa: FBT002 - a form field
) -> Response:
    """Raises NotFound and Forbidden before it asks."""
    async with space.transaction() as tx:
        view = await store.get_editable_view(tx, space, view_id)
        if confirmed:
            await store.delete_view(tx, space, view_id)
    if confirmed:
        return _show_list(request, space, query, "view_deleted")
    return render_confirmation(
        request, await layout_context(space), title=f"Delete the view “{view['name']}”?",
        consequence="It disappears for all members of the space." if view["is_shared"] else "Only you have it.",
        action="Delete", back=_list_address(space, query), fields={"query": query},
    )  # fmt: skip


def _list_address(space: Space, query: str) -> str:
    filters = normalize_query(query)
    return f"/spaces/{space.slug}/pipelines" + (f"?{filters}" if filters else "")


def _show_list(request: Request, space: Space, query: str, notice: str) -> Response:
    return load_page(request, redirect(_list_address(space, query), notice))


def _refuse(request: Request, error: WindsockError) -> Response:
    """Show the error beside the form, whose fields stay. Raises it without htmx, which shows an error page."""
    if not is_htmx_partial(request):
        raise error
    form = FormState(errors={WHOLE_FORM: str(error)})
    return render(request, "form_errors.html", status_code=form.status_code, form=form)


def _check_name(name: str) -> str:
    name = name.strip()
    if not 1 <= len(name) <= MAX_NAME:
        raise BadRequest(f"Enter a name of 1 to {MAX_NAME} characters.")
    return name


def _check_query(query: str) -> str:
    try:
        return check_query(query)
    except ValueError as error:
        raise BadRequest(f"The filters {error}.") from None
