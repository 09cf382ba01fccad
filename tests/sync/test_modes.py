"""What a poll costs decides how an Airflow is read; history comes in the background; retention goes in batches."""

from datetime import timedelta

import pytest

from airflow_double.api import Api
from airflow_double.faults import Double
from airflow_double.model import Model
from sync.doubled import Doubled
from sync.knobs import make_large
from windsock.errors import ProviderHTTPError
from windsock.providers.airflow import Airflow
from windsock.providers.scopes import RunRange
from windsock.sync import polling, retention, sync_pass

pytestmark = pytest.mark.anyio


async def test_large_mode_reads_the_last_days_and_everything_every_five_minutes(
    doubled: Doubled, monkeypatch: pytest.MonkeyPatch
) -> None:
    await become_large(doubled, monkeypatch)
    watermark = (await doubled.state())["watermark"]
    doubled.model.let_pass(130)
    doubled.model.start_run("bills", "new")
    doubled.model.mark_task(("news", "run_0", "load", -1), "failed")  # in a finished run: only a sweep sees it
    doubled.model.events.clear()
    doubled.double.asked.clear()
    quick = await doubled.sync(trigger="schedule")
    assert quick["runs"]["created"] == 1
    assert quick["task_runs"]["created"] == 2
    asked = [one for one in doubled.double.asked if "taskInstances" in one]
    assert len(asked) == 1
    assert (await doubled.state())["watermark"] == watermark, "only what reads all of it moves the mark"

    doubled.model.let_pass(400)
    await doubled.sync(trigger="schedule")
    await doubled.sync(trigger="schedule")
    assert (await doubled.state())["watermark"] > watermark
    await doubled.assert_equal()


async def test_large_mode_reads_task_runs_again_only_where_a_run_changed(
    doubled: Doubled, monkeypatch: pytest.MonkeyPatch
) -> None:
    await become_large(doubled, monkeypatch)
    doubled.model.let_pass(130)
    doubled.model.start_run("bills", "new")
    assert await task_requests_of(doubled) == 1
    assert await task_requests_of(doubled) == 0, "the run is in the overlap, and has not changed since"
    for _ in range(4):
        doubled.model.step(("bills", "new"))
    assert await task_requests_of(doubled) == 1
    assert await task_requests_of(doubled) == 0
    task = (await doubled.tasks())["bills", "new", "extract", -1]
    assert task["status"] == doubled.model.tasks["bills", "new", "extract", -1].state


async def test_task_run_that_changed_before_its_run_is_not_lost_in_large_mode(
    doubled: Doubled, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stalled scheduler touches the run much later than a worker its task instance."""
    await become_large(doubled, monkeypatch)
    doubled.model.start_run("bills", "new")
    await doubled.sync(trigger="schedule")
    task = doubled.model.tasks["bills", "new", "load", -1]
    task.state, task.hostname = "running", "elsewhere"
    doubled.model.touch(task)
    for _ in range(2):
        doubled.model.let_pass(140)
        assert await task_requests_of(doubled) == 0
    doubled.model.step(("bills", "new"))
    await doubled.sync(trigger="schedule")
    assert (await doubled.tasks())["bills", "new", "load", -1]["hostname"] == "elsewhere"


async def test_large_mode_never_sends_more_requests_than_small_mode(doubled: Doubled) -> None:
    """The same changes in two equal Airflows, of which one is read in the large mode. Pages hold three rows."""
    small = Doubled(doubled.process, Double(Api(a_twin(doubled.model.api), cap=3)), page=3, window=1_000)
    large = Doubled(doubled.process, Double(Api(a_twin(doubled.model.api), cap=3)), page=3, window=1_000)
    for one in (small, large):
        await one.connect_to_double()
        await one.settle()
    asked: dict[str, list[int]] = {"small": [], "large": []}
    for mode, one in (("small", small), ("large", large)):
        with pytest.MonkeyPatch.context() as patch:
            if mode == "large":
                await become_large(one, patch)
            for step in range(24):
                changes_at(one.model, step)
                one.model.let_pass(20)
                asked[mode].append(await requests_of(one))
    await large.settle()
    await large.assert_equal()
    assert sum(asked["large"]) < sum(asked["small"])
    assert all(more <= fewer for more, fewer in zip(asked["large"], asked["small"], strict=True)), asked


def a_twin(api: str) -> Model:
    model = Model(api)
    for dag_id in ("bills", "mapped", "news", "stock"):
        model.add_dag(dag_id, mapped=frozenset({"load"}) if dag_id == "mapped" else frozenset())
        model.start_run(dag_id, "run_0", at=model.now() - timedelta(hours=3))
    return model


def changes_at(model: Model, step: int) -> None:
    """Quiet at first, then some runs at once, then one that goes on, then quiet again."""
    if step in {4, 5, 6}:
        for dag_id in list(model.dags)[: step - 2]:
            model.start_run(dag_id, f"at_{step}")
    if 6 < step < 16:
        for key in list(model.runs)[:: 1 + step % 3]:
            model.step(key)


async def become_large(doubled: Doubled, patch: pytest.MonkeyPatch) -> None:
    await doubled.settle()
    make_large(patch)
    for _ in range(polling.MIN_POLLS):
        await doubled.sync(trigger="schedule")
    assert (await doubled.state())["mode"] == "large"
    await doubled.sync(trigger="schedule")
    doubled.model.events.clear()


async def task_requests_of(doubled: Doubled) -> int:
    doubled.double.asked.clear()
    assert await requests_of(doubled) <= 4, "the log, runs, task runs, and one for who answers"
    return sum("/taskInstances" in asked for asked in doubled.double.asked)


async def requests_of(doubled: Doubled) -> int:
    sync = await doubled.sync(trigger="schedule")
    assert sync["status"] == "complete", sync["error"]
    return int(sync["provider_requests"])


@pytest.mark.parametrize(
    ("mode", "seconds", "total", "chosen"),
    [
        ("small", [9.0], 5_000_000, "small"),  # too few answers
        ("small", [0.2, 0.2, 9.0], 5_000_000, "small"),  # one slow page
        ("small", [0.2, 9.0, 0.2, 9.0, 0.2], 5_000_000, "small"),
        ("small", [9.0, 9.0, 9.0], 308, "small"),  # slow, and not large
        ("small", [9.0, 9.0, 9.0], None, "small"),  # of unknown size
        ("small", [9.0, 9.0, 0.2], 5_000_000, "large"),
        ("small", [1.5, 1.5, 1.5, 1.5, 1.5], 5_000_000, "small"),
        ("large", [1.5, 1.5, 1.5, 1.5, 1.5], 5_000_000, "large"),  # between the limits it stays
        ("large", [0.2], 5_000_000, "large"),
        ("large", [9.0, 0.2, 0.2, 0.2, 9.0], 5_000_000, "small"),
        ("large", [9.0, 9.0, 9.0], 80_000, "large"),
        ("large", [9.0, 9.0, 9.0], 308, "small"),
    ],
)
def test_mode_follows_from_several_answers_and_from_size(
    mode: str, seconds: list[float], total: int | None, chosen: str
) -> None:
    assert polling.Polling(seconds=seconds, total=total).choose(mode) == chosen


async def test_slow_but_small_airflow_stays_in_small_mode_and_is_counted_once_a_day(
    doubled: Doubled, monkeypatch: pytest.MonkeyPatch
) -> None:
    await doubled.settle()
    monkeypatch.setattr(polling, "SLOW_SECONDS", 0.0)
    asked = [await requests_of(doubled) for _ in range(8)]
    assert (await doubled.state())["mode"] == "small"
    assert sorted(asked) == [*[4] * 7, 5], asked
    assert (await doubled.state())["polling"]["total"] == len(doubled.model.tasks)


async def test_count_that_fails_leaves_the_mode_as_it_is(doubled: Doubled, monkeypatch: pytest.MonkeyPatch) -> None:
    await doubled.settle()
    make_large(monkeypatch)

    async def refuse(_: Airflow, __: RunRange) -> int:
        raise ProviderHTTPError(500, "Database error", is_transient=True)

    monkeypatch.setattr(Airflow, "count_task_runs", refuse)
    asked = [await requests_of(doubled) for _ in range(5)]
    assert (await doubled.state())["mode"] == "small"
    assert max(asked) <= 4, asked


async def test_airflow_that_has_become_quick_leaves_large_mode(
    doubled: Doubled, monkeypatch: pytest.MonkeyPatch
) -> None:
    await become_large(doubled, monkeypatch)
    monkeypatch.setattr(polling, "QUICK_SECONDS", 60.0)
    monkeypatch.setattr(polling, "SLOW_SECONDS", 90.0)
    await doubled.sync(trigger="manual")
    state = await doubled.state()
    assert (state["mode"], state["polling"]["total"]) == ("small", len(doubled.model.tasks))


async def test_airflow_that_is_small_leaves_large_mode_at_once(doubled: Doubled) -> None:
    await doubled.settle()
    await doubled.execute("UPDATE sync_states SET mode = 'large' WHERE space_id = %(space_id)s")
    await doubled.sync(trigger="manual")
    assert (await doubled.state())["mode"] == "small"


async def test_the_first_sync_shows_the_newest_and_the_rest_comes_in_the_background(
    doubled: Doubled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sync_pass, "HISTORY_SECONDS", 0.0)
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
    assert await retention.purge_expired(doubled.db) == 4
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
    assert await retention.purge_expired(doubled.db) == 0


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
