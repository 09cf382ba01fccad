"""Deletion and return: what is gone, what only seems so, and what a person has to decide."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from airflow.harness import open_client
from fake_airflow.model import Model
from sync.harness import SyncHarness

pytestmark = pytest.mark.anyio

CONNECTOR = "/catalog/spaces/{slug}/connectors/{id}"


async def freshness(harness: SyncHarness, method: str = "GET", tail: str = "", **more: Any) -> Any:
    async with open_client(harness, f"{uuid4().hex}@example.com") as (client, key):
        (space,) = await harness.rows("SELECT slug FROM spaces WHERE id = current_space()")
        path = CONNECTOR.format(slug=space["slug"], id=harness.connector_id) + tail
        response = await client.as_(key, method, path, **more)
        assert response.is_success, response.text
        return response.json()["freshness"]


async def listed(harness: SyncHarness) -> dict[str, bool]:
    rows = await harness.rows("SELECT external_id, is_active FROM pipelines")
    return {row["external_id"]: row["is_active"] for row in rows}


async def full_check(harness: SyncHarness) -> Any:
    await harness.force_full_check()
    return await harness.sync(trigger="schedule")


async def test_mass_deletion_of_pipelines_is_quarantined_until_accepted(harness: SyncHarness) -> None:
    for number in range(17):
        harness.model.add_dag(f"more_{number:02}")
    await harness.settle()
    harness.fake.api.visible = {"bills", "mapped", *(f"more_{number:02}" for number in range(10))}
    for _ in range(3):
        sync = await full_check(harness)
        assert sync["status"] == "complete"
        assert sync["warnings"]
    assert all((await listed(harness)).values()), "nothing was taken away"
    body = await freshness(harness)
    assert body["held"]["kind"] == "mass_loss"
    assert body["held"]["missing"]["pipelines"] == 8
    assert "8 of 20 pipelines" in body["reason"]
    assert body["held"]["examples"][0] == "more_10"

    harness.fake.api.visible = None
    await full_check(harness)
    assert (await freshness(harness))["held"] is None, "they are back, and nobody had to do anything"

    harness.fake.api.visible = {"bills"}
    for _ in range(2):
        await full_check(harness)
    body = await freshness(harness, "POST", "/accept", json={"kind": "mass_loss"})
    assert body["held"] is None
    assert [name for name, is_active in (await listed(harness)).items() if is_active] == ["bills"]
    assert len(await harness.rows("SELECT id FROM runs")) == 6, "their history stays"


async def test_few_deleted_pipelines_are_removed_after_two_checks_and_can_return(harness: SyncHarness) -> None:
    harness.fake.api.shows_events = False
    await harness.settle()
    harness.model.delete_dag("news")
    first = await full_check(harness)
    assert first["pipelines"]["removed"] == 0
    second = await full_check(harness)
    assert second["pipelines"]["removed"] == 1
    assert (await listed(harness))["news"] is False
    harness.model.add_dag("news")
    await full_check(harness)
    assert (await listed(harness))["news"] is True


async def test_hundreds_of_logged_deletions_take_several_syncs_and_are_no_mass_loss(
    harness: SyncHarness,
) -> None:
    model = harness.model
    for number in range(250):
        model.start_run("bills", f"more_{number}", at=model.now() - timedelta(minutes=number))
    await harness.settle()
    for number in range(250):
        model.delete_run(("bills", f"more_{number}"))
    removed = []
    for _ in range(3):
        removed.append((await harness.sync(trigger="schedule"))["runs"]["removed"])
        state = await harness.state()
        assert (state["next_sync_at"] - state["last_sync_at"]).total_seconds() < 2 or len(removed) == 3
    assert removed == [100, 100, 50]
    await harness.assert_equal()
    assert (await freshness(harness))["held"] is None


async def test_run_id_reused_between_syncs_with_same_date_retains_run_and_comments(harness: SyncHarness) -> None:
    await harness.settle()
    (run,) = await harness.rows(
        "SELECT r.id FROM runs r JOIN pipelines p ON p.id = r.pipeline_id"
        " WHERE p.external_id = 'mapped' AND r.external_id = 'run_0'"
    )
    comment = "INSERT INTO comments (space_id, run_id, content) VALUES (%(space_id)s, %(id)s, 'why?')"
    await harness.execute(comment, {"id": run["id"]})
    at = harness.model.runs["mapped", "run_0"].run_after
    harness.model.delete_run(("mapped", "run_0"))
    harness.model.start_run("mapped", "run_0", at=at)
    await harness.sync(trigger="schedule")
    await harness.sync(trigger="schedule")
    await harness.assert_equal()
    (again,) = await harness.rows("SELECT r.status, r.id FROM runs r JOIN comments c ON c.run_id = r.id")
    assert again == {"status": "queued", "id": run["id"]}


async def test_reused_run_id_shows_new_tasks_without_event_log(harness: SyncHarness) -> None:
    """Its mapped task is not expanded yet; that the instances of before are gone is only found out later."""
    harness.fake.api.shows_events = False
    await harness.settle()
    at = harness.model.runs["mapped", "run_0"].run_after
    assert ("mapped", "run_0", "load", 0) in await harness.tasks()
    harness.model.delete_run(("mapped", "run_0"))
    harness.model.start_run("mapped", "run_0", at=at)
    await harness.sync(trigger="schedule")
    assert ("mapped", "run_0", "load", -1) in await harness.tasks()
    await harness.settle()
    await harness.assert_equal()


async def test_runs_removed_by_airflow_db_clean_are_archived(harness: SyncHarness) -> None:
    model = harness.model
    for days in range(8, 14):
        model.start_run("bills", f"old_{days}", at=model.now() - timedelta(days=days))
        for _ in range(14):
            model.step(("bills", f"old_{days}"))
    await harness.settle()
    before = len(await harness.runs())
    model.clean_up(model.now() - timedelta(days=8, hours=12))
    for _ in range(4):
        await full_check(harness)
    rows = await harness.rows("SELECT external_id, removed_at FROM runs WHERE archived_at IS NOT NULL")
    assert {row["external_id"] for row in rows} == {f"old_{days}" for days in range(9, 14)}
    assert {row["removed_at"] for row in rows} == {None}
    assert len(await harness.runs()) == before - 5
    before_requests = len(harness.fake.requests)
    await full_check(harness)
    assert len(harness.fake.requests) - before_requests < 15, "what is archived is not looked for again"


async def test_another_airflow_is_refused_until_accepted(harness: SyncHarness) -> None:
    await harness.settle()
    before = await harness.row_versions()
    mine, other = harness.fake.model, Model(harness.fake.model.api)
    for dag_id in ("bills", "mapped", "news"):  # staging has the same DAGs and run ids, begun at other moments
        other.add_dag(dag_id)
        for number in range(2):
            other.start_run(dag_id, f"run_{number}", at=mine.runs[dag_id, f"run_{number}"].run_after)
            for _ in range(14):
                other.step((dag_id, f"run_{number}"))
    harness.fake.api.model = harness.fake.model = other
    refused = await full_check(harness)
    assert refused["status"] == "failed"
    assert "Another Airflow" in refused["error"]
    assert await harness.row_versions() == before
    body = await freshness(harness)
    assert (body["state"], body["held"]["kind"]) == ("held", "other_airflow")

    harness.fake.api.model = harness.fake.model = mine
    assert (await full_check(harness))["status"] == "complete", "the right one is back"
    assert (await freshness(harness))["state"] == "fresh"

    harness.fake.api.model = harness.fake.model = harness.model = other
    await full_check(harness)
    await freshness(harness, "POST", "/accept", json={"kind": "other_airflow"})
    await harness.settle()
    await harness.assert_equal()


async def test_same_airflow_at_new_url_is_recognised(harness: SyncHarness) -> None:
    await harness.settle()
    await harness.execute(
        'UPDATE connectors SET config = config || \'{"base_url": "http://moved"}\' WHERE space_id = %(space_id)s'
    )
    assert (await full_check(harness))["status"] == "complete"
    assert (await harness.state())["identity_base_url"] == "http://moved"


@pytest.mark.parametrize("harness", ["v2"], indirect=True)
async def test_simultaneous_loss_of_all_task_runs_is_quarantined(harness: SyncHarness) -> None:
    harness.fake.api.shows_events = False
    model = harness.model
    for number in range(30):
        model.start_run("bills", f"more_{number}", at=model.now() - timedelta(hours=4))
    await harness.settle()
    for key in list(model.tasks):
        del model.tasks[key]  # as a list that is empty though it should not be
    for _ in range(3):
        sync = await full_check(harness)
        assert sync["task_runs"]["removed"] == 0
    assert "task runs" in (await freshness(harness))["held"]["reason"]
