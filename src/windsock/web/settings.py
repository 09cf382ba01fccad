"""General settings of a space: name, retention, deletion."""

from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from windsock.auth.authenticator import Space
from windsock.auth.permissions import PageAdminister, PageView
from windsock.db.database import Row
from windsock.errors import Forbidden
from windsock.http.validation import Name
from windsock.spaces.routes import or_conflict
from windsock.spaces.store import QUERIES
from windsock.web.forms import Confirmed, FormInvalid, FormState, read_form, render_confirmation, validate_form
from windsock.web.layout import layout_context
from windsock.web.templates import redirect, render, to_jsonable

router = APIRouter(include_in_schema=False, prefix="/spaces/{slug}")


class SpaceForm(BaseModel):
    """An empty `retention_days` removes the limit."""

    name: Name
    retention_days: Annotated[int | None, Field(ge=1, le=36_500)] = None
    requires_reason: bool = False


@router.get("/settings")
async def show_settings(request: Request, space: PageView) -> Response:
    return await _render(request, space, FormState())


@router.post("/settings")
async def change_space(request: Request, space: PageAdminister, confirmed: Confirmed = False) -> Response:  # noqa: FBT002 - a form field
    """A shorter retention deletes runs, so that it is confirmed first."""
    values = await read_form(request)
    try:
        body = validate_form(SpaceForm, values)
    except FormInvalid as error:
        return await _render(request, space, FormState(values, error.errors, "space"))
    days = body.retention_days
    async with space.transaction() as tx:
        row = or_conflict(await tx.fetch_one(QUERIES["get_space"], space_id=space.id))
        if days is None or confirmed or not _is_shorter(days, row["retention_days"]):
            await tx.execute(
                QUERIES["update_space"], space_id=space.id, name=body.name, sets_retention=True, retention_days=days,
                requires_reason=body.requires_reason,
            )  # fmt: skip
            return redirect(f"/spaces/{space.slug}/settings", "space_changed")
    age = f"{days} {'day' if days == 1 else 'days'}"
    return render_confirmation(
        request, await layout_context(space), title=f"Delete runs older than {age}?",
        consequence="These runs are deleted from Windsock with their task runs and comments, within ten minutes and "
        "from then on. Airflow is not changed.",
        action="Delete old runs", back=f"/spaces/{space.slug}/settings",
        fields={
            "name": body.name, "retention_days": str(days), "requires_reason": str(body.requires_reason).lower(),
        },
    )  # fmt: skip


@router.post("/delete")
async def delete_space(request: Request, space: PageView) -> Response:
    """The typed name is the confirmation."""
    if not space.caller.is_superadmin:
        raise Forbidden("Deleting a space needs a superadmin.")
    values = await read_form(request)
    async with space.transaction() as tx:
        row = or_conflict(await tx.fetch_one(QUERIES["get_space"], space_id=space.id))
        if values.get("typed_name", "").strip() == row["name"]:
            await tx.execute(QUERIES["delete_space"], space_id=space.id)
            return redirect("/spaces", "space_deleted")
    errors = {"typed_name": f"Type the name of the space: {row['name']}"}
    return await _render(request, space, FormState(values, errors, "delete"))


def _is_shorter(days: int, current: int | None) -> bool:
    return current is None or days < current


async def _render(request: Request, space: Space, form: FormState) -> Response:
    async with space.transaction() as tx:
        row: Row = or_conflict(await tx.fetch_one(QUERIES["get_space"], space_id=space.id))
    return render(
        request, "settings.html", status_code=form.status_code, **await layout_context(space),
        settings=to_jsonable(row), form=form,
    )  # fmt: skip
