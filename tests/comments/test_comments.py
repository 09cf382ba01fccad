"""Comments: who may write, edit and delete them, and that nothing that was said is lost."""

from typing import TYPE_CHECKING, Any

import pytest

from checking import CheckedClient
from windsock.sync.writer import MirrorWriter
from world import World, a_run, a_task_run

if TYPE_CHECKING:
    from conftest import RolledBackDatabase

pytestmark = pytest.mark.anyio
ORCHESTRATION = "/spaces/finance/orchestration"


async def say(client: CheckedClient, world: World, who: str, where: str, **body: Any) -> Any:
    answer = await client.as_(world.keys[who], "POST", f"{ORCHESTRATION}/{where}/comments", json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def said(client: CheckedClient, world: World, where: str) -> list[Any]:
    answer = await client.as_(world.keys["viewer"], "GET", f"{ORCHESTRATION}/{where}/comments")
    assert answer.headers["x-total-count"] == str(len(answer.json()))
    return answer.json()  # type: ignore[no-any-return]


async def test_comments_are_listed_oldest_first_where_they_were_made(client: CheckedClient, world: World) -> None:
    run, task = f"runs/{world.finance.run_id}", f"task-runs/{world.finance.task_run_id}"
    first = await say(client, world, "viewer", run, content="  looks bad \n")
    reply = await say(client, world, "editor", run, content="on it", parent_id=first["id"])
    on_task = await say(client, world, "admin", task, content="this one")
    assert await said(client, world, run) == [first, reply]
    assert await said(client, world, task) == [on_task]
    assert first["content"] == "looks bad"
    assert (first["resource_type"], first["resource_id"]) == ("pipeline_run", str(world.finance.run_id))
    assert (on_task["resource_type"], on_task["resource_id"]) == ("task_run", str(world.finance.task_run_id))
    assert (reply["parent_id"], reply["author"]["name"], reply["is_edited"]) == (first["id"], "Editor", False)
    answer = await client.as_(world.keys["viewer"], "GET", f"{ORCHESTRATION}/{run}")
    assert answer.json()["comment_count"] == 2
    assert [one["comment_count"] for one in answer.json()["task_runs"] if one["external_id"] == "load"] == [1]


@pytest.mark.parametrize("body", [{}, {"content": ""}, {"content": " \n"}, {"content": "x" * 10_001}, {"text": "x"}])
async def test_nothing_and_too_much_is_refused(client: CheckedClient, world: World, body: Any) -> None:
    path = f"{ORCHESTRATION}/runs/{world.finance.run_id}/comments"
    assert (await client.as_(world.keys["viewer"], "POST", path, json=body)).status_code == 422
    assert (await client.as_(world.keys["viewer"], "POST", path, json={"content": "é" * 10_000})).status_code == 201


async def test_a_reply_answers_a_comment_on_the_same_thing(client: CheckedClient, world: World) -> None:
    on_task = await say(client, world, "viewer", f"task-runs/{world.finance.task_run_id}", content="here")
    answer = await client.as_(
        world.keys["viewer"],
        "POST",
        f"{ORCHESTRATION}/runs/{world.finance.run_id}/comments",
        json={"content": "there", "parent_id": on_task["id"]},
    )
    assert (answer.status_code, answer.json()["detail"]) == (404, "There is no such comment to reply to in this space.")


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_both_verbs_edit_alike_and_only_a_change_counts(client: CheckedClient, world: World, method: str) -> None:
    made = await say(client, world, "viewer", f"runs/{world.finance.run_id}", content="one")
    path = f"{ORCHESTRATION}/comments/{made['id']}"
    same = await client.as_(world.keys["viewer"], method, path, json={"content": "one"})
    assert same.json() == made
    edited = await client.as_(world.keys["viewer"], method, path, json={"content": "two"})
    assert (edited.json()["content"], edited.json()["is_edited"]) == ("two", True)
    for who in ("editor", "admin", "superadmin"):
        assert (await client.as_(world.keys[who], method, path, json={"content": "x"})).status_code == 403


async def test_replies_outlive_what_they_reply_to(client: CheckedClient, world: World) -> None:
    run = f"runs/{world.finance.run_id}"
    first = await say(client, world, "viewer", run, content="first")
    reply = await say(client, world, "editor", run, content="reply", parent_id=first["id"])
    path = f"{ORCHESTRATION}/comments/{first['id']}"
    assert (await client.as_(world.keys["editor"], "DELETE", path)).status_code == 403
    assert (await client.as_(world.keys["admin"], "DELETE", path)).status_code == 204
    assert (await client.as_(world.keys["viewer"], "DELETE", path)).status_code == 404
    assert await said(client, world, run) == [{**reply, "parent_id": None}]


async def test_comments_outlive_a_cleared_run_and_the_placeholder_of_a_mapped_task(
    client: CheckedClient, world: World, db: "RolledBackDatabase"
) -> None:
    space = world.finance
    mirror = MirrorWriter(space.id, space.connector_id)
    async with db.tenant_transaction(space.id) as tx:
        await mirror.store_task_runs(tx, [a_task_run("daily_report", "r1", "mapped", "none")], space.pipelines)
    run = f"{ORCHESTRATION}/runs/{space.run_id}"
    tasks = (await client.as_(world.keys["viewer"], "GET", run)).json()["task_runs"]
    placeholder = next(one["id"] for one in tasks if one["external_id"] == "mapped")
    await say(client, world, "viewer", f"task-runs/{placeholder}", content="why so slow?")
    await say(client, world, "viewer", f"runs/{space.run_id}", content="cleared it")
    async with db.tenant_transaction(space.id) as tx:
        await mirror.store_runs(
            tx, [a_run("daily_report", "r1", "queued", hours_ago=30, minutes=None)], space.pipelines
        )
        instances = [a_task_run("daily_report", "r1", "mapped", "success", map_index=index) for index in range(3)]
        await mirror.store_task_runs(tx, instances, space.pipelines)
    one = (await client.as_(world.keys["viewer"], "GET", run)).json()
    mapped = [
        (task["map_index"], task["comment_count"]) for task in one["task_runs"] if task["external_id"] == "mapped"
    ]
    assert (one["comment_count"], mapped) == (1, [(0, 1), (1, 0), (2, 0)])


async def test_comments_on_what_airflow_deleted_stay_and_more_can_be_said(
    client: CheckedClient, world: World, db: "RolledBackDatabase"
) -> None:
    space = world.finance
    await say(client, world, "viewer", f"runs/{space.run_id}", content="who deletes runs?")
    await say(client, world, "viewer", f"task-runs/{space.task_run_id}", content="and tasks?")
    async with db.tenant_transaction(space.id):
        for table in ("runs", "task_runs"):
            await db.connection.execute(f"UPDATE {table} SET removed_at = now()".encode())  # noqa: S608
        await db.connection.execute("UPDATE pipelines SET removed_at = now(), is_active = false")
    run = (await client.as_(world.keys["viewer"], "GET", f"{ORCHESTRATION}/runs/{space.run_id}")).json()
    assert (run["removed_at"] is not None, run["comment_count"]) == (True, 1)
    for where in (f"runs/{space.run_id}", f"task-runs/{space.task_run_id}"):
        await say(client, world, "editor", where, content="me")
        listed = await client.as_(world.keys["viewer"], "GET", f"{ORCHESTRATION}/{where}/comments")
        assert [one["content"] for one in listed.json()][-1] == "me"
        assert listed.headers["X-Total-Count"] == "2"
