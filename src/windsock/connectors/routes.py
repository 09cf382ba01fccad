"""Connectors of a space: list, create, change, delete, test."""

from dataclasses import asdict
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request, Response

from windsock.auth.permissions import CanAdminister, CanEdit, CanView
from windsock.connectors.models import Connector, ConnectorChange, ConnectorIn, ConnectorTest
from windsock.connectors.store import (
    QUERIES,
    change_connector,
    create_connector,
    get_connector,
    list_connectors_of,
    load_connector,
)
from windsock.errors import NotFound
from windsock.http.pagination import LIST_HEADERS, PageQuery20
from windsock.http.responses import json_response, page_response

router = APIRouter(prefix="/catalog/spaces/{slug}/connectors", tags=["connectors"])

LIST: dict[int | str, dict[str, Any]] = {200: {"headers": LIST_HEADERS}}


@router.get("", response_model=list[Connector], responses=LIST, summary="List connectors")
async def list_connectors(request: Request, space: CanView, paging: PageQuery20) -> Response:
    async with space.transaction() as tx:
        rows, total = await list_connectors_of(tx, space.id, paging)
    return page_response(request, rows, total, paging)


@router.post("", response_model=Connector, status_code=201, name="create_connector", summary="Create a connector")
async def make_connector(request: Request, space: CanEdit, body: ConnectorIn) -> Response:
    limit = request.app.state.settings.max_connectors_per_space
    async with space.transaction() as tx:
        row = await create_connector(tx, space.id, body, request.app.state.secrets, limit=limit)
    return json_response(request, row, status=201)


@router.get("/{connector_id}", response_model=Connector, name="get_connector", summary="One connector")
async def get_one_connector(request: Request, space: CanView, connector_id: UUID) -> Response:
    async with space.transaction() as tx:
        row = await get_connector(tx, space.id, connector_id)
    return json_response(request, row)


@router.patch("/{connector_id}", response_model=Connector, name="update_connector", summary="Change a connector")
async def patch_connector(request: Request, space: CanEdit, connector_id: UUID, body: ConnectorChange) -> Response:
    """Of `config` only the keys that are sent change. A new `base_url` needs the `credentials` again.

    `config` and `credentials` must fit the type of the connector: AirflowConfigChange and Credentials for airflow.
    """
    async with space.transaction() as tx:
        row = await change_connector(tx, space.id, connector_id, body, request.app.state.secrets)
    return json_response(request, row)


@router.delete("/{connector_id}", status_code=204, summary="Delete a connector with everything it mirrored")
async def delete_connector(space: CanAdminister, connector_id: UUID) -> Response:
    async with space.transaction() as tx:
        if not await tx.execute(QUERIES["delete_connector"], space_id=space.id, connector_id=connector_id):
            raise NotFound("connector")
    return Response(status_code=204)


@router.post("/{connector_id}/test", response_model=ConnectorTest, summary="Try the connection", responses={400: {}})
async def test_connector(request: Request, space: CanEdit, connector_id: UUID) -> Response:
    """200 whatever comes out: `success` tells, and `hints` what to check.

    400 for a connector that is not an Airflow.
    """
    async with space.transaction() as tx:
        connector = await load_connector(tx, space.id, connector_id, request.app.state.secrets)
    diagnosis = await request.app.state.diagnose(connector.config, connector.credentials, connector_id=connector.id)
    return json_response(request, asdict(diagnosis))
