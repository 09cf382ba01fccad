"""Request a sync, follow it, list earlier ones."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Body, Query, Request, Response

from windsock.auth.permissions import CanEdit, CanSync, CanView, ConditionalView
from windsock.connectors.models import Connector
from windsock.connectors.store import get_connector, load_connector
from windsock.errors import Conflict
from windsock.http.pagination import LIST_HEADERS, PageQuery20
from windsock.http.responses import json_response, page_response
from windsock.http.validation import StateName
from windsock.sync.models import AcceptIn, DagImportError, SyncIn, SyncRun
from windsock.sync.store import cancel_sync as cancel
from windsock.sync.store import get_sync, list_import_errors_of, list_syncs_of, request_sync
from windsock.sync.store import release_quarantine as accept

router = APIRouter(tags=["syncs"])

LIST: dict[int | str, dict[str, Any]] = {200: {"headers": LIST_HEADERS}}
ACCEPTED: dict[int | str, dict[str, Any]] = {
    202: {"headers": {"Location": {"description": "Where to follow it.", "schema": {"type": "string"}}}}
}


@router.post(
    "/spaces/{slug}/orchestration/connectors/{connector_id}/sync",
    response_model=SyncRun,
    status_code=202,
    responses=ACCEPTED,
    summary="Sync a connector now",
)
@router.post(
    "/catalog/spaces/{slug}/connectors/{connector_id}/sync",
    response_model=SyncRun,
    status_code=202,
    responses=ACCEPTED,
    summary="Sync a connector now",
    name="sync_catalog_connector",
)
async def sync_connector(
    request: Request, space: CanSync, connector_id: UUID, body: Annotated[SyncIn | None, Body()] = None
) -> Response:
    """While one is queued or running for the connector, that one is answered: a double click does no harm.

    A full sync that is requested while another one runs is queued behind it and answered; repeated requests answer the
    same one. One that is queued and not yet begun becomes full. 400 for a connector that is not an Airflow.
    """
    state, is_full = request.app.state, body.is_full if body else False
    row = await request_sync(space, connector_id, state.secrets, state.jobs.wake, is_full=is_full)
    location = f"/api/v1.0/spaces/{space.slug}/orchestration/syncs/{row['id']}"
    return json_response(request, row, status=202, headers={"Location": location})


@router.get(
    "/spaces/{slug}/orchestration/syncs/{sync_id}",
    response_model=SyncRun,
    name="get_sync",
    summary="One sync, to follow it",
)
async def get_one_sync(request: Request, space: CanView, sync_id: UUID) -> Response:
    async with space.transaction() as tx:
        row = await get_sync(tx, space.id, sync_id)
    return json_response(request, row)


@router.post("/spaces/{slug}/orchestration/syncs/{sync_id}/cancel", response_model=SyncRun, summary="Cancel a sync")
async def cancel_sync(request: Request, space: CanSync, sync_id: UUID) -> Response:
    """A queued one ends at once, a running one at its next page or within seconds. What it stored stays."""
    async with space.transaction() as tx:
        await get_sync(tx, space.id, sync_id)
        if not await cancel(tx, space.id, sync_id):
            raise Conflict("This sync has ended already.")
        row = await get_sync(tx, space.id, sync_id)
    return json_response(request, row)


@router.post(
    "/catalog/spaces/{slug}/connectors/{connector_id}/accept",
    response_model=Connector,
    summary="Accept what a sync holds back",
)
async def accept_held(request: Request, space: CanEdit, connector_id: UUID, body: AcceptIn) -> Response:
    """mass_loss: what is missing counts as deleted now. other_airflow: this Airflow is mirrored from now on.

    400 for a connector that is not an Airflow.
    """
    async with space.transaction() as tx:
        await load_connector(tx, space.id, connector_id, request.app.state.secrets)
        await accept(tx, space.id, connector_id, body.kind)
        row = await get_connector(tx, space.id, connector_id)
    return json_response(request, row)


@router.get(
    "/spaces/{slug}/orchestration/import-errors",
    response_model=list[DagImportError],
    responses=LIST,
    summary="Files that Airflow cannot import, newest first",
)
async def list_import_errors(
    request: Request,
    space: ConditionalView,
    paging: PageQuery20,
    connector_id: Annotated[list[UUID] | None, Query(description="Several mean any of them.")] = None,
) -> Response:
    """As of the last list of DAGs: a sync reads it at most five minutes after a change."""
    rows, total = await list_import_errors_of(space, space.id, connector_id, paging)
    return page_response(request, rows, total, paging, etag=space.etag)


@router.get(
    "/catalog/spaces/{slug}/sync-history", response_model=list[SyncRun], responses=LIST, summary="Syncs, newest first"
)
async def list_syncs(
    request: Request,
    space: CanView,
    paging: PageQuery20,
    connector_id: Annotated[list[UUID] | None, Query(description="Several mean any of them.")] = None,
    status: Annotated[list[StateName] | None, Query(description="Several mean any of them.")] = None,
) -> Response:
    which = {"space_id": space.id, "connector_id": connector_id, "status": status}
    async with space.transaction() as tx:
        rows, total = await list_syncs_of(tx, which, paging)
    return page_response(request, rows, total, paging)
