"""Deletion and return: what is gone, what only seems so, and what a person has to decide."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from airflow.mirrored import a_client
from airflow_double.model import Model
from sync.doubled import Doubled

pytestmark = pytest.mark.anyio

CONNECTOR = "/catalog/spaces/{slug}/connectors/{id}"


async def freshness(doubled: Doubled, method: str = "GET", tail: str = "", **more: Any) -> Any:
    async with a_client(doubled, f"{uuid4().hex}@example.com") as (client, key):
        (space,) = await doubled.rows("SELECT slug FROM spaces WHERE id = current_space()")
        path = CONNECTOR.format(slug=space["slug"], id=doubled.connector_id) + tail
        answer = await client.as_(key, method, path, **more)
        assert answer.is_success, answer.text
        return answer.json()["freshness"]


async def listed(doubled: Doubled) -> dict[str, bool]:
    rows = await doubled.rows("SELECT external_id, is_active FROM pipelines")
    return {row["external_id"]: row["is_active"] for row in rows}


async def look(doubled: Doubled) -> Any:
    await doubled.look_closely()
    return await doubled.sync(trigger="schedule")


async def test_a_sudden_loss_of_many_pipelines_is_held_until_somebody_accepts_it(doubled: Doubled) -> None:
    for number in range(17):
        doubled.model.add_dag(f"more_{number:02}")
    await doubled.settle()
    doubled.double.api.visible = {"bills", "mapped", *(f"more_{number:02}" for number in range(10))}
    for _ in range(3):
        sync = await look(doubled)
        assert sync["status"] == "complete"
        assert sync["warnings"]
    assert all((await listed(doubled)).values()), "nothing was taken away"
    told = await freshness(doubled)
    assert told["held"]["kind"] == "mass_loss"
    assert told["held"]["missing"]["pipelines"] == 8
    assert "8 of 20 pipelines" in told["reason"]
    assert told["held"]["examples"][0] == "more_10"

    doubled.double.api.visible = None
    await look(doubled)
    assert (await freshness(doubled))["held"] is None, "they are back, and nobody had to do anything"

    doubled.double.api.visible = {"bills"}
    for _ in range(2):
        await look(doubled)
    told = await freshness(doubled, "POST", "/accept", json={"kind": "mass_loss"})
    assert told["held"] is None
    assert [name for name, is_active in (await listed(doubled)).items() if is_active] == ["bills"]
    assert len(await doubled.rows("SELECT id FROM runs")) == 6, "their history stays"


async def test_a_few_deleted_pipelines_go_after_two_looks_and_come_back(doubled: Doubled) -> None:
    doubled.double.api.shows_events = False
    await doubled.settle()
    doubled.model.delete_dag("news")
    first = await look(doubled)
    assert first["pipelines"]["removed"] == 0
    second = await look(doubled)
    assert second["pipelines"]["removed"] == 1
    assert (await listed(doubled))["news"] is False
    doubled.model.add_dag("news")
    await look(doubled)
    assert (await listed(doubled))["news"] is True


async def test_hundreds_of_deletions_at_once_are_followed_by_several_syncs_and_not_taken_for_a_mass_loss(
    doubled: Doubled,
) -> None:
    model = doubled.model
    for number in range(250):
        model.start_run("bills", f"more_{number}", at=model.now() - timedelta(minutes=number))
    await doubled.settle()
    for number in range(250):
        model.delete_run(("bills", f"more_{number}"))
    removed = []
    for _ in range(3):
        removed.append((await doubled.sync(trigger="schedule"))["runs"]["removed"])
        state = await doubled.state()
        assert (state["next_sync_at"] - state["last_sync_at"]).total_seconds() < 2 or len(removed) == 3
    assert removed == [100, 100, 50]
    await doubled.assert_equal()
    assert (await freshness(doubled))["held"] is None


async def test_a_run_id_that_is_used_again_is_the_same_run_with_its_comments(doubled: Doubled) -> None:
    await doubled.settle()
    (run,) = await doubled.rows(
        "SELECT r.id FROM runs r JOIN pipelines p ON p.id = r.pipeline_id"
        " WHERE p.external_id = 'mapped' AND r.external_id = 'run_0'"
    )
    comment = "INSERT INTO comments (space_id, run_id, content) VALUES (%(space_id)s, %(id)s, 'why?')"
    await doubled.execute(comment, {"id": run["id"]})
    at = doubled.model.runs["mapped", "run_0"].run_after
    doubled.model.delete_run(("mapped", "run_0"))
    doubled.model.start_run("mapped", "run_0", at=at)
    await doubled.sync(trigger="schedule")
    await doubled.sync(trigger="schedule")
    await doubled.assert_equal()
    (again,) = await doubled.rows("SELECT r.status, r.id FROM runs r JOIN comments c ON c.run_id = r.id")
    assert again == {"status": "queued", "id": run["id"]}


async def test_a_run_id_used_again_shows_its_new_tasks_at_once_without_a_log_that_says_so(doubled: Doubled) -> None:
    """Its mapped task is not expanded yet; that the instances of before are gone is only found out later."""
    doubled.double.api.shows_events = False
    await doubled.settle()
    at = doubled.model.runs["mapped", "run_0"].run_after
    assert ("mapped", "run_0", "load", 0) in await doubled.tasks()
    doubled.model.delete_run(("mapped", "run_0"))
    doubled.model.start_run("mapped", "run_0", at=at)
    await doubled.sync(trigger="schedule")
    assert ("mapped", "run_0", "load", -1) in await doubled.tasks()
    await doubled.settle()
    await doubled.assert_equal()


async def test_history_outlives_the_clean_up_of_airflow(doubled: Doubled) -> None:
    model = doubled.model
    for days in range(8, 14):
        model.start_run("bills", f"old_{days}", at=model.now() - timedelta(days=days))
        for _ in range(14):
            model.step(("bills", f"old_{days}"))
    await doubled.settle()
    before = len(await doubled.runs())
    model.clean_up(model.now() - timedelta(days=8, hours=12))
    for _ in range(4):
        await look(doubled)
    rows = await doubled.rows("SELECT external_id, removed_at FROM runs WHERE archived_at IS NOT NULL")
    assert {row["external_id"] for row in rows} == {f"old_{days}" for days in range(9, 14)}
    assert {row["removed_at"] for row in rows} == {None}
    assert len(await doubled.runs()) == before - 5
    asked = len(doubled.double.asked)
    await look(doubled)
    assert len(doubled.double.asked) - asked < 15, "what is archived is not looked for again"


async def test_another_airflow_is_refused_until_it_is_accepted(doubled: Doubled) -> None:
    await doubled.settle()
    before = await doubled.everything()
    mine, other = doubled.double.model, Model(doubled.double.model.api)
    for dag_id in ("bills", "mapped", "news"):  # staging has the same DAGs and run ids, begun at other moments
        other.add_dag(dag_id)
        for number in range(2):
            other.start_run(dag_id, f"run_{number}", at=mine.runs[dag_id, f"run_{number}"].run_after)
            for _ in range(14):
                other.step((dag_id, f"run_{number}"))
    doubled.double.api.model = doubled.double.model = other
    refused = await look(doubled)
    assert refused["status"] == "failed"
    assert "Another Airflow" in refused["error"]
    assert await doubled.everything() == before
    told = await freshness(doubled)
    assert (told["state"], told["held"]["kind"]) == ("held", "other_airflow")

    doubled.double.api.model = doubled.double.model = mine
    assert (await look(doubled))["status"] == "complete", "the right one is back"
    assert (await freshness(doubled))["state"] == "fresh"

    doubled.double.api.model = doubled.double.model = doubled.model = other
    await look(doubled)
    await freshness(doubled, "POST", "/accept", json={"kind": "other_airflow"})
    await doubled.settle()
    await doubled.assert_equal()


async def test_a_new_address_of_the_same_airflow_is_recognised(doubled: Doubled) -> None:
    await doubled.settle()
    await doubled.execute(
        'UPDATE connectors SET config = config || \'{"base_url": "http://moved"}\' WHERE space_id = %(space_id)s'
    )
    assert (await look(doubled))["status"] == "complete"
    assert (await doubled.state())["address"] == "http://moved"


@pytest.mark.parametrize("doubled", ["v2"], indirect=True)
async def test_task_runs_that_all_vanish_at_once_are_held(doubled: Doubled) -> None:
    doubled.double.api.shows_events = False
    model = doubled.model
    for number in range(30):
        model.start_run("bills", f"more_{number}", at=model.now() - timedelta(hours=4))
    await doubled.settle()
    for key in list(model.tasks):
        del model.tasks[key]  # as a list that is empty though it should not be
    for _ in range(3):
        sync = await look(doubled)
        assert sync["task_runs"]["removed"] == 0
    assert "task runs" in (await freshness(doubled))["held"]["reason"]
