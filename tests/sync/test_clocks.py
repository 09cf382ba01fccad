"""Clocks that differ: of the host that answers, of the one that stamps rows, and ours. No change is missed for it."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow.harness import open_client
from fake_airflow.rows import Run, Task
from sync.harness import SyncHarness
from windsock.sync import clocks

pytestmark = pytest.mark.anyio

HOUR, YEAR = 3_600, 365 * 86_400


def shift(harness: SyncHarness, *, lag: float = 0, skew: float = 0, heartbeats: bool = True) -> None:
    """`lag`: rows are stamped so many seconds before the Date of the answers; `skew`: that is so far ahead of ours."""
    model, moved = harness.model, timedelta(seconds=skew - lag)
    harness.shows_clocks = True
    model.lag, model.skew = timedelta(seconds=lag), timedelta(seconds=skew)
    harness.fake.api.shows_heartbeats = heartbeats
    for row in rows_of(harness):
        row.updated_at += moved
        for name in ("queued_at", "started_at", "ended_at"):
            at = getattr(row, name)
            setattr(row, name, at and at + moved)


def rows_of(harness: SyncHarness) -> list[Run | Task]:
    return [*harness.model.runs.values(), *harness.model.tasks.values()]


async def again(harness: SyncHarness, seconds: float = 1) -> None:
    harness.model.let_pass(seconds)
    sync = await harness.sync(trigger="schedule")
    assert sync["status"] == "complete", sync["error"]


@pytest.mark.parametrize("skew", [0, 400, -400, HOUR])
@pytest.mark.parametrize("lag", [0, 25, 100, 300, 5 * HOUR, 3 * YEAR, -300])
async def test_changes_under_clock_skew_are_not_missed(harness: SyncHarness, lag: float, skew: float) -> None:
    """Of runs that have ended too, which only their stamps tell of."""
    await no_change_is_missed(harness, lag, skew)


@pytest.mark.parametrize("lag", [100, 300, 5 * HOUR])
async def test_changes_under_clock_lag_are_not_missed_in_per_dag_mode(harness: SyncHarness, lag: float) -> None:
    harness.fake.api.is_scoped = True
    await no_change_is_missed(harness, lag, 0)


async def test_clock_lag_found_after_first_sync_loses_no_change_in_per_dag_mode(
    harness: SyncHarness,
) -> None:
    harness.fake.api.is_scoped = True
    model, key = harness.model, ("news", "run_0")
    shift(harness, lag=300)
    await again(harness)
    model.runs[key].state = "failed"  # as the scheduler does it, without an entry in the log
    model.touch(model.runs[key])
    await again(harness, 1_200)
    assert (await harness.runs())[key]["status"] == "failed"


async def no_change_is_missed(harness: SyncHarness, lag: float, skew: float) -> None:
    shift(harness, lag=lag, skew=skew)
    await again(harness)
    await again(harness)
    model, key = harness.model, ("news", "run_0")
    for number in range(3):
        model.start_run("bills", f"fresh {number}")
        for _ in range(14):
            model.step(("bills", f"fresh {number}"))
        model.mark_run(key, ("failed", "success", "failed")[number])
        task = next(iter(model.tasks_of(key)))
        model.mark_task((*key, task.task_id, task.map_index), ("failed", "skipped", "failed")[number])
        await again(harness, 20)
        assert (await harness.runs())[key]["status"] == model.runs[key].state
        assert (await harness.tasks())[*key, task.task_id, task.map_index]["status"] == task.state
        assert (await harness.runs())["bills", f"fresh {number}"]["status"] == "success"


async def test_changes_before_clock_lag_was_detected_are_read_afterwards(harness: SyncHarness) -> None:
    """The look that decides breaks off, so that passes go on without it for a while."""
    shift(harness, lag=600)
    await again(harness)
    model, faults = harness.model, harness.fake.faults
    faults.where, faults.chance, faults.kinds = "health", 1.0, ("503",)
    model.mark_run(("news", "run_0"), "failed")
    await again(harness, 300)
    model.let_pass(300)
    faults.chance, faults.where = 0.0, ""
    await again(harness)
    assert (await harness.runs())["news", "run_0"]["status"] == "failed"


@pytest.mark.parametrize("measurements", [1, 2])
@pytest.mark.parametrize("skew", [0, 300, -300])
async def test_single_wrong_date_does_not_falsify_the_measured_clock_lag(
    harness: SyncHarness, monkeypatch: pytest.MonkeyPatch, skew: float, measurements: int
) -> None:
    """Of another host behind the same proxy, whose clock is four minutes behind. The second look tells."""
    monkeypatch.setattr(clocks, "MEASURED_EVERY", timedelta(0))
    shift(harness, lag=300, skew=skew)
    for _ in range(measurements):
        await again(harness, 20)
    faults = harness.fake.faults
    faults.where, faults.plan = "health", ["date behind"]
    await again(harness, 20)
    assert faults.met == ["date behind"]
    assert abs((await harness.state())["clocks"]["applied"] - 300) < 10


async def test_clock_difference_of_interrupted_pass_is_reused(harness: SyncHarness) -> None:
    shift(harness, lag=600)
    await again(harness)
    harness.model.mark_run(("news", "run_0"), "failed")
    faults = harness.fake.faults
    faults.where, faults.chance, faults.kinds = "dagRuns", 1.0, ("503",)
    assert (await harness.sync(trigger="schedule"))["status"] != "complete"
    faults.where, faults.chance = "", 0.0
    await again(harness)
    assert (await harness.runs())["news", "run_0"]["status"] == "failed"


async def test_response_without_date_does_not_end_the_measurement_of_the_clock_lag(harness: SyncHarness) -> None:
    shift(harness, lag=300)
    await again(harness)
    faults = harness.fake.faults
    faults.where, faults.plan = "health", ["wrong date"]
    await again(harness)
    assert faults.met == ["wrong date"]
    await again(harness)
    assert abs((await harness.state())["clocks"]["applied"] - 300) < 10


@pytest.mark.parametrize("is_scoped", [False, True])
async def test_clock_lag_found_after_interrupted_first_sync_loses_no_change(
    harness: SyncHarness, *, is_scoped: bool
) -> None:
    model, faults, key = harness.model, harness.fake.faults, ("bills", "fresh")
    harness.fake.api.is_scoped = is_scoped
    shift(harness, lag=9_000)
    model.start_run(*key, at=model.now())
    for _ in range(14):
        model.step(key)
    faults.where, faults.plan = "Runs", [None] * (6 if is_scoped else 2) + ["503"] * 20  # after one window, or one DAG
    assert (await harness.sync(trigger="schedule"))["status"] != "complete"
    assert (await harness.runs())[key]["status"] == "success"
    faults.where, faults.plan = "", []
    model.let_pass(60)
    model.runs[key].state = "failed"  # as the scheduler does it, without an entry in the log
    model.touch(model.runs[key])
    for _ in range(3):
        await again(harness, 1_200)
    assert (await harness.runs())[key]["status"] == "failed"


async def test_clock_lag_without_heartbeat_is_derived_from_run_end(harness: SyncHarness) -> None:
    shift(harness, lag=400, heartbeats=False)
    model, key = harness.model, ("news", "runs")
    model.start_run(*key)
    model.step(key)
    await again(harness)
    for _ in range(12):
        model.step(key, fails=True)
    await again(harness)
    assert (await harness.runs())[key]["status"] == "failed"
    await again(harness)
    model.mark_run(("news", "run_0"), "failed")
    await again(harness)
    assert (await harness.runs())["news", "run_0"]["status"] == "failed"
    clocks = (await harness.state())["clocks"]
    assert 400 <= clocks["applied"] < 460
    assert "behind" in clocks["sentence"]


@pytest.mark.parametrize("years", [-6, -1, 1, 6])
async def test_date_header_that_is_years_off_does_not_hide_runs(harness: SyncHarness, years: int) -> None:
    """Of a proxy: the host that stamps agrees with us, and beats or does not."""
    for heartbeats in (False, True):
        shift(harness, lag=years * YEAR, skew=years * YEAR, heartbeats=heartbeats)
        for row in rows_of(harness):
            row.updated_at = datetime.now(UTC) - timedelta(hours=1)
        await again(harness)
        assert len(await harness.runs()) == len(harness.model.runs)
        harness.model.start_run("bills", f"new {heartbeats}")
        await again(harness)
        assert ("bills", f"new {heartbeats}") in await harness.runs()


async def test_stopped_scheduler_is_not_mistaken_for_clock_lag(
    harness: SyncHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped_at = harness.model.now() - timedelta(days=3)
    monkeypatch.setattr(type(harness.model), "heartbeat", property(lambda _: stopped_at))
    await again(harness)
    await again(harness)
    clocks = (await harness.state())["clocks"]
    assert (clocks["is_pending"], clocks["applied"], clocks["sentence"]) == (False, 0.0, None)
    harness.fake.requests.clear()
    await again(harness)
    assert not [path for path in harness.fake.requests if "health" in path], "asked for once in five minutes"


async def freshness(harness: SyncHarness) -> Any:
    async with open_client(harness) as (client, key):
        (space,) = await harness.rows("SELECT slug FROM spaces WHERE id = %(id)s", {"id": harness.space_id})
        response = await client.get(
            f"/catalog/spaces/{space['slug']}/connectors/{harness.connector_id}",
            headers={"Authorization": f"Bearer {key}"},
        )
    return response.json()["freshness"]["clocks"]


@pytest.mark.parametrize(
    ("skew", "lag", "words"),
    [
        (0, 0, None),
        (2, 10, None),
        (240, 0, r"is \d min( \d+ s)? ahead of Windsock's"),
        (-240, 0, r"is \d min( \d+ s)? behind Windsock's"),
        (0, 300, r"\(the scheduler's\) is \d min( \d+ s)? behind"),
        (0, -300, r"\(the scheduler's\) is \d min( \d+ s)? ahead of"),
    ],
)
async def test_connector_reports_clock_difference(
    harness: SyncHarness, skew: float, lag: float, words: str | None
) -> None:
    shift(harness, skew=skew, lag=lag)
    await again(harness)
    harness.model.let_pass(1)
    sync = await harness.sync(trigger="schedule")
    clocks = await freshness(harness)
    if words is None:
        assert clocks["sentence"] is None
        assert sync["warnings"] == []
    else:
        assert re.search(words, clocks["sentence"])
        assert clocks["sentence"] in sync["warnings"]
    assert abs(clocks["ahead_of_ours_seconds"] - skew) < 4
    assert abs(clocks["stamps_behind_seconds"] - (lag if lag > 30 else 0)) < 10
