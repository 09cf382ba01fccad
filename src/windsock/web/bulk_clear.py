"""Clear all failed runs with one error: the list of a dry run, then the progress and the result of each run."""

from uuid import UUID

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from windsock.actions.bulk import NOTHING_TO_CLEAR, BulkClearService, get_bulk_clear
from windsock.actions.models import LONGEST_NOTE, BulkClearIn
from windsock.auth.authenticator import Space
from windsock.auth.permissions import PageAct, PageView
from windsock.db.database import Row
from windsock.errors import Conflict, Invalid
from windsock.failures.store import get_fingerprint
from windsock.web.actions import MAX_LISTED, Text
from windsock.web.forms import Confirmed, FormState, read_form, validate_form
from windsock.web.layout import layout_context
from windsock.web.templates import REFUSED_HEADERS, is_htmx_partial, redirect, render, to_jsonable
from windsock.web.trigger_form import new_idempotency_key

router = APIRouter(include_in_schema=False, prefix="/spaces/{slug}/fingerprints/{fingerprint_id}/clear")


class BulkClearForm(BaseModel):
    reason: Text | None = None
    key: Text | None = None


@router.post("")
async def clear(request: Request, space: PageAct, fingerprint_id: UUID, confirmed: Confirmed = False) -> Response:  # noqa: FBT002 - a form field
    values = await read_form(request)
    form = validate_form(BulkClearForm, values)
    key, errors = form.key or new_idempotency_key(), {}
    service: BulkClearService = request.app.state.bulk_clears
    if confirmed:
        try:
            row, _ = await service.start(space, fingerprint_id, BulkClearIn(reason=form.reason or None), key)
        except (Conflict, Invalid) as failure:
            errors = {"reason" if isinstance(failure, Invalid) else "": str(failure)}
        else:
            request.app.state.bulk_clear_jobs.wake()
            return redirect(f"/spaces/{space.slug}/fingerprints/{row['fingerprint_id']}/clear/{row['id']}")
    planned = await service.plan(space, fingerprint_id)
    if not planned["runs"]:
        errors = errors or {"": NOTHING_TO_CLEAR}
    return await _confirm(request, space, planned, FormState(values, errors, "action"), key)


@router.get("/{bulk_clear_id}")
async def show_progress(request: Request, space: PageView, fingerprint_id: UUID, bulk_clear_id: UUID) -> Response:
    """Htmx gets the part that it refreshes until every run has a result."""
    async with space.transaction() as tx:
        row = await get_bulk_clear(tx, space, fingerprint_id, bulk_clear_id)
        if is_htmx_partial(request):
            return render(request, "bulk_clear_progress.html", space=space, bulk_clear=to_jsonable(row))
        group = await get_fingerprint(tx, space.id, fingerprint_id)
    return render(
        request, "bulk_clear.html", **await layout_context(space), bulk_clear=to_jsonable(row), group=to_jsonable(group)
    )


async def _confirm(request: Request, space: Space, planned: Row, form: FormState, key: str) -> Response:
    """A page, or a dialog for htmx."""
    template = "bulk_clear_form.html" if is_htmx_partial(request) else "action.html"
    return render(
        request, template, status_code=form.status_code, headers=REFUSED_HEADERS, **await layout_context(space),
        form_template="bulk_clear_form.html", title="Clear all failed runs", planned=to_jsonable(planned), form=form,
        key=key, max_listed=MAX_LISTED, longest_note=LONGEST_NOTE,
        back=f"/spaces/{space.slug}/fingerprints/{planned['fingerprint_id']}",
    )  # fmt: skip
