"""The connectors of a space: how far to believe each, its syncs, and what people can do about them."""

from collections.abc import Sequence
from itertools import groupby
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Form, Query, Request, Response

from windsock.auth.permissions import PageEdit, PageSync, PageView
from windsock.connectors.store import get_connector, list_connectors_of, load_connector
from windsock.http.pagination import PageParams, PageQuery20, PageQuery100
from windsock.sync.models import HeldKind
from windsock.sync.store import (
    cancel_sync,
    get_sync,
    list_import_errors_of,
    list_syncs_of,
    release_quarantine,
    request_sync,
)
from windsock.web.forms import Confirmed, render_confirmation
from windsock.web.layout import layout_context
from windsock.web.templates import is_htmx_partial, redirect, redirect_past_end, render, to_jsonable

router = APIRouter(include_in_schema=False, prefix="/spaces/{slug}")

MANY = PageParams(1, 100)
UNFINISHED = {"queued", "running"}
COMPARED = ("status", "trigger", "is_full", "pipelines", "runs", "task_runs", "warnings", "error")
"""Syncs in a row that are equal in these are one row of the page."""
ACCEPT: dict[HeldKind, tuple[str, str, str]] = {
    "mass_loss": (
        "Accept the deletions in {name}?",
        "What is missing in Airflow counts as deleted from now on, and disappears from all lists.",
        "Accept the deletions",
    ),
    "other_airflow": (
        "Mirror the new Airflow of {name}?",
        "The next sync reads the Airflow that answers at this URL now. What it does not have counts as deleted.",
        "Accept the new Airflow",
    ),
}
"""Title, consequence and button of the confirmation."""


@router.get("/connectors")
async def show_connectors(request: Request, space: PageView) -> Response:
    async with space.transaction() as tx:
        rows, _ = await list_connectors_of(tx, space.id, MANY)
    return render(request, "connectors.html", **await layout_context(space), connectors=to_jsonable(rows))


@router.get("/connectors/{connector_id}")
async def show_connector(request: Request, space: PageView, connector_id: UUID, paging: PageQuery100) -> Response:
    which = {"space_id": space.id, "connector_id": [connector_id], "status": None}
    async with space.transaction() as tx:
        connector = await get_connector(tx, space.id, connector_id)
        syncs, total = await list_syncs_of(tx, which, paging)
    pages = paging.last_page(total)
    if last_page := redirect_past_end(request, paging.page, pages):
        return last_page
    shown, is_partial = to_jsonable(syncs), is_htmx_partial(request)
    return render(
        request,
        "connector_status.html" if is_partial else "connector.html",
        **({"space": space} if is_partial else await layout_context(space)),
        connector=to_jsonable(connector),
        syncs=fold_equal_syncs(shown),
        total=total,
        number=paging.page,
        pages=pages,
        unfinished=[sync for sync in shown if sync["status"] in UNFINISHED],
    )


@router.post("/connectors/{connector_id}/sync")
async def sync_now(
    request: Request,
    space: PageSync,
    connector_id: UUID,
    full: Annotated[bool, Form()] = False,  # noqa: FBT002 - a form field
) -> Response:
    state = request.app.state
    await request_sync(space, connector_id, state.secrets, state.jobs.wake, is_full=full)
    return redirect(_address(space.slug, connector_id), "full_sync_requested" if full else "sync_requested")


@router.post("/connectors/{connector_id}/syncs/{sync_id}/cancel")
async def cancel(space: PageSync, connector_id: UUID, sync_id: UUID) -> Response:
    """One that has ended meanwhile is as it was."""
    async with space.transaction() as tx:
        await get_sync(tx, space.id, sync_id)
        is_cancelled = await cancel_sync(tx, space.id, sync_id)
    return redirect(_address(space.slug, connector_id), "sync_cancelled" if is_cancelled else "sync_had_ended")


@router.post("/connectors/{connector_id}/accept")
async def accept_held_changes(
    request: Request,
    space: PageEdit,
    connector_id: UUID,
    kind: Annotated[HeldKind, Form()],
    confirmed: Confirmed = False,  # noqa: FBT002 - a form field
) -> Response:
    """`kind` is that of what was shown: something else that is held meanwhile is not accepted with it."""
    back = _address(space.slug, connector_id)
    async with space.transaction() as tx:
        connector = await load_connector(tx, space.id, connector_id, request.app.state.secrets)
        if confirmed:
            await release_quarantine(tx, space.id, connector_id, kind)
    if not confirmed:
        title, consequence, action = ACCEPT[kind]
        return render_confirmation(
            request, await layout_context(space), title=title.format(name=connector.name),
            consequence=consequence, action=action, back=back, fields={"kind": kind},
        )  # fmt: skip
    return redirect(back, "changes_accepted")


@router.get("/import-errors")
async def show_import_errors(
    request: Request,
    space: PageView,
    paging: PageQuery20,
    connector_id: Annotated[list[UUID] | None, Query()] = None,
) -> Response:
    async with space.transaction() as tx:
        rows, total = await list_import_errors_of(tx, space.id, connector_id, paging)
        connectors, _ = await list_connectors_of(tx, space.id, MANY)
    pages = paging.last_page(total)
    if last_page := redirect_past_end(request, paging.page, pages):
        return last_page
    return render(
        request,
        "import_errors.html",
        **await layout_context(space),
        errors=to_jsonable(rows),
        connectors=to_jsonable(connectors),
        chosen=[str(chosen) for chosen in connector_id or []],
        total=total,
        number=paging.page,
        pages=pages,
    )


def fold_equal_syncs(syncs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The newest of each row of equal syncs, with their number as `count` and the start of the first as `since`."""
    folded = []
    for _, group in groupby(syncs, key=lambda sync: [sync[name] for name in COMPARED]):
        equal = list(group)
        folded.append(equal[0] | {"count": len(equal), "since": equal[-1]["started_at"] or equal[-1]["queued_at"]})
    return folded


def _address(slug: str, connector_id: UUID) -> str:
    return f"/spaces/{slug}/connectors/{connector_id}"
