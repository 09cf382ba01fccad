"""The runs of a pipeline: newest first, filtered, in pages."""

import itertools
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest

from factories import NOW, TwoTenants, make_run
from validating_client import ValidatingClient
from windsock.db.queries import Query
from windsock.providers.base import ProviderRun
from windsock.sync.writer import MirrorWriter

if TYPE_CHECKING:
    from conftest import RolledBackDatabase

pytestmark = pytest.mark.anyio


def runs_of(tenants: TwoTenants, name: str = "never_run") -> str:
    return f"/spaces/finance/orchestration/pipelines/{tenants.finance.pipelines[name]}/runs"


async def store(db: "RolledBackDatabase", tenants: TwoTenants, runs: list[ProviderRun]) -> None:
    space = tenants.finance
    async with db.tenant_transaction(space.id) as tx:
        await MirrorWriter(space.id, space.connector_id).store_runs(tx, runs, space.pipelines)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, ["b", "e", "a", "d", "c"]),
        ({"status": "success"}, ["b", "a"]),
        ({"status": ["success", "failed"]}, ["b", "a", "d"]),
        ({"status": "queued"}, ["e"]),
        ({"status": "a_state_of_tomorrow"}, ["c"]),
        ({"status": "a_state_of_the_day_after"}, []),
        ({"size": 2}, ["b", "e"]),
        ({"size": 2, "page": 3}, ["c"]),
        ({"size": 2, "page": 4}, []),
        ({"status": ["success", "failed"], "size": 1, "page": 2}, ["a"]),
    ],
)
async def test_run_list_is_ordered_newest_first_with_filters_and_pagination(
    client: ValidatingClient,
    tenants: TwoTenants,
    db: "RolledBackDatabase",
    query: dict[str, Any],
    expected: list[str],
) -> None:
    runs = [
        make_run("never_run", "a", "success", hours_ago=30),
        make_run("never_run", "b", "success", hours_ago=1),
        make_run("never_run", "c", "a_state_of_tomorrow", hours_ago=500),
        make_run("never_run", "d", "failed", hours_ago=31),
        make_run("never_run", "e", "queued", hours_ago=2, minutes=None, started_at=None),
    ]
    await store(db, tenants, runs[:3])
    await store(db, tenants, runs[3:])
    response = await client.as_(tenants.keys["viewer"], "GET", runs_of(tenants), params=query)
    assert response.status_code == 200
    assert [run["external_id"] for run in response.json()] == expected


async def test_runs_with_equal_time_have_stable_order_across_pages(
    client: ValidatingClient, tenants: TwoTenants, db: "RolledBackDatabase"
) -> None:
    await store(db, tenants, [make_run("never_run", f"run {n}", "success", hours_ago=1) for n in range(9)])
    pages = [
        (await client.as_(tenants.keys["viewer"], "GET", runs_of(tenants), params={"size": 2, "page": page})).json()
        for page in range(1, 6)
    ]
    ids = [run["id"] for page in pages for run in page]
    assert len(ids) == 9
    assert ids == sorted(ids, reverse=True)


@pytest.mark.parametrize("query", [{}, {"status": ["success", "running"]}])
@pytest.mark.parametrize("where", ["pipeline", "space"])
async def test_cursor_pagination_is_stable_under_concurrent_inserts(
    client: ValidatingClient, tenants: TwoTenants, db: "RolledBackDatabase", where: str, query: dict[str, Any]
) -> None:
    path = runs_of(tenants) if where == "pipeline" else "/spaces/finance/orchestration/runs"
    await store(db, tenants, [make_run("never_run", f"run {n}", "success", hours_ago=1 + n // 3) for n in range(11)])
    key = tenants.keys["viewer"]
    whole = await client.as_(key, "GET", path, params={"size": 500, **query})
    wanted = [run["id"] for run in whole.json()]
    assert "x-next-cursor" not in whole.headers
    found, cursor, number = [], None, 0
    while number == 0 or cursor:
        parameters = {"size": 3, **query, **({"cursor": cursor} if cursor else {})}
        page = await client.as_(key, "GET", path, params=parameters)
        number += 1
        assert page.headers["x-page"] == str(number)
        assert ('rel="prev"' in page.headers["link"]) == (number > 1)
        assert "cursor=" not in page.headers["link"]
        found += [run["id"] for run in page.json()]
        cursor = page.headers.get("x-next-cursor")
        await store(db, tenants, [make_run("never_run", f"newer {number}", "success", hours_ago=0, minutes=None)])
        assert number < 20
    assert found == wanted


@pytest.mark.parametrize("cursor", ["", "nonsense", "é", "A" * 39, "A" * 40, "x" * 101, "%00"])
async def test_invalid_cursor_is_rejected(client: ValidatingClient, tenants: TwoTenants, cursor: str) -> None:
    response = await client.as_(tenants.keys["viewer"], "GET", runs_of(tenants), params={"cursor": cursor})
    assert response.status_code == 422
    assert response.json()["detail"][0]["loc"] == ["query", "cursor"]


async def test_page_combined_with_cursor_is_rejected(client: ValidatingClient, tenants: TwoTenants) -> None:
    path, key = runs_of(tenants, "hourly_load"), tenants.keys["viewer"]
    cursor = (await client.as_(key, "GET", path, params={"size": 1})).headers["x-next-cursor"]
    response = await client.as_(key, "GET", path, params={"cursor": cursor, "page": 2})
    assert (response.status_code, response.json()["detail"][0]["msg"]) == (422, "Send page or cursor, not both.")


async def test_run_fields_match_airflow(client: ValidatingClient, tenants: TwoTenants) -> None:
    (newest, oldest) = (await client.as_(tenants.keys["viewer"], "GET", runs_of(tenants, "daily_report"))).json()
    due = NOW - timedelta(hours=30)
    assert newest["external_id"] == "r2"
    assert (
        oldest
        | {
            "id": str(tenants.finance.run_id),
            "space_id": str(tenants.finance.id),
            "provider": "airflow",
            "external_id": "r1",
            "status": "failed",
            "run_type": "scheduled",
            "pipeline_id": str(tenants.finance.pipelines["daily_report"]),
            "pipeline": {"id": str(tenants.finance.pipelines["daily_report"]), "name": "daily_report"},
            "queued_at": f"{due:%Y-%m-%dT%H:%M:%SZ}",
            "started_at": f"{due:%Y-%m-%dT%H:%M:%SZ}",
            "ended_at": f"{due + timedelta(minutes=10):%Y-%m-%dT%H:%M:%SZ}",
            "duration_seconds": 600.0,
            "data_interval_start": f"{due - timedelta(days=1):%Y-%m-%dT%H:%M:%SZ}",
            "conf": {"day": "2026-11-23"},
            "note": None,
            "triggered_by": None,
            "triggered_by_user": None,
            "task_counts": {"success": 4, "failed": 1},
            "comment_count": 0,
            "removed_at": None,
        }
        == oldest
    )


async def test_run_triggered_through_windsock_names_its_user(
    client: ValidatingClient, tenants: TwoTenants, db: "RolledBackDatabase"
) -> None:
    async with db.tenant_transaction(tenants.finance.id) as tx:
        query = Query("UPDATE runs SET triggered_by_user_id = %(user)s WHERE id = %(run)s")
        await tx.execute(query, user=tenants.users["editor"], run=tenants.finance.run_id)
    rows = (await client.as_(tenants.keys["viewer"], "GET", runs_of(tenants, "daily_report"))).json()
    assert rows[1]["triggered_by_user"] == {"id": str(tenants.users["editor"]), "name": "Editor"}
    assert rows[0]["triggered_by_user"] is None


async def test_deleted_run_is_listed_only_on_request(
    client: ValidatingClient, tenants: TwoTenants, db: "RolledBackDatabase"
) -> None:
    async with db.tenant_transaction(tenants.finance.id) as tx:
        query = Query("UPDATE runs SET removed_at = now() WHERE id = %(id)s")
        await tx.execute(query, id=tenants.finance.run_id)
    whole_space = "/spaces/finance/orchestration/runs"
    queries: list[dict[str, Any]] = [{}, {"started_from": "2020-01-01T00:00:00Z"}, {"size": 1, "page": 2}]
    for path, request in itertools.product((runs_of(tenants, "daily_report"), whole_space), queries):
        removed = {"include_removed": "true", "q": "report"} if path == whole_space else {"include_removed": "true"}
        shown = await client.as_(tenants.keys["viewer"], "GET", path, params=request)
        every = await client.as_(tenants.keys["viewer"], "GET", path, params={**request, **removed})
        assert all(row["removed_at"] is None for row in shown.json())
        if path != whole_space:
            assert (shown.headers["x-total-count"], every.headers["x-total-count"]) == ("1", "2")
        if not request:
            found = [row["external_id"] for row in every.json() if row["removed_at"] is not None]
            assert found == ["r1"]
            totals = [int(item.headers["x-total-count"]) for item in (shown, every)]
            assert totals == [len(shown.json()), len(every.json())]
    alone = await client.as_(
        tenants.keys["viewer"], "GET", f"/spaces/finance/orchestration/runs/{tenants.finance.run_id}"
    )
    assert alone.json()["removed_at"] is not None


async def test_run_list_is_empty_without_runs_and_404_for_unknown_pipeline(
    client: ValidatingClient, tenants: TwoTenants
) -> None:
    empty = await client.as_(tenants.keys["viewer"], "GET", runs_of(tenants))
    assert (empty.status_code, empty.json(), empty.headers["x-total-pages"]) == (200, [], "0")
    unknown: list[UUID] = [uuid4(), tenants.marketing.pipelines["daily_report"], tenants.finance.run_id]
    for pipeline_id in unknown:
        path = f"/spaces/finance/orchestration/pipelines/{pipeline_id}/runs"
        response = await client.as_(tenants.keys["viewer"], "GET", path)
        assert (response.status_code, response.json()) == (404, {"detail": "There is no such pipeline in this space."})


async def test_run_list_has_large_page_size_and_accepts_trailing_slash(
    client: ValidatingClient, tenants: TwoTenants
) -> None:
    path = runs_of(tenants, "daily_report")
    plain = await client.as_(tenants.keys["viewer"], "GET", path)
    assert plain.headers["x-page-size"] == "100"
    capped = await client.as_(tenants.keys["viewer"], "GET", path, params={"size": 100_000})
    assert (capped.status_code, capped.headers["x-page-size"]) == (200, "500")
    slashed = await client.as_(tenants.keys["viewer"], "GET", f"{path}/")
    assert slashed.json() == plain.json()
