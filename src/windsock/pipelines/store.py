"""Pipelines: how they are read, and what people decide about them."""

from collections.abc import Sequence
from uuid import UUID

from windsock.access.space import Space
from windsock.access.store import present
from windsock.db import Row, Transaction, explained
from windsock.errors import NotFound
from windsock.filters import FRAGMENTS, Criticality, PipelineFilter
from windsock.pages import Paging
from windsock.providers.airflow import pipeline_url
from windsock.sql import load

QUERIES = load(__package__, "pipelines.sql", shared=FRAGMENTS)

DEFAULT_DAYS = 7


async def list_pipelines(
    tx: Transaction,
    space: Space,
    paging: Paging,
    which: PipelineFilter,
    *,
    status: Sequence[str] | None,
    days: int,
    sort: str,
) -> tuple[list[Row], int]:
    """A page, and how many there are in all. `sort` is a column of the list, with - in front for descending."""
    matching = {**which.parameters(space), "status": status}
    order = {} if sort == "name" else {"by": sort.removeprefix("-"), "descending": sort.startswith("-")}
    rows = await tx.answers(
        QUERIES["list_pipelines_sorted" if order else "list_pipelines"],
        **matching,
        **order,
        days=days,
        limit=paging.size,
        offset=paging.offset,
    )
    total = present(await tx.row(QUERIES["count_pipelines"], **matching))["total"]
    return [_with_url(row) for row in rows], total


async def get_pipeline(tx: Transaction, space: Space, pipeline_id: UUID, *, days: int = DEFAULT_DAYS) -> Row:
    rows = await tx.answers(
        QUERIES["get_pipeline"],
        space_id=space.id,
        pipeline_id=pipeline_id,
        user_id=space.caller.id,
        days=days,
    )
    if not rows:
        raise NotFound("pipeline")
    return _with_url(rows[0])


async def set_team(tx: Transaction, space: Space, pipeline_id: UUID, team_id: UUID | None) -> None:
    with explained({"pipelines_team": NotFound("team")}):
        await tx.run(QUERIES["set_team"], space_id=space.id, pipeline_id=pipeline_id, team_id=team_id)


async def set_criticality(tx: Transaction, space: Space, pipeline_id: UUID, criticality: Criticality) -> None:
    await tx.run(QUERIES["set_criticality"], space_id=space.id, pipeline_id=pipeline_id, criticality=criticality)


async def set_watch(tx: Transaction, space: Space, pipeline_id: UUID, *, is_watched: bool) -> None:
    """Whether the caller watches the pipeline; asking twice changes nothing."""
    which = {"space_id": space.id, "pipeline_id": pipeline_id}
    if not await tx.row(QUERIES["has_pipeline"], **which):
        raise NotFound("pipeline")
    await tx.run(QUERIES["watch" if is_watched else "unwatch"], **which, user_id=space.caller.id)


def _with_url(row: Row) -> Row:
    row["provider_url"] = pipeline_url(row.pop("web_url"), row.pop("api_version"), row["external_id"])
    return row
