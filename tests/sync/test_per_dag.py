"""An account with rights on single DAGs: lists over all DAGs answer 403, so each DAG is asked by itself."""

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from sync.harness import SyncHarness
from windsock.connectors.store import get_connector
from windsock.db.database import Row
from windsock.sync import per_dag

pytestmark = pytest.mark.anyio


async def sync(harness: SyncHarness, **more: Any) -> Row:
    harness.fake.requests.clear()
    row = await harness.sync(trigger="schedule", **more)
    assert row["status"] == "complete", row["error"]
    return row


def count_requests(harness: SyncHarness, *parts: str) -> int:
    return sum(all(part in request for part in parts) for request in harness.fake.requests)


async def reads(harness: SyncHarness) -> dict[str, Row]:
    query = (
        "SELECT p.external_id, p.needs_backfill, r.* FROM pipelines p"
        " LEFT JOIN pipeline_reads r ON r.pipeline_id = p.id WHERE p.removed_at IS NULL"
    )
    return {row["external_id"]: row for row in await harness.rows(query)}


async def test_first_sync_mirrors_all_rows_per_dag(scoped: SyncHarness) -> None:
    row = await sync(scoped)
    assert (await scoped.state())["is_per_dag"] is True
    await scoped.settle()
    await scoped.assert_equal()
    assert any("each is read by itself: 3 of 3 pipelines in" in warning for warning in row["warnings"])


@pytest.mark.parametrize("is_full", [False, True])
async def test_old_run_that_changed_after_interrupted_first_sync_is_mirrored(
    scoped: SyncHarness, *, is_full: bool
) -> None:
    """Whole, a DAG is read as far back as the history goes; what changed since the first sync began goes beyond."""
    scoped.fake.faults.plan, scoped.fake.faults.where = ["503"] * 5, "dagRuns"
    first = await scoped.sync(trigger="schedule", is_full=is_full)
    state = await scoped.state()
    assert (first["status"] != "complete", state["is_per_dag"], state["backfill"] is not None) == (True, False, True)
    scoped.model.start_run("bills", "of last year", at=scoped.model.now() - timedelta(days=400))
    await sync(scoped, is_full=is_full)
    assert ("bills", "of last year") in await scoped.runs()


async def test_old_run_of_new_dag_is_mirrored_in_per_dag_mode(scoped: SyncHarness) -> None:
    await scoped.settle()
    scoped.model.let_pass(600)
    scoped.model.add_dag("fresh")
    scoped.model.start_run("fresh", "of last year", at=scoped.model.now() - timedelta(days=400))
    scoped.model.let_pass(600)
    await sync(scoped)
    assert ("fresh", "of last year") in await scoped.runs()


async def test_idle_sync_sends_two_requests_for_each_dag(scoped: SyncHarness) -> None:
    await scoped.settle()
    await sync(scoped)
    before = await scoped.row_versions()
    row = await sync(scoped)
    assert row["provider_requests"] == 2 + 2 * 3, scoped.fake.requests
    assert count_requests(scoped, "/~/dagRuns?") == count_requests(scoped, "/~/dagRuns/~/") == 0
    assert await scoped.row_versions() == before
    assert (await scoped.state())["last_complete_at"] == row["started_at"]


async def test_changes_of_every_kind_are_mirrored_in_per_dag_mode(scoped: SyncHarness) -> None:
    await scoped.settle()
    model = scoped.model
    for _ in range(3):
        model.let_pass(130)
        model.start_run("bills", at=model.now() - timedelta(minutes=3))
        for key in list(model.runs)[-2:]:
            model.step(key)
        model.mark_task(("news", "run_0", "load", -1), "failed")
        await sync(scoped)
        await scoped.assert_believable()
    await scoped.settle()
    await scoped.assert_equal()


async def test_deletions_are_found_by_totals_of_each_dag(scoped: SyncHarness) -> None:
    await scoped.settle()
    scoped.model.delete_run(("bills", "run_0"))
    scoped.model.delete_task(("news", "run_1", "load", -1))
    await scoped.settle()
    assert ("bills", "run_0") not in await scoped.runs()
    await scoped.assert_equal()


async def test_full_sync_reads_each_dag_and_removes_rows_missing_twice(scoped: SyncHarness) -> None:
    await scoped.settle()
    scoped.model.delete_run(("bills", "run_0"))
    first = await scoped.sync(is_full=True)
    assert (first["status"], first["is_full"], first["runs"]["removed"]) == ("complete", True, 0)
    second = await scoped.sync(is_full=True)
    assert second["runs"]["removed"] == 1
    assert (await scoped.state())["checkpoint"] is None
    await scoped.assert_equal()


async def test_account_that_loses_rights_on_all_dags_retains_its_mirror(harness: SyncHarness) -> None:
    """From lists over all DAGs to single ones, from the watermark on: nothing is read twice, nothing is lost."""
    await harness.settle()
    runs = await harness.runs()
    harness.model.let_pass(300)
    harness.model.start_run("news", "meanwhile")
    harness.fake.api.is_scoped = True
    row = await sync(harness)
    assert (await harness.state())["is_per_dag"] is True
    assert row["runs"]["created"] == 1
    assert (await harness.runs()).keys() == runs.keys() | {("news", "meanwhile")}
    await harness.settle()
    await harness.assert_equal()


async def test_global_lists_are_used_again_once_they_respond(scoped: SyncHarness) -> None:
    await scoped.settle()
    scoped.model.let_pass(300)
    scoped.model.start_run("bills", "before")
    await sync(scoped)
    scoped.fake.api.is_scoped = False
    scoped.model.let_pass(300)
    scoped.model.start_run("news", "after")
    await sync(scoped)
    assert (await scoped.state())["is_per_dag"] is True, "tried with the list of DAGs of every five minutes"
    await scoped.force_full_check()
    await sync(scoped)
    assert (await scoped.state())["is_per_dag"] is False
    assert await scoped.rows("SELECT * FROM pipeline_reads") == []
    scoped.fake.api.shows_events = True
    await scoped.settle()
    await scoped.assert_equal()
    assert (await sync(scoped))["provider_requests"] == 5, "bills has a run that has not ended"


async def test_refused_dag_is_skipped_with_warning_and_data_retained(scoped: SyncHarness) -> None:
    await scoped.settle()
    before = {key for key in await scoped.runs() if key[0] == "bills"}
    scoped.fake.api.refused = {"bills"}
    scoped.model.start_run("bills", "unseen")
    scoped.model.start_run("news", "seen")
    row = await sync(scoped)
    assert any("refuses the runs of 1 of its pipelines (bills)" in warning for warning in row["warnings"])
    for _ in range(3):
        await scoped.force_full_check()
        await sync(scoped)
    runs = await scoped.runs()
    assert ("news", "seen") in runs
    assert {key for key in runs if key[0] == "bills"} == before
    assert (await reads(scoped))["bills"]["needs_backfill"], "what is shown of it is not called up to date"

    scoped.fake.api.refused = set()
    await scoped.settle()
    assert ("bills", "unseen") in await scoped.runs()
    await scoped.assert_equal()


async def test_refused_dag_is_not_requested_by_every_sync(scoped: SyncHarness) -> None:
    scoped.fake.api.refused = {"bills"}
    await scoped.settle()
    await sync(scoped)
    await sync(scoped)
    assert count_requests(scoped, "/bills/") == 0


async def test_connector_excluding_all_dags_completes_without_runs(scoped: SyncHarness) -> None:
    await scoped.connect_to_double(include_tags=["none has it"])
    row = await sync(scoped)
    assert (row["status"], await scoped.runs()) == ("complete", {})
    await scoped.settle()


async def test_account_without_readable_dags_fails_with_403_in_few_requests(scoped: SyncHarness) -> None:
    scoped.fake.api.refused = {"bills", "mapped", "news"}
    row = await scoped.sync(trigger="schedule")
    assert row["status"] in {"partial", "failed"}
    assert "403" in row["error"]
    assert row["provider_requests"] < 15


async def test_transient_403_does_not_switch_to_per_dag_mode(harness: SyncHarness) -> None:
    await harness.settle()
    # In Airflow 3 twice: at the first one, Windsock signs in again.
    times = 2 if harness.model.api == "v2" else 1
    harness.fake.faults.plan, harness.fake.faults.where = ["403"] * times, "/~/dagRuns"
    row = await harness.sync(trigger="schedule")
    assert row["status"] in {"partial", "failed"}
    assert (await harness.state())["is_per_dag"] is False


async def test_many_dags_rotate_within_request_budget(scoped: SyncHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(per_dag, "MAX_REQUESTS", 10)
    monkeypatch.setattr(per_dag, "CHECK_EVERY", timedelta(days=9))
    for number in range(17):
        scoped.model.add_dag(f"more_{number:02}")
        scoped.model.start_run(f"more_{number:02}", "run", at=scoped.model.now() - timedelta(hours=2))
    for key in list(scoped.model.runs):
        scoped.model.mark_run(key, "success")
    first = await sync(scoped)
    state = await scoped.state()
    assert (state["next_sync_at"] - state["last_sync_at"]).total_seconds() < 3, "the others are read at once"
    assert first["provider_requests"] < 10 + 12 + 20
    for _ in range(8):
        await sync(scoped)
    assert not any(row["needs_backfill"] for row in (await reads(scoped)).values())
    await scoped.execute("UPDATE pipeline_reads SET reconciled_at = now()")
    scoped.model.let_pass(600)
    seen: dict[str, datetime] = {dag_id: row["read_at"] for dag_id, row in (await reads(scoped)).items()}
    for number in range(4):
        row = await sync(scoped)
        assert row["provider_requests"] <= 10 + 2 + 2, "the log, the DAGs"
        state = await scoped.state()
        now = await reads(scoped)
        oldest = min(item["read_at"] for item in now.values())
        assert state["last_complete_at"] in {oldest, row["started_at"]}, "as old as what was read longest ago"
        assert state["watermark"] == min(item["watermark"] for item in now.values())
        assert sum(now[dag_id]["read_at"] != at for dag_id, at in seen.items()) == 5 * (number + 1)


async def test_dags_with_unfinished_runs_are_read_first(scoped: SyncHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(9):
        scoped.model.add_dag(f"more_{number}")
    for key in list(scoped.model.runs):
        scoped.model.mark_run(key, "success")
    await scoped.settle()
    scoped.model.start_run("more_7", "now")
    await sync(scoped)
    await scoped.execute("UPDATE pipeline_reads SET reconciled_at = now()")
    monkeypatch.setattr(per_dag, "MAX_REQUESTS", 2)
    for _ in range(3):
        scoped.model.step(("more_7", "now"))
        await sync(scoped)
        assert count_requests(scoped, "/more_7/dagRuns?") == 1
        run = (await scoped.runs())["more_7", "now"]
        assert run["status"] == scoped.model.runs["more_7", "now"].state


async def test_dag_watermark_does_not_pass_rows_unstored_by_interrupted_sync(scoped: SyncHarness) -> None:
    await scoped.settle()
    scoped.model.let_pass(300)
    for dag_id in ("bills", "mapped", "news"):
        scoped.model.start_run(dag_id, "new")
    faults = scoped.fake.faults
    faults.chance, faults.kinds, faults.where = 1.0, ("503",), "/mapped/dagRuns/~/taskInstances"
    row = await scoped.sync(trigger="schedule")
    assert row["status"] == "partial"
    await scoped.assert_believable()
    faults.chance, faults.where = 0.0, ""
    scoped.model.let_pass(300)
    await sync(scoped)
    await scoped.settle()
    await scoped.assert_equal()


async def test_new_dag_is_backfilled(scoped: SyncHarness) -> None:
    await scoped.settle()
    scoped.model.add_dag("fresh")
    scoped.model.start_run("fresh", "old", at=scoped.model.now() - timedelta(days=3))
    for _ in range(8):
        scoped.model.step(("fresh", "old"))
    scoped.model.let_pass(1000)
    await sync(scoped)
    assert ("fresh", "old") in await scoped.runs()


async def test_connector_reports_per_dag_mode(scoped: SyncHarness) -> None:
    await scoped.settle()
    names = {"space_id": scoped.space_id, "connector_id": scoped.connector_id}
    async with scoped.db.tenant_transaction(scoped.space_id) as tx:
        freshness = orjson.loads((await get_connector(tx, **names))["freshness"])
    assert freshness["state"] == "fresh"
    assert freshness["is_per_dag"] is True
    assert "one by one" in freshness["reason"]
    assert datetime.now(UTC) - datetime.fromisoformat(freshness["as_of"]) < timedelta(minutes=1)
