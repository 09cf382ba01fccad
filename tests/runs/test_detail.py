"""One run with its task runs: order, counts, comments, addresses, and as of when it is true."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from factories import NOW, TwoTenants, make_run, make_task_run
from validating_client import ValidatingClient
from windsock.db.queries import Query
from windsock.providers.base import ProviderTaskRun
from windsock.sync.writer import MirrorWriter

if TYPE_CHECKING:
    from conftest import RolledBackDatabase

pytestmark = pytest.mark.anyio
RUNS = "/spaces/finance/orchestration/runs"


async def get(client: ValidatingClient, tenants: TwoTenants) -> dict[str, Any]:
    response = await client.as_(tenants.keys["viewer"], "GET", f"{RUNS}/{tenants.finance.run_id}")
    assert response.status_code == 200
    run: dict[str, Any] = response.json()
    return run


async def store(db: "RolledBackDatabase", tenants: TwoTenants, tasks: list[ProviderTaskRun]) -> None:
    space = tenants.finance
    async with db.tenant_transaction(space.id) as tx:
        await MirrorWriter(space.id, space.connector_id).store_task_runs(tx, tasks, space.pipelines)


async def in_space(db: "RolledBackDatabase", tenants: TwoTenants, text: str, **parameters: object) -> int:
    async with db.tenant_transaction(tenants.finance.id) as tx:
        return await tx.execute(Query(text), **parameters)


async def comment(db: "RolledBackDatabase", tenants: TwoTenants, run_id: UUID, task_run_id: UUID | None = None) -> None:
    await in_space(
        db,
        tenants,
        "INSERT INTO comments (space_id, run_id, task_run_id, author_id, content)"
        " VALUES (%(space_id)s, %(run_id)s, %(task_run_id)s, %(author_id)s, 'why?')",
        space_id=tenants.finance.id,
        run_id=run_id,
        task_run_id=task_run_id,
        author_id=tenants.users["viewer"],
    )


def order(run: dict[str, Any]) -> list[tuple[str, int | None]]:
    return [(task["external_id"], task["map_index"]) for task in run["task_runs"]]


async def test_run_detail_has_list_fields_and_task_runs(client: ValidatingClient, tenants: TwoTenants) -> None:
    run = await get(client, tenants)
    path = f"/spaces/finance/orchestration/pipelines/{tenants.finance.pipelines['daily_report']}/runs"
    listed = (await client.as_(tenants.keys["viewer"], "GET", path)).json()[1]
    summary = {"summary": run["failure"]["summary"]}
    assert {name: run[name] for name in listed} | {"failure": summary} == listed
    assert set(run) - set(listed) == {"provider_metadata", "task_runs", "other_failures"}
    assert run["provider_metadata"] == {"bundle_version": None}
    load = next(task for task in run["task_runs"] if task["external_id"] == "load")
    assert (
        load
        | {
            "id": str(tenants.finance.task_run_id),
            "run_id": str(tenants.finance.run_id),
            "name": "load",
            "map_index": None,
            "operator": "PythonOperator",
            "status": "failed",
            "try_number": 1,
            "max_tries": 0,
            "started_at": f"{NOW - timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}",
            "duration_seconds": 600.0,
            "pool": "default_pool",
            "queue": "default",
            "hostname": "worker-1",
            "note": None,
            "comment_count": 0,
            "removed_at": None,
            "provider_metadata": {"priority_weight": 1},
        }
        == load
    )


async def test_task_runs_are_ordered_by_start_with_mapped_instances_grouped(
    client: ValidatingClient, tenants: TwoTenants, db: "RolledBackDatabase"
) -> None:
    assert order(await get(client, tenants)) == [
        ("check", 0),
        ("check", 1),
        ("check", 2),
        ("extract", None),
        ("load", None),
    ]
    tasks = [
        ("zeta", -1, 50),
        ("alpha", -1, None),
        ("beta", -1, 10),
        ("mapped", 0, 30),
        ("mapped", 10, 2),
        ("mapped", 2, None),
        ("late", 0, None),
        ("late", -1, None),
    ]
    async with db.tenant_transaction(tenants.finance.id) as tx:
        await tx.execute(Query("DELETE FROM task_runs WHERE run_id = %(id)s"), id=tenants.finance.run_id)
    await store(
        db,
        tenants,
        [
            make_task_run(
                "daily_report",
                "r1",
                task_id,
                "success" if minutes_ago else "none",
                map_index=map_index,
                started_at=NOW - timedelta(minutes=minutes_ago) if minutes_ago else None,
            )
            for task_id, map_index, minutes_ago in tasks
        ],
    )
    assert order(await get(client, tenants)) == [
        ("zeta", None),
        ("mapped", 0),
        ("mapped", 2),
        ("mapped", 10),
        ("beta", None),
        ("alpha", None),
        ("late", 0),  # what stood for the task before it was expanded is gone
    ]


async def test_task_counts_follow_task_run_changes(
    client: ValidatingClient, tenants: TwoTenants, db: "RolledBackDatabase"
) -> None:
    assert (await get(client, tenants))["task_counts"] == {"success": 4, "failed": 1}
    await store(
        db,
        tenants,
        [
            make_task_run("daily_report", "r1", "load", "up_for_retry", try_number=2),
            make_task_run("daily_report", "r1", "new", "none"),
        ],
    )
    assert (await get(client, tenants))["task_counts"] == {"success": 4, "up_for_retry": 1, "none": 1}


async def test_run_without_task_runs_has_empty_list_and_counts(
    client: ValidatingClient, tenants: TwoTenants, db: "RolledBackDatabase"
) -> None:
    space = tenants.finance
    async with db.tenant_transaction(space.id) as tx:
        mirror = MirrorWriter(space.id, space.connector_id)
        stored = await mirror.store_runs(tx, [make_run("never_run", "first", "queued", minutes=None)], space.pipelines)
    (run_id,) = stored.ids
    run = (await client.as_(tenants.keys["viewer"], "GET", f"{RUNS}/{run_id}")).json()
    assert (run["task_runs"], run["task_counts"], run["comment_count"]) == ([], {}, 0)


async def test_comment_counts_of_run_and_task_run_are_separate(
    client: ValidatingClient, tenants: TwoTenants, db: "RolledBackDatabase"
) -> None:
    space = tenants.finance
    await comment(db, tenants, space.run_id)
    run = await get(client, tenants)
    assert run["comment_count"] == 1
    assert {task["comment_count"] for task in run["task_runs"]} == {0}
    for _ in range(2):
        await comment(db, tenants, space.run_id, space.task_run_id)
    counts = {task["external_id"]: task["comment_count"] for task in (await get(client, tenants))["task_runs"]}
    assert counts == {"check": 0, "extract": 0, "load": 2}


@pytest.mark.parametrize("api_version", ["v1", "v2", None])
async def test_run_and_task_provider_urls_follow_api_version(
    client: ValidatingClient, tenants: TwoTenants, db: "RolledBackDatabase", api_version: str | None
) -> None:
    path = f"/catalog/spaces/finance/connectors/{tenants.finance.connector_id}"
    config = {"web_url": "https://airflow.example.com/"}
    await client.as_(tenants.keys["editor"], "PATCH", path, json={"config": config})
    change = "UPDATE sync_states SET api_version = %(api_version)s WHERE connector_id = %(id)s"
    await in_space(db, tenants, change, api_version=api_version, id=tenants.finance.connector_id)
    run = await get(client, tenants)
    tasks = {(task["external_id"], task["map_index"]): task["provider_url"] for task in run["task_runs"]}
    dag = "https://airflow.example.com/dags/daily_report"
    if api_version == "v1":
        assert run["provider_url"] == f"{dag}/grid?dag_run_id=r1"
        assert tasks["load", None] == f"{dag}/grid?dag_run_id=r1&task_id=load"
        assert tasks["check", 2] == f"{dag}/grid?dag_run_id=r1&task_id=check&map_index=2"
    else:
        assert run["provider_url"] == f"{dag}/runs/r1"
        assert tasks["load", None] == f"{dag}/runs/r1/tasks/load"
        assert tasks["check", 2] == f"{dag}/runs/r1/tasks/check/mapped/2"


@pytest.mark.parametrize(
    ("age", "is_removed", "is_later"), [("-1 hour", False, False), ("1 hour", False, True), ("1 hour", True, False)]
)
async def test_run_last_synced_at_is_later_of_row_and_last_complete_sync_unless_removed(
    client: ValidatingClient,
    tenants: TwoTenants,
    db: "RolledBackDatabase",
    age: str,
    *,
    is_removed: bool,
    is_later: bool,
) -> None:
    written = datetime.fromisoformat((await get(client, tenants))["last_synced_at"])
    change = "UPDATE sync_states SET last_complete_at = %(written)s::timestamptz + %(age)s::interval"
    await in_space(db, tenants, change, written=written, age=age)
    if is_removed:
        await in_space(db, tenants, "UPDATE runs SET removed_at = now() WHERE id = %(id)s", id=tenants.finance.run_id)
    shown = datetime.fromisoformat((await get(client, tenants))["last_synced_at"])
    assert shown == (written + timedelta(hours=1) if is_later else written)


async def test_etag_is_stable_until_data_changes(
    client: ValidatingClient, tenants: TwoTenants, db: "RolledBackDatabase"
) -> None:
    path, viewer = f"{RUNS}/{tenants.finance.run_id}", tenants.keys["viewer"]
    first = await client.as_(viewer, "GET", path)
    known = {"If-None-Match": first.headers["etag"]}
    assert (await client.as_(viewer, "GET", path, headers=known)).status_code == 304
    slashed = await client.as_(viewer, "GET", f"{path}/", headers=known)
    assert (slashed.status_code, slashed.headers["etag"]) == (304, first.headers["etag"])
    await comment(db, tenants, tenants.finance.run_id)
    changed = await client.as_(viewer, "GET", path, headers=known)
    assert (changed.status_code, changed.json()["comment_count"]) == (200, 1)


@pytest.mark.parametrize("seconds", [0.02, 18_000])
async def test_task_run_that_ends_before_start_has_no_duration(
    client: ValidatingClient, db: "RolledBackDatabase", tenants: TwoTenants, seconds: float
) -> None:
    odd = make_task_run("daily_report", "r1", "odd", "success")
    assert odd.started_at is not None
    await store(db, tenants, [replace(odd, ended_at=odd.started_at - timedelta(seconds=seconds))])
    (row,) = [task for task in (await get(client, tenants))["task_runs"] if task["external_id"] == "odd"]
    assert (row["duration_seconds"], row["status"]) == (None, "success")


async def test_loop_iterations_are_distinguished_and_ordered(
    client: ValidatingClient, db: "RolledBackDatabase", tenants: TwoTenants
) -> None:
    region, fork = "01a225c3-32c9-7722-8c9a-42d326709fb1", "01a225c3-5abb-7d17-b280-f9f83067672b"
    loop: dict[str, Any] = {"loop_id": "refine"}
    text = {"rendered_map_index": "shelf 7", "state_reason": "no such shop"}
    tasks = [
        make_task_run(
            "daily_report", "r1", "refine.guess", "failed", region_id=fork, region_index=1, loop_iteration=1, **loop
        ),
        make_task_run(
            "daily_report", "r1", "refine.guess", "success", region_id=region, region_index=0, loop_iteration=0, **loop
        ),
        make_task_run(
            "daily_report", "r1", "refine.look", "success", map_index=7, region_id=fork, region_index=7,
            loop_iteration=0, provider_metadata=text, **loop,
        ),
    ]  # fmt: skip
    await store(db, tenants, tasks)
    run = await get(client, tenants)
    rows = [task for task in run["task_runs"] if task["external_id"].startswith("refine.")]
    names = ("external_id", "map_index", "region_id", "region_index", "loop", "status")
    assert [tuple(row[name] for name in names) for row in rows] == [
        ("refine.guess", None, region, 0, {"id": "refine", "iteration": 0}, "success"),
        ("refine.guess", None, fork, 1, {"id": "refine", "iteration": 1}, "failed"),
        ("refine.look", 7, fork, 7, {"id": "refine", "iteration": 0}, "success"),
    ]
    assert (rows[2]["rendered_map_index"], rows[2]["state_reason"]) == ("shelf 7", "no such shop")
    assert rows[1]["provider_url"].endswith(f"/tasks/refine.guess?region_id={fork}&region_index=1")
    load = next(task for task in run["task_runs"] if task["external_id"] == "load")
    nothing = ("region_id", "region_index", "loop", "rendered_map_index", "state_reason")
    assert {name: load[name] for name in nothing} == dict.fromkeys(nothing)
    assert run["task_counts"] == {"success": 6, "failed": 2}
