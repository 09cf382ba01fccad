"""Comments: who may write, edit and delete them, and that nothing that was said is lost."""

from typing import TYPE_CHECKING, Any

import pytest

from factories import TwoTenants, make_run, make_task_run
from validating_client import ValidatingClient
from windsock.sync.writer import MirrorWriter

if TYPE_CHECKING:
    from conftest import RolledBackDatabase

pytestmark = pytest.mark.anyio
ORCHESTRATION = "/spaces/finance/orchestration"


async def say(client: ValidatingClient, tenants: TwoTenants, who: str, where: str, **body: Any) -> Any:
    response = await client.as_(tenants.keys[who], "POST", f"{ORCHESTRATION}/{where}/comments", json=body)
    assert response.status_code == 201, response.text
    return response.json()


async def list_comments(client: ValidatingClient, tenants: TwoTenants, where: str) -> list[Any]:
    response = await client.as_(tenants.keys["viewer"], "GET", f"{ORCHESTRATION}/{where}/comments")
    assert response.headers["x-total-count"] == str(len(response.json()))
    return response.json()  # type: ignore[no-any-return]


async def test_comments_are_listed_oldest_first_on_their_object(client: ValidatingClient, tenants: TwoTenants) -> None:
    run, task = f"runs/{tenants.finance.run_id}", f"task-runs/{tenants.finance.task_run_id}"
    first = await say(client, tenants, "viewer", run, content="  looks bad \n")
    reply = await say(client, tenants, "editor", run, content="on it", parent_id=first["id"])
    on_task = await say(client, tenants, "admin", task, content="this one")
    assert await list_comments(client, tenants, run) == [first, reply]
    assert await list_comments(client, tenants, task) == [on_task]
    assert first["content"] == "looks bad"
    assert (first["resource_type"], first["resource_id"]) == ("pipeline_run", str(tenants.finance.run_id))
    assert (on_task["resource_type"], on_task["resource_id"]) == ("task_run", str(tenants.finance.task_run_id))
    assert (reply["parent_id"], reply["author"]["name"], reply["is_edited"]) == (first["id"], "Editor", False)
    response = await client.as_(tenants.keys["viewer"], "GET", f"{ORCHESTRATION}/{run}")
    assert response.json()["comment_count"] == 2
    assert [item["comment_count"] for item in response.json()["task_runs"] if item["external_id"] == "load"] == [1]


@pytest.mark.parametrize("body", [{}, {"content": ""}, {"content": " \n"}, {"content": "x" * 10_001}, {"text": "x"}])
async def test_empty_or_too_long_comment_is_rejected(client: ValidatingClient, tenants: TwoTenants, body: Any) -> None:
    path = f"{ORCHESTRATION}/runs/{tenants.finance.run_id}/comments"
    assert (await client.as_(tenants.keys["viewer"], "POST", path, json=body)).status_code == 422
    assert (await client.as_(tenants.keys["viewer"], "POST", path, json={"content": "é" * 10_000})).status_code == 201


async def test_reply_must_target_comment_on_same_object(client: ValidatingClient, tenants: TwoTenants) -> None:
    on_task = await say(client, tenants, "viewer", f"task-runs/{tenants.finance.task_run_id}", content="here")
    response = await client.as_(
        tenants.keys["viewer"],
        "POST",
        f"{ORCHESTRATION}/runs/{tenants.finance.run_id}/comments",
        json={"content": "there", "parent_id": on_task["id"]},
    )
    assert (response.status_code, response.json()["detail"]) == (
        404,
        "There is no such comment to reply to in this space.",
    )


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_put_and_patch_edit_comment_only_for_author_and_mark_real_changes(
    client: ValidatingClient, tenants: TwoTenants, method: str
) -> None:
    created = await say(client, tenants, "viewer", f"runs/{tenants.finance.run_id}", content="one")
    path = f"{ORCHESTRATION}/comments/{created['id']}"
    same = await client.as_(tenants.keys["viewer"], method, path, json={"content": "one"})
    assert same.json() == created
    edited = await client.as_(tenants.keys["viewer"], method, path, json={"content": "two"})
    assert (edited.json()["content"], edited.json()["is_edited"]) == ("two", True)
    for who in ("editor", "admin", "superadmin"):
        assert (await client.as_(tenants.keys[who], method, path, json={"content": "x"})).status_code == 403


async def test_replies_survive_deletion_of_parent_comment(client: ValidatingClient, tenants: TwoTenants) -> None:
    run = f"runs/{tenants.finance.run_id}"
    first = await say(client, tenants, "viewer", run, content="first")
    reply = await say(client, tenants, "editor", run, content="reply", parent_id=first["id"])
    path = f"{ORCHESTRATION}/comments/{first['id']}"
    assert (await client.as_(tenants.keys["editor"], "DELETE", path)).status_code == 403
    assert (await client.as_(tenants.keys["admin"], "DELETE", path)).status_code == 204
    assert (await client.as_(tenants.keys["viewer"], "DELETE", path)).status_code == 404
    assert await list_comments(client, tenants, run) == [{**reply, "parent_id": None}]


async def test_comments_survive_cleared_run_and_expansion_of_mapped_task(
    client: ValidatingClient, tenants: TwoTenants, db: "RolledBackDatabase"
) -> None:
    space = tenants.finance
    mirror = MirrorWriter(space.id, space.connector_id)
    async with db.tenant_transaction(space.id) as tx:
        await mirror.store_task_runs(tx, [make_task_run("daily_report", "r1", "mapped", "none")], space.pipelines)
    run = f"{ORCHESTRATION}/runs/{space.run_id}"
    tasks = (await client.as_(tenants.keys["viewer"], "GET", run)).json()["task_runs"]
    placeholder = next(task["id"] for task in tasks if task["external_id"] == "mapped")
    await say(client, tenants, "viewer", f"task-runs/{placeholder}", content="why so slow?")
    await say(client, tenants, "viewer", f"runs/{space.run_id}", content="cleared it")
    async with db.tenant_transaction(space.id) as tx:
        await mirror.store_runs(
            tx, [make_run("daily_report", "r1", "queued", hours_ago=30, minutes=None)], space.pipelines
        )
        instances = [make_task_run("daily_report", "r1", "mapped", "success", map_index=index) for index in range(3)]
        await mirror.store_task_runs(tx, instances, space.pipelines)
    body = (await client.as_(tenants.keys["viewer"], "GET", run)).json()
    mapped = [
        (task["map_index"], task["comment_count"]) for task in body["task_runs"] if task["external_id"] == "mapped"
    ]
    assert (body["comment_count"], mapped) == (1, [(0, 1), (1, 0), (2, 0)])


async def test_comments_on_deleted_objects_stay_and_can_be_added(
    client: ValidatingClient, tenants: TwoTenants, db: "RolledBackDatabase"
) -> None:
    space = tenants.finance
    await say(client, tenants, "viewer", f"runs/{space.run_id}", content="who deletes runs?")
    await say(client, tenants, "viewer", f"task-runs/{space.task_run_id}", content="and tasks?")
    async with db.tenant_transaction(space.id):
        for table in ("runs", "task_runs"):
            await db.connection.execute(f"UPDATE {table} SET removed_at = now()".encode())  # noqa: S608
        await db.connection.execute("UPDATE pipelines SET removed_at = now(), is_active = false")
    run = (await client.as_(tenants.keys["viewer"], "GET", f"{ORCHESTRATION}/runs/{space.run_id}")).json()
    assert (run["removed_at"] is not None, run["comment_count"]) == (True, 1)
    for where in (f"runs/{space.run_id}", f"task-runs/{space.task_run_id}"):
        await say(client, tenants, "editor", where, content="me")
        listed = await client.as_(tenants.keys["viewer"], "GET", f"{ORCHESTRATION}/{where}/comments")
        assert [row["content"] for row in listed.json()][-1] == "me"
        assert listed.headers["X-Total-Count"] == "2"
