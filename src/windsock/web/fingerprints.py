"""Groups of failures with the same fault: the list, and one with its runs, comments and what editors do with it."""

from datetime import date
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Form, Request, Response

from windsock.auth.authenticator import Space
from windsock.auth.permissions import PageEditFingerprints, PageView
from windsock.errors import BadRequest
from windsock.failures.models import FingerprintUpdate, SplitInput
from windsock.failures.routes import FingerprintFilterQuery
from windsock.failures.store import (
    FingerprintFilter,
    get_fingerprint,
    list_fingerprints,
    merge_fingerprint,
    rename_fingerprint,
    set_runbook,
    split_fingerprint,
)
from windsock.http.pagination import PageParams, PageQuery20
from windsock.web.bulk_edit import team_options
from windsock.web.charts import daily_runs_chart
from windsock.web.filters import utc_midnight
from windsock.web.forms import (
    WHOLE_FORM,
    FormInvalid,
    FormState,
    errors_at,
    read_fields,
    read_form,
    render_confirmation,
    validate_form,
)
from windsock.web.layout import layout_context
from windsock.web.templates import redirect, redirect_past_end, render, to_jsonable

router = APIRouter(include_in_schema=False, prefix="/spaces/{slug}/fingerprints")

MANY = PageParams(1, 50)
"""Groups of the same pipeline to merge into."""
FormId = Annotated[UUID | None, Form()]


@router.get("")
async def show_fingerprints(
    request: Request, space: PageView, paging: PageQuery20, which: FingerprintFilterQuery
) -> Response:
    """With the filters of the API's list."""
    async with space.transaction() as tx:
        rows, total = await list_fingerprints(tx, space.id, paging, which)
        (teams,) = await tx.fetch_batch(team_options(space))
    pages = paging.last_page(total)
    if last_page := redirect_past_end(request, paging.page, pages):
        return last_page
    return render(
        request, "fingerprints.html", **await layout_context(space), groups=to_jsonable(rows), which=which,
        teams=to_jsonable(teams), total=total, number=paging.page, pages=pages,
    )  # fmt: skip


@router.get("/{fingerprint_id}")
async def show_fingerprint(request: Request, space: PageView, fingerprint_id: UUID) -> Response:
    return await _render(request, space, fingerprint_id, FormState())


@router.post("/{fingerprint_id}/name")
async def name(request: Request, space: PageEditFingerprints, fingerprint_id: UUID) -> Response:
    """An empty name removes it."""
    values = await read_form(request)
    try:
        new_name = validate_form(FingerprintUpdate, values).name if values.get("name", "").strip() else None
    except FormInvalid as error:
        return await _render(request, space, fingerprint_id, FormState(values, error.errors, "name"))
    async with space.transaction() as tx:
        group_id = await rename_fingerprint(tx, space, fingerprint_id, new_name)
    return redirect(_address(space, group_id), "fingerprint_named")


@router.post("/{fingerprint_id}/merge")
async def merge(
    request: Request,
    space: PageEditFingerprints,
    fingerprint_id: UUID,
    into: FormId = None,
    confirmed: Annotated[bool, Form()] = False,  # noqa: FBT002 - a form field
) -> Response:
    if into is None:
        errors = FormState({}, {WHOLE_FORM: "Choose the group to merge into."}, "merge")
        return await _render(request, space, fingerprint_id, errors)
    if not confirmed:
        return render_confirmation(
            request, await layout_context(space), title="Merge these failures into the other group?",
            consequence="Later failures with either fingerprint belong to it. Its page can split them again.",
            action="Merge", back=_address(space, fingerprint_id), fields={"into": str(into)},
        )  # fmt: skip
    try:
        with errors_at():
            async with space.transaction() as tx:
                group_id = await merge_fingerprint(tx, space, fingerprint_id, into)
    except FormInvalid as error:
        return await _render(request, space, fingerprint_id, FormState({}, error.errors, "merge"))
    return redirect(_address(space, group_id), "fingerprint_merged")


@router.post("/{fingerprint_id}/split")
async def split(request: Request, space: PageEditFingerprints, fingerprint_id: UUID) -> Response:
    """`failure`: the ids of the failures to split off."""
    chosen = [value for field, value in await read_fields(request) if field == "failure"]
    try:
        body = _split_input(chosen)
        with errors_at():
            async with space.transaction() as tx:
                group_id = await split_fingerprint(tx, space, fingerprint_id, body)
    except FormInvalid as error:
        return await _render(request, space, fingerprint_id, FormState({}, error.errors, "split"))
    return redirect(_address(space, group_id), "fingerprint_split")


@router.post("/{fingerprint_id}/runbook")
async def pin(space: PageEditFingerprints, fingerprint_id: UUID, comment_id: FormId = None) -> Response:
    """Without a comment there is no runbook."""
    async with space.transaction() as tx:
        group_id = await set_runbook(tx, space, fingerprint_id, comment_id)
    return redirect(_address(space, group_id), "runbook_pinned" if comment_id else "runbook_removed")


def _split_input(chosen: list[str]) -> SplitInput:
    """Raises FormInvalid where nothing is chosen."""
    if not chosen:
        raise FormInvalid({WHOLE_FORM: "Select the failures to split off, by their checkboxes."})
    try:
        return SplitInput(task_failure_ids=[UUID(text) for text in chosen], run_ids=[])
    except ValueError:
        raise BadRequest("A selected failure does not exist. Select them again.") from None


async def _render(request: Request, space: Space, fingerprint_id: UUID, form: FormState) -> Response:
    async with space.transaction() as tx:
        group = to_jsonable(await get_fingerprint(tx, space.id, fingerprint_id))
        of_pipeline = FingerprintFilter(pipeline_id=[UUID(group["pipeline_id"])])
        others, _ = await list_fingerprints(tx, space.id, MANY, of_pipeline)
    return render(
        request, "fingerprint.html", status_code=form.status_code, **await layout_context(space), group=group,
        form=form, chart=_chart(group["trend"]),
        comments=[{**row, "is_edited": False} for row in group["comments"]],
        others=[row for row in to_jsonable(others) if row["id"] != group["id"]],
    )  # fmt: skip


def _chart(trend: list[dict[str, Any]]) -> Any:  # noqa: ANN401 - Markup
    days = [{"day": row["day"], "total": row["count"], "success": 0, "failed": row["count"]} for row in trend]
    first, last = (utc_midnight(date.fromisoformat(row["day"])) for row in (trend[0], trend[-1]))
    return daily_runs_chart(days, first, last)


def _address(space: Space, fingerprint_id: UUID) -> str:
    return f"/spaces/{space.slug}/fingerprints/{fingerprint_id}"
