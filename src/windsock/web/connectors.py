"""The connectors of a space: how far to believe each, its syncs, and a sync on demand."""

from uuid import UUID

from fastapi import APIRouter, Request, Response

from windsock.auth.permissions import PageSync, PageView
from windsock.connectors.store import get_connector, list_connectors_of
from windsock.http.pagination import PageParams, PageQuery20
from windsock.sync.store import list_syncs_of, request_sync
from windsock.web.layout import layout_context
from windsock.web.templates import is_htmx_partial, redirect, render, to_jsonable

router = APIRouter(include_in_schema=False, prefix="/spaces/{slug}/connectors")

MANY = PageParams(1, 100)


@router.get("")
async def show_connectors(request: Request, space: PageView) -> Response:
    async with space.transaction() as tx:
        rows, _ = await list_connectors_of(tx, space.id, MANY)
    return render(request, "connectors.html", **await layout_context(space), connectors=to_jsonable(rows))


@router.get("/{connector_id}")
async def show_connector(request: Request, space: PageView, connector_id: UUID, paging: PageQuery20) -> Response:
    which = {"space_id": space.id, "connector_id": [connector_id], "status": None}
    async with space.transaction() as tx:
        connector = await get_connector(tx, space.id, connector_id)
        syncs, total = await list_syncs_of(tx, which, paging)
    shown = to_jsonable(syncs)
    return render(
        request,
        "connector_syncs.html" if is_htmx_partial(request) else "connector.html",
        **await layout_context(space),
        connector=to_jsonable(connector),
        syncs=shown,
        total=total,
        number=paging.page,
        pages=max(1, -(-total // paging.size)),
        goes_on=any(sync["status"] in {"queued", "running"} for sync in shown),
    )


@router.post("/{connector_id}/sync")
async def sync_now(request: Request, space: PageSync, connector_id: UUID) -> Response:
    state = request.app.state
    await request_sync(space, connector_id, state.secrets, state.jobs.wake, is_full=False)
    return redirect(f"/spaces/{space.slug}/connectors/{connector_id}")
