"""One run with its task runs: order, counts, comments, addresses, and as of when it is true."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from checking import CheckedClient
from windsock.providers.base import ProviderTaskRun
from windsock.sql import Query
from windsock.sync.writer import MirrorWriter
from world import NOW, World, a_run, a_task_run

if TYPE_CHECKING:
    from conftest import RolledBackDatabase

pytestmark = pytest.mark.anyio
RUNS = "/spaces/finance/orchestration/runs"


async def get(client: CheckedClient, world: World) -> dict[str, Any]:
    answer = await client.as_(world.keys["viewer"], "GET", f"{RUNS}/{world.finance.run_id}")
    assert answer.status_code == 200
    one: dict[str, Any] = answer.json()
    return one


async def store(db: "RolledBackDatabase", world: World, tasks: list[ProviderTaskRun]) -> None:
    space = world.finance
    async with db.tenant_transaction(space.id) as tx:
        await MirrorWriter(space.id, space.connector_id).store_task_runs(tx, tasks, space.pipelines)


async def in_space(db: "RolledBackDatabase", world: World, text: str, **parameters: object) -> int:
    async with db.tenant_transaction(world.finance.id) as tx:
        return await tx.execute(Query(text), **parameters)


async def comment(db: "RolledBackDatabase", world: World, run_id: UUID, task_run_id: UUID | None = None) -> None:
    await in_space(
        db,
        world,
        "INSERT INTO comments (space_id, run_id, task_run_id, author_id, content)"
        " VALUES (%(space_id)s, %(run_id)s, %(task_run_id)s, %(author_id)s, 'why?')",
        space_id=world.finance.id,
        run_id=run_id,
        task_run_id=task_run_id,
        author_id=world.users["viewer"],
    )


def order(run: dict[str, Any]) -> list[tuple[str, int | None]]:
    return [(task["external_id"], task["map_index"]) for task in run["task_runs"]]


async def test_a_run_has_everything_of_the_list_and_its_task_runs(client: CheckedClient, world: World) -> None:
    one = await get(client, world)
    path = f"/spaces/finance/orchestration/pipelines/{world.finance.pipelines['daily_report']}/runs"
    listed = (await client.as_(world.keys["viewer"], "GET", path)).json()[1]
    assert {name: one[name] for name in listed} == listed
    assert set(one) - set(listed) == {"provider_metadata", "task_runs"}
    assert one["provider_metadata"] == {"bundle_version": None}
    load = next(task for task in one["task_runs"] if task["external_id"] == "load")
    assert (
        load
        | {
            "id": str(world.finance.task_run_id),
            "run_id": str(world.finance.run_id),
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


async def test_tasks_stand_by_their_start_with_mapped_instances_together(
    client: CheckedClient, world: World, db: "RolledBackDatabase"
) -> None:
    assert order(await get(client, world)) == [
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
    async with db.tenant_transaction(world.finance.id) as tx:
        await tx.execute(Query("DELETE FROM task_runs WHERE run_id = %(id)s"), id=world.finance.run_id)
    await store(
        db,
        world,
        [
            a_task_run(
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
    assert order(await get(client, world)) == [
        ("zeta", None),
        ("mapped", 0),
        ("mapped", 2),
        ("mapped", 10),
        ("beta", None),
        ("alpha", None),
        ("late", 0),  # what stood for the task before it was expanded is gone
    ]


async def test_task_counts_follow_the_task_runs(client: CheckedClient, world: World, db: "RolledBackDatabase") -> None:
    assert (await get(client, world))["task_counts"] == {"success": 4, "failed": 1}
    await store(
        db,
        world,
        [
            a_task_run("daily_report", "r1", "load", "up_for_retry", try_number=2),
            a_task_run("daily_report", "r1", "new", "none"),
        ],
    )
    assert (await get(client, world))["task_counts"] == {"success": 4, "up_for_retry": 1, "none": 1}


async def test_a_run_without_task_runs_has_none(client: CheckedClient, world: World, db: "RolledBackDatabase") -> None:
    space = world.finance
    async with db.tenant_transaction(space.id) as tx:
        mirror = MirrorWriter(space.id, space.connector_id)
        stored = await mirror.store_runs(tx, [a_run("never_run", "first", "queued", minutes=None)], space.pipelines)
    (run_id,) = stored.ids
    one = (await client.as_(world.keys["viewer"], "GET", f"{RUNS}/{run_id}")).json()
    assert (one["task_runs"], one["task_counts"], one["comment_count"]) == ([], {}, 0)


async def test_comments_are_counted_on_the_run_and_on_the_task_run(
    client: CheckedClient, world: World, db: "RolledBackDatabase"
) -> None:
    space = world.finance
    await comment(db, world, space.run_id)
    one = await get(client, world)
    assert one["comment_count"] == 1
    assert {task["comment_count"] for task in one["task_runs"]} == {0}
    for _ in range(2):
        await comment(db, world, space.run_id, space.task_run_id)
    counts = {task["external_id"]: task["comment_count"] for task in (await get(client, world))["task_runs"]}
    assert counts == {"check": 0, "extract": 0, "load": 2}


@pytest.mark.parametrize("api_version", ["v1", "v2", None])
async def test_addresses_are_where_people_open_them_in_that_airflow(
    client: CheckedClient, world: World, db: "RolledBackDatabase", api_version: str | None
) -> None:
    path = f"/catalog/spaces/finance/connectors/{world.finance.connector_id}"
    config = {"web_url": "https://airflow.example.com/"}
    await client.as_(world.keys["editor"], "PATCH", path, json={"config": config})
    change = "UPDATE sync_states SET api_version = %(api_version)s WHERE connector_id = %(id)s"
    await in_space(db, world, change, api_version=api_version, id=world.finance.connector_id)
    one = await get(client, world)
    tasks = {(task["external_id"], task["map_index"]): task["provider_url"] for task in one["task_runs"]}
    dag = "https://airflow.example.com/dags/daily_report"
    if api_version == "v1":
        assert one["provider_url"] == f"{dag}/grid?dag_run_id=r1"
        assert tasks["load", None] == f"{dag}/grid?dag_run_id=r1&task_id=load"
        assert tasks["check", 2] == f"{dag}/grid?dag_run_id=r1&task_id=check&map_index=2"
    else:
        assert one["provider_url"] == f"{dag}/runs/r1"
        assert tasks["load", None] == f"{dag}/runs/r1/tasks/load"
        assert tasks["check", 2] == f"{dag}/runs/r1/tasks/check/mapped/2"


@pytest.mark.parametrize(
    ("age", "is_removed", "is_later"), [("-1 hour", False, False), ("1 hour", False, True), ("1 hour", True, False)]
)
async def test_it_is_true_as_of_its_row_or_the_last_complete_pass_that_saw_it(
    client: CheckedClient, world: World, db: "RolledBackDatabase", age: str, *, is_removed: bool, is_later: bool
) -> None:
    written = datetime.fromisoformat((await get(client, world))["last_synced_at"])
    change = "UPDATE sync_states SET last_complete_at = %(written)s::timestamptz + %(age)s::interval"
    await in_space(db, world, change, written=written, age=age)
    if is_removed:
        await in_space(db, world, "UPDATE runs SET removed_at = now() WHERE id = %(id)s", id=world.finance.run_id)
    shown = datetime.fromisoformat((await get(client, world))["last_synced_at"])
    assert shown == (written + timedelta(hours=1) if is_later else written)


async def test_the_etag_stands_until_something_changes(
    client: CheckedClient, world: World, db: "RolledBackDatabase"
) -> None:
    path, viewer = f"{RUNS}/{world.finance.run_id}", world.keys["viewer"]
    first = await client.as_(viewer, "GET", path)
    known = {"If-None-Match": first.headers["etag"]}
    assert (await client.as_(viewer, "GET", path, headers=known)).status_code == 304
    slashed = await client.as_(viewer, "GET", f"{path}/", headers=known)
    assert (slashed.status_code, slashed.headers["etag"]) == (304, first.headers["etag"])
    await comment(db, world, world.finance.run_id)
    changed = await client.as_(viewer, "GET", path, headers=known)
    assert (changed.status_code, changed.json()["comment_count"]) == (200, 1)


async def test_iterations_of_a_loop_are_told_apart_and_stand_in_their_order(
    client: CheckedClient, db: "RolledBackDatabase", world: World
) -> None:
    region, fork = "01a225c3-32c9-7722-8c9a-42d326709fb1", "01a225c3-5abb-7d17-b280-f9f83067672b"
    loop: dict[str, Any] = {"loop_id": "refine"}
    said = {"rendered_map_index": "shelf 7", "state_reason": "no such shop"}
    tasks = [
        a_task_run(
            "daily_report", "r1", "refine.guess", "failed", region_id=fork, region_index=1, loop_iteration=1, **loop
        ),
        a_task_run(
            "daily_report", "r1", "refine.guess", "success", region_id=region, region_index=0, loop_iteration=0, **loop
        ),
        a_task_run(
            "daily_report", "r1", "refine.look", "success", map_index=7, region_id=fork, region_index=7,
            loop_iteration=0, provider_metadata=said, **loop,
        ),
    ]  # fmt: skip
    await store(db, world, tasks)
    one = await get(client, world)
    rows = [task for task in one["task_runs"] if task["external_id"].startswith("refine.")]
    names = ("external_id", "map_index", "region_id", "region_index", "loop", "status")
    assert [tuple(row[name] for name in names) for row in rows] == [
        ("refine.guess", None, region, 0, {"id": "refine", "iteration": 0}, "success"),
        ("refine.guess", None, fork, 1, {"id": "refine", "iteration": 1}, "failed"),
        ("refine.look", 7, fork, 7, {"id": "refine", "iteration": 0}, "success"),
    ]
    assert (rows[2]["rendered_map_index"], rows[2]["state_reason"]) == ("shelf 7", "no such shop")
    assert rows[1]["provider_url"].endswith(f"/tasks/refine.guess?region_id={fork}&region_index=1")
    load = next(task for task in one["task_runs"] if task["external_id"] == "load")
    nothing = ("region_id", "region_index", "loop", "rendered_map_index", "state_reason")
    assert {name: load[name] for name in nothing} == dict.fromkeys(nothing)
    assert one["task_counts"] == {"success": 6, "failed": 2}
