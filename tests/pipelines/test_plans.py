"""A page costs what is on it, also where PostgreSQL has no statistics of the tables, as after a first sync."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from factories import TwoTenants
from windsock.db.queries import Query, optional_params, render
from windsock.pipelines.stats import StatsWindow
from windsock.pipelines.store import QUERIES as LISTS
from windsock.pipelines.trends import QUERIES as TRENDS

if TYPE_CHECKING:
    from conftest import RolledBackDatabase

pytestmark = pytest.mark.anyio

QUERIES = {**LISTS, **TRENDS}
MANY, SIZE = 300, 20
PIPELINES = Query(
    "INSERT INTO pipelines (space_id, connector_id, external_id, name, is_paused, is_active, has_import_errors)"
    " SELECT %(space_id)s, %(connector_id)s, 'of_many_' || n, 'of_many_' || n, false, true, false"
    " FROM generate_series(1, %(many)s) n"
)
ENDED = Query(
    "INSERT INTO runs (space_id, pipeline_id, external_id, status, run_type, run_at, started_at, ended_at)"
    " SELECT %(space_id)s, id, 'r', 'success', 'manual', now(), now() - interval '1 hour', now()"
    " FROM pipelines WHERE space_id = %(space_id)s AND external_id LIKE 'of_many_%%'"
)


def loops(plan: dict[str, Any]) -> Iterator[int]:
    """How often each part of a plan was carried out."""
    yield plan["Actual Loops"]
    for part in plan.get("Plans", []):
        yield from loops(part)


@pytest.mark.parametrize("days", [1, 30])
@pytest.mark.parametrize(
    ("name", "by", "most"),
    [
        ("list_pipelines", None, SIZE),
        ("list_pipelines_sorted_by_column", "criticality", SIZE),
        ("list_pipelines_by_id", None, SIZE),
        ("list_previous_histograms", None, SIZE),
        ("list_last_successes", None, SIZE),
        ("list_window_histograms", None, SIZE),
    ],
)
async def test_list_query_plan_loops_are_bounded_by_page_size(
    db: "RolledBackDatabase", tenants: TwoTenants, name: str, by: str | None, most: int, days: int
) -> None:
    space = tenants.finance
    async with db.tenant_transaction(space.id) as tx:
        await tx.execute(PIPELINES, space_id=space.id, connector_id=space.connector_id, many=MANY)
        await tx.execute(ENDED, space_id=space.id)
        names: dict[str, Any] = dict.fromkeys(optional_params(QUERIES[name])) | {
            "space_id": space.id,
            "user_id": tenants.users["viewer"],
            "ids": list(space.pipelines.values())[:SIZE],
            **StatsWindow.ending_now(days).parameters,
            "previous_day": StatsWindow.ending_now(2 * days).first_day,
            "by": by,
            "descending": True,
            "limit": SIZE,
            "offset": 0,
        }
        query = render(QUERIES[name], names)
        cursor = await db.connection.execute(b"EXPLAIN (ANALYZE, FORMAT JSON) " + query.encode(), names)
        (row,) = await cursor.fetchall()
    (body,) = row["QUERY PLAN"]
    assert max(loops(body["Plan"])) <= most * 3, body
