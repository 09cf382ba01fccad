"""The pipeline list, and one pipeline."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from windsock.access.space import CanView
from windsock.inputs import Text, Word
from windsock.pages import LIST_HEADERS, LargePage, answer, answer_page
from windsock.pipelines.models import Pipeline, PipelineDetail
from windsock.pipelines.store import get_pipeline, list_pipelines

router = APIRouter(prefix="/spaces/{slug}/orchestration/pipelines", tags=["pipelines"])

LIST: dict[int | str, dict[str, Any]] = {200: {"headers": LIST_HEADERS}}


@router.get("", response_model=list[Pipeline], responses=LIST, summary="List pipelines, by name")
async def list_all_pipelines(
    request: Request,
    space: CanView,
    paging: LargePage,
    status: Annotated[list[Word] | None, Query(description="Of the newest run. Several mean any of them.")] = None,
    connector_id: Annotated[list[UUID] | None, Query(description="Several mean any of them.")] = None,
    q: Annotated[
        Text | None,
        Query(max_length=500, description="Every word must occur in name, id, description, owner or a tag."),
    ] = None,
) -> Response:
    async with space.transaction() as tx:
        rows, total = await list_pipelines(tx, space, paging, status=status, connector_id=connector_id, q=q)
    return answer_page(request, rows, total, paging)


@router.get("/{pipeline_id}", response_model=PipelineDetail, summary="One pipeline")
async def get_one_pipeline(request: Request, space: CanView, pipeline_id: UUID) -> Response:
    async with space.transaction() as tx:
        row = await get_pipeline(tx, space, pipeline_id)
    return answer(request, row)
