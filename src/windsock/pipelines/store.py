"""Pipelines as they are read."""

from collections.abc import Sequence
from uuid import UUID

from windsock.access.space import Space
from windsock.access.store import present
from windsock.db import Row, Transaction
from windsock.errors import NotFound
from windsock.pages import Paging
from windsock.providers.airflow import pipeline_url
from windsock.sql import load

QUERIES = load(__package__, "pipelines.sql")

DEFAULT_DAYS = 7


async def list_pipelines(
    tx: Transaction,
    space: Space,
    paging: Paging,
    *,
    status: Sequence[str] | None,
    connector_id: Sequence[UUID] | None,
    q: str | None,
) -> tuple[list[Row], int]:
    """A page, and how many there are in all."""
    which = {
        "space_id": space.id,
        "status": status,
        "connector_id": connector_id,
        "words": [f"%{_literally(word)}%" for word in q.split()] if q and q.strip() else None,
    }
    rows = await tx.answers(
        QUERIES["list_pipelines"],
        **which,
        user_id=space.caller.id,
        days=DEFAULT_DAYS,
        limit=paging.size,
        offset=paging.offset,
    )
    total = present(await tx.row(QUERIES["count_pipelines"], **which))["total"]
    return [_with_url(row) for row in rows], total


async def get_pipeline(tx: Transaction, space: Space, pipeline_id: UUID) -> Row:
    rows = await tx.answers(
        QUERIES["get_pipeline"],
        space_id=space.id,
        pipeline_id=pipeline_id,
        user_id=space.caller.id,
        days=DEFAULT_DAYS,
    )
    if not rows:
        raise NotFound("pipeline")
    return _with_url(rows[0])


def _with_url(row: Row) -> Row:
    row["provider_url"] = pipeline_url(row.pop("web_url"), row.pop("api_version"), row["external_id"])
    return row


def _literally(word: str) -> str:
    """LIKE without wildcards: what somebody typed means itself."""
    return word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
