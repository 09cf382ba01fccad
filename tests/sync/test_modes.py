"""What a poll costs decides how an Airflow is read; history comes in the background; retention goes in batches."""

from datetime import timedelta

import pytest

from sync.doubled import Doubled
from windsock.sync import changes, passes, retention

pytestmark = pytest.mark.anyio


async def test_a_dear_airflow_is_polled_for_the_news_of_two_days_and_read_whole_now_and_then(
    doubled: Doubled, monkeypatch: pytest.MonkeyPatch
) -> None:
    await doubled.settle()
    monkeypatch.setattr(changes, "DEAR_SECONDS", 0.0)
    monkeypatch.setattr(changes, "CHEAP_SECONDS", 0.0)
    await doubled.sync(trigger="schedule")
    assert (await doubled.state())["mode"] == "large"
    watermark = (await doubled.state())["watermark"]
    doubled.model.let_pass(130)
    doubled.model.start_run("bills", "new")
    doubled.model.mark_task(("news", "run_0", "load", -1), "failed")  # in a finished run: only a sweep sees it
    doubled.model.events.clear()
    doubled.double.asked.clear()
    quick = await doubled.sync(trigger="schedule")
    assert quick["runs"]["created"] == 1
    assert quick["task_runs"]["created"] == 2
    assert not any("~/taskInstances" in asked for asked in doubled.double.asked)
    assert (await doubled.state())["watermark"] == watermark, "only what reads all of it moves the mark"
    tasks = await doubled.tasks()
    assert tasks["news", "run_0", "load", -1]["status"] == "success"

    doubled.model.let_pass(400)
    await doubled.sync(trigger="schedule")
    await doubled.sync(trigger="schedule")
    assert (await doubled.state())["watermark"] > watermark
    await doubled.assert_equal()


async def test_a_cheap_airflow_leaves_the_large_mode(doubled: Doubled) -> None:
    await doubled.settle()
    await doubled.execute("UPDATE sync_states SET mode = 'large' WHERE space_id = %(space_id)s")
    await doubled.sync(trigger="manual")
    assert (await doubled.state())["mode"] == "small"


async def test_the_first_sync_shows_the_newest_and_the_rest_comes_in_the_background(
    doubled: Doubled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passes, "HISTORY_SECONDS", 0.0)
    model = doubled.model
    model.start_run("news", "today", at=model.now() - timedelta(minutes=5))
    model.start_run("bills", "long_ago", at=model.now() - timedelta(days=13))
    first = await doubled.sync(trigger="schedule")
    assert first["status"] == "complete"
    assert [key[1] for key in await doubled.runs()] == ["today"]
    shares = [0.0]
    for _ in range(20):
        state = await doubled.state()
        assert (state["next_sync_at"] - state["last_sync_at"]).total_seconds() < 2
        model.step(("news", "today"))
        await doubled.sync(trigger="schedule")
        state = await doubled.state()
        assert (await doubled.runs())["news", "today"]["status"] == model.runs["news", "today"].state, "news come first"
        shares.append(len(await doubled.runs()))
        if state["history"]["is_complete"]:
            break
    assert shares == sorted(shares)
    await doubled.assert_equal()
    assert (state["next_sync_at"] - state["last_sync_at"]).total_seconds() > 30


async def test_retention_deletes_in_batches_and_old_runs_do_not_come_back(
    doubled: Doubled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "BATCH", 2)
    model = doubled.model
    for days in range(1, 9):
        model.start_run("bills", f"old_{days}", at=model.now() - timedelta(days=days))
        model.mark_run(("bills", f"old_{days}"), "success")
    await doubled.settle()
    await doubled.execute("UPDATE spaces SET retention_days = 5 WHERE id = %(space_id)s")
    assert await retention.tidy(doubled.db) == 4
    assert len(await doubled.runs()) == 10
    (strip,) = await doubled.rows(
        "SELECT s.recent_runs FROM pipeline_strips s JOIN pipelines p ON p.id = s.pipeline_id"
        " WHERE p.external_id = 'bills'"
    )
    assert len(strip["recent_runs"]) == 6
    for _ in range(2):
        await doubled.look_closely()
        await doubled.sync(trigger="schedule")
    await doubled.sync(is_full=True)
    assert len(await doubled.runs()) == 10
    assert await retention.tidy(doubled.db) == 0


async def test_a_server_without_a_clock_is_asked_for_more(doubled: Doubled) -> None:
    """One whose clock is behind ours, and whose answers have no Date, must not lose what it changes."""
    await doubled.settle()
    doubled.model.skew = timedelta(minutes=-5)
    doubled.double.faults.plan = ["wrong date"] * 30
    await doubled.sync(trigger="schedule")
    doubled.model.start_run("news", "late")
    doubled.double.faults.plan = ["wrong date"] * 30
    await doubled.sync(trigger="schedule")
    assert ("news", "late") in await doubled.runs()
