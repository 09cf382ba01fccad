"""Clocks that differ: of the host that answers, of the one that stamps rows, and ours. No change is missed for it."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow.mirrored import a_client
from airflow_double.rows import Run, Task
from sync.doubled import Doubled

pytestmark = pytest.mark.anyio

HOUR, YEAR = 3_600, 365 * 86_400


def shift(doubled: Doubled, *, lag: float = 0, skew: float = 0, heartbeats: bool = True) -> None:
    """`lag`: rows are stamped so many seconds before the Date of the answers; `skew`: that is so far ahead of ours."""
    model, moved = doubled.model, timedelta(seconds=skew - lag)
    doubled.shows_clocks = True
    model.lag, model.skew = timedelta(seconds=lag), timedelta(seconds=skew)
    doubled.double.api.shows_heartbeats = heartbeats
    for row in rows_of(doubled):
        row.updated_at += moved
        for name in ("queued_at", "started_at", "ended_at"):
            at = getattr(row, name)
            setattr(row, name, at and at + moved)


def rows_of(doubled: Doubled) -> list[Run | Task]:
    return [*doubled.model.runs.values(), *doubled.model.tasks.values()]


async def again(doubled: Doubled, seconds: float = 1) -> None:
    doubled.model.let_pass(seconds)
    sync = await doubled.sync(trigger="schedule")
    assert sync["status"] == "complete", sync["error"]


@pytest.mark.parametrize("skew", [0, 400, -400, HOUR])
@pytest.mark.parametrize("lag", [0, 25, 100, 300, 5 * HOUR, 3 * YEAR, -300])
async def test_whatever_the_clocks_say_no_change_is_missed(doubled: Doubled, lag: float, skew: float) -> None:
    """Of runs that have ended too, which only their stamps tell of."""
    await no_change_is_missed(doubled, lag, skew)


@pytest.mark.parametrize("lag", [100, 300, 5 * HOUR])
async def test_no_change_is_missed_where_each_dag_is_read_by_itself(doubled: Doubled, lag: float) -> None:
    doubled.double.api.is_scoped = True
    await no_change_is_missed(doubled, lag, 0)


async def test_difference_found_after_the_first_sync_goes_back_in_each_dag_that_is_read_by_itself(
    doubled: Doubled,
) -> None:
    doubled.double.api.is_scoped = True
    model, key = doubled.model, ("news", "run_0")
    shift(doubled, lag=300)
    await again(doubled)
    model.runs[key].state = "failed"  # as the scheduler does it, without an entry in the log
    model.touch(model.runs[key])
    await again(doubled, 1_200)
    assert (await doubled.runs())[key]["status"] == "failed"


async def no_change_is_missed(doubled: Doubled, lag: float, skew: float) -> None:
    shift(doubled, lag=lag, skew=skew)
    await again(doubled)
    await again(doubled)
    model, key = doubled.model, ("news", "run_0")
    for number in range(3):
        model.start_run("bills", f"fresh {number}")
        for _ in range(14):
            model.step(("bills", f"fresh {number}"))
        model.mark_run(key, ("failed", "success", "failed")[number])
        task = next(iter(model.tasks_of(key)))
        model.mark_task((*key, task.task_id, task.map_index), ("failed", "skipped", "failed")[number])
        await again(doubled, 20)
        assert (await doubled.runs())[key]["status"] == model.runs[key].state
        assert (await doubled.tasks())[*key, task.task_id, task.map_index]["status"] == task.state
        assert (await doubled.runs())["bills", f"fresh {number}"]["status"] == "success"


async def test_changes_of_before_the_clocks_were_known_to_differ_are_read_then(doubled: Doubled) -> None:
    """The look that decides breaks off, so that passes go on without it for a while."""
    shift(doubled, lag=600)
    await again(doubled)
    model, faults = doubled.model, doubled.double.faults
    faults.where, faults.chance, faults.kinds = "health", 1.0, ("503",)
    model.mark_run(("news", "run_0"), "failed")
    await again(doubled, 300)
    model.let_pass(300)
    faults.chance, faults.where = 0.0, ""
    await again(doubled)
    assert (await doubled.runs())["news", "run_0"]["status"] == "failed"


async def test_what_a_pass_that_broke_off_has_learnt_of_the_clocks_counts_for_the_next(doubled: Doubled) -> None:
    shift(doubled, lag=600)
    await again(doubled)
    doubled.model.mark_run(("news", "run_0"), "failed")
    faults = doubled.double.faults
    faults.where, faults.chance, faults.kinds = "dagRuns", 1.0, ("503",)
    assert (await doubled.sync(trigger="schedule"))["status"] != "complete"
    faults.where, faults.chance = "", 0.0
    await again(doubled)
    assert (await doubled.runs())["news", "run_0"]["status"] == "failed"


async def test_without_a_heartbeat_the_stamp_of_a_run_that_ended_unheard_tells_the_difference(doubled: Doubled) -> None:
    shift(doubled, lag=400, heartbeats=False)
    model, key = doubled.model, ("news", "runs")
    model.start_run(*key)
    model.step(key)
    await again(doubled)
    for _ in range(12):
        model.step(key, fails=True)
    await again(doubled)
    assert (await doubled.runs())[key]["status"] == "failed"
    await again(doubled)
    model.mark_run(("news", "run_0"), "failed")
    await again(doubled)
    assert (await doubled.runs())["news", "run_0"]["status"] == "failed"
    clocks = (await doubled.state())["clocks"]
    assert 400 <= clocks["applied"] < 460
    assert "behind" in clocks["sentence"]


@pytest.mark.parametrize("years", [-6, -1, 1, 6])
async def test_a_date_that_is_years_off_does_not_hide_the_runs(doubled: Doubled, years: int) -> None:
    """Of a proxy: the host that stamps agrees with us, and beats or does not."""
    for heartbeats in (False, True):
        shift(doubled, lag=years * YEAR, skew=years * YEAR, heartbeats=heartbeats)
        for row in rows_of(doubled):
            row.updated_at = datetime.now(UTC) - timedelta(hours=1)
        await again(doubled)
        assert len(await doubled.runs()) == len(doubled.model.runs)
        doubled.model.start_run("bills", f"new {heartbeats}")
        await again(doubled)
        assert ("bills", f"new {heartbeats}") in await doubled.runs()


async def test_a_scheduler_that_stands_still_is_not_taken_for_a_clock_that_is_behind(
    doubled: Doubled, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped_at = doubled.model.now() - timedelta(days=3)
    monkeypatch.setattr(type(doubled.model), "heartbeat", property(lambda _: stopped_at))
    await again(doubled)
    await again(doubled)
    clocks = (await doubled.state())["clocks"]
    assert (clocks["is_pending"], clocks["applied"], clocks["sentence"]) == (False, 0.0, None)
    doubled.double.asked.clear()
    await again(doubled)
    assert not [path for path in doubled.double.asked if "health" in path], "asked for once in five minutes"


async def freshness(doubled: Doubled) -> Any:
    async with a_client(doubled) as (client, key):
        (space,) = await doubled.rows("SELECT slug FROM spaces WHERE id = %(id)s", {"id": doubled.space_id})
        answer = await client.get(
            f"/catalog/spaces/{space['slug']}/connectors/{doubled.connector_id}",
            headers={"Authorization": f"Bearer {key}"},
        )
    return answer.json()["freshness"]["clocks"]


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
async def test_the_connector_says_how_the_clocks_differ(
    doubled: Doubled, skew: float, lag: float, words: str | None
) -> None:
    shift(doubled, skew=skew, lag=lag)
    await again(doubled)
    doubled.model.let_pass(1)
    sync = await doubled.sync(trigger="schedule")
    clocks = await freshness(doubled)
    if words is None:
        assert clocks["sentence"] is None
        assert sync["warnings"] == []
    else:
        assert re.search(words, clocks["sentence"])
        assert clocks["sentence"] in sync["warnings"]
    assert abs(clocks["ahead_of_ours_seconds"] - skew) < 4
    assert abs(clocks["stamps_behind_seconds"] - (lag if lag > 30 else 0)) < 10
