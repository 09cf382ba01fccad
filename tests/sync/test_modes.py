"""What a poll costs decides how an Airflow is read; history comes in the background; retention goes in batches."""

from datetime import timedelta

import pytest

from fake_airflow.api import Api
from fake_airflow.faults import FakeAirflow
from fake_airflow.model import Model
from sync.config_strategies import make_large
from sync.harness import SyncHarness
from windsock.errors import ProviderHTTPError
from windsock.providers.airflow import Airflow
from windsock.providers.scopes import RunRange
from windsock.sync import polling, retention, sync_pass

pytestmark = pytest.mark.anyio


async def test_large_mode_polls_recent_days_and_all_every_five_minutes(
    harness: SyncHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    await become_large(harness, monkeypatch)
    watermark = (await harness.state())["watermark"]
    harness.model.let_pass(130)
    harness.model.start_run("bills", "new")
    harness.model.mark_task(("news", "run_0", "load", -1), "failed")  # in a finished run: only a sweep sees it
    harness.model.events.clear()
    harness.fake.requests.clear()
    quick = await harness.sync(trigger="schedule")
    assert quick["runs"]["created"] == 1
    assert quick["task_runs"]["created"] == 2
    requests = [instance for instance in harness.fake.requests if "taskInstances" in instance]
    assert len(requests) == 1
    assert (await harness.state())["watermark"] == watermark, "only what reads all of it moves the mark"

    harness.model.let_pass(400)
    await harness.sync(trigger="schedule")
    await harness.sync(trigger="schedule")
    assert (await harness.state())["watermark"] > watermark
    await harness.assert_equal()


async def test_large_mode_reads_task_runs_again_only_where_a_run_changed(
    harness: SyncHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    await become_large(harness, monkeypatch)
    harness.model.let_pass(130)
    harness.model.start_run("bills", "new")
    assert await task_requests_of(harness) == 1
    assert await task_requests_of(harness) == 0, "the run is in the overlap, and has not changed since"
    for _ in range(4):
        harness.model.step(("bills", "new"))
    assert await task_requests_of(harness) == 1
    assert await task_requests_of(harness) == 0
    task = (await harness.tasks())["bills", "new", "extract", -1]
    assert task["status"] == harness.model.tasks["bills", "new", "extract", -1].state


async def test_task_run_that_changed_before_its_run_is_not_lost_in_large_mode(
    harness: SyncHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stalled scheduler touches the run much later than a worker its task instance."""
    await become_large(harness, monkeypatch)
    harness.model.start_run("bills", "new")
    await harness.sync(trigger="schedule")
    task = harness.model.tasks["bills", "new", "load", -1]
    task.state, task.hostname = "running", "elsewhere"
    harness.model.touch(task)
    for _ in range(2):
        harness.model.let_pass(140)
        assert await task_requests_of(harness) == 0
    harness.model.step(("bills", "new"))
    await harness.sync(trigger="schedule")
    assert (await harness.tasks())["bills", "new", "load", -1]["hostname"] == "elsewhere"


async def test_large_mode_never_sends_more_requests_than_small_mode(harness: SyncHarness) -> None:
    """The same changes in two equal Airflows, of which one is read in the large mode. Pages hold three rows."""
    small = SyncHarness(harness.process, FakeAirflow(Api(make_twin(harness.model.api), cap=3)), page=3, window=1_000)
    large = SyncHarness(harness.process, FakeAirflow(Api(make_twin(harness.model.api), cap=3)), page=3, window=1_000)
    for instance in (small, large):
        await instance.connect_to_double()
        await instance.settle()
    requests: dict[str, list[int]] = {"small": [], "large": []}
    for mode, instance in (("small", small), ("large", large)):
        with pytest.MonkeyPatch.context() as patch:
            if mode == "large":
                await become_large(instance, patch)
            for step in range(24):
                changes_at(instance.model, step)
                instance.model.let_pass(20)
                requests[mode].append(await requests_of(instance))
    await large.settle()
    await large.assert_equal()
    assert sum(requests["large"]) < sum(requests["small"])
    assert all(more <= fewer for more, fewer in zip(requests["large"], requests["small"], strict=True)), requests


def make_twin(api: str) -> Model:
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


async def become_large(harness: SyncHarness, patch: pytest.MonkeyPatch) -> None:
    await harness.settle()
    make_large(patch)
    for _ in range(polling.MIN_POLLS):
        await harness.sync(trigger="schedule")
    assert (await harness.state())["mode"] == "large"
    await harness.sync(trigger="schedule")
    harness.model.events.clear()


async def task_requests_of(harness: SyncHarness) -> int:
    harness.fake.requests.clear()
    assert await requests_of(harness) <= 4, "the log, runs, task runs, and one for who answers"
    return sum("/taskInstances" in requests for requests in harness.fake.requests)


async def requests_of(harness: SyncHarness) -> int:
    sync = await harness.sync(trigger="schedule")
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
def test_polling_mode_depends_on_several_response_times_and_size(
    mode: str, seconds: list[float], total: int | None, chosen: str
) -> None:
    assert polling.Polling(seconds=seconds, total=total).choose(mode) == chosen


async def test_slow_but_small_airflow_stays_in_small_mode_and_is_counted_once_a_day(
    harness: SyncHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    await harness.settle()
    monkeypatch.setattr(polling, "SLOW_SECONDS", 0.0)
    requests = [await requests_of(harness) for _ in range(8)]
    assert (await harness.state())["mode"] == "small"
    assert sorted(requests) == [*[4] * 7, 5], requests
    assert (await harness.state())["polling"]["total"] == len(harness.model.tasks)


async def test_failed_count_leaves_polling_mode_unchanged(
    harness: SyncHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    await harness.settle()
    make_large(monkeypatch)

    async def refuse(_: Airflow, __: RunRange) -> int:
        raise ProviderHTTPError(500, "Database error", is_transient=True)

    monkeypatch.setattr(Airflow, "count_task_runs", refuse)
    requests = [await requests_of(harness) for _ in range(5)]
    assert (await harness.state())["mode"] == "small"
    assert max(requests) <= 4, requests


async def test_airflow_that_becomes_fast_leaves_large_mode(
    harness: SyncHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    await become_large(harness, monkeypatch)
    monkeypatch.setattr(polling, "QUICK_SECONDS", 60.0)
    monkeypatch.setattr(polling, "SLOW_SECONDS", 90.0)
    await harness.sync(trigger="manual")
    state = await harness.state()
    assert (state["mode"], state["polling"]["total"]) == ("small", len(harness.model.tasks))


async def test_airflow_that_is_small_leaves_large_mode_at_once(harness: SyncHarness) -> None:
    await harness.settle()
    await harness.execute("UPDATE sync_states SET mode = 'large' WHERE space_id = %(space_id)s")
    await harness.sync(trigger="manual")
    assert (await harness.state())["mode"] == "small"


async def test_first_sync_mirrors_newest_runs_and_later_syncs_backfill_the_rest(
    harness: SyncHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sync_pass, "HISTORY_SECONDS", 0.0)
    model = harness.model
    model.start_run("news", "today", at=model.now() - timedelta(minutes=5))
    model.start_run("bills", "long_ago", at=model.now() - timedelta(days=13))
    first = await harness.sync(trigger="schedule")
    assert first["status"] == "complete"
    assert [key[1] for key in await harness.runs()] == ["today"]
    shares = [0.0]
    for _ in range(20):
        state = await harness.state()
        assert (state["next_sync_at"] - state["last_sync_at"]).total_seconds() < 2
        model.step(("news", "today"))
        await harness.sync(trigger="schedule")
        state = await harness.state()
        assert (await harness.runs())["news", "today"]["status"] == model.runs["news", "today"].state, "news come first"
        shares.append(len(await harness.runs()))
        if state["backfill"]["is_complete"]:
            break
    assert shares == sorted(shares)
    await harness.assert_equal()
    assert (state["next_sync_at"] - state["last_sync_at"]).total_seconds() > 30


async def test_retention_deletes_in_batches_and_old_runs_do_not_come_back(
    harness: SyncHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "BATCH", 2)
    model = harness.model
    for days in range(1, 9):
        model.start_run("bills", f"old_{days}", at=model.now() - timedelta(days=days))
        model.mark_run(("bills", f"old_{days}"), "success")
    await harness.settle()
    await harness.execute("UPDATE spaces SET retention_days = 5 WHERE id = %(space_id)s")
    assert await retention.purge_expired(harness.db) == 4
    assert len(await harness.runs()) == 10
    (recent_runs,) = await harness.rows(
        "SELECT s.recent_runs FROM pipeline_recent_runs s JOIN pipelines p ON p.id = s.pipeline_id"
        " WHERE p.external_id = 'bills'"
    )
    assert len(recent_runs["recent_runs"]) == 6
    for _ in range(2):
        await harness.force_full_check()
        await harness.sync(trigger="schedule")
    await harness.sync(is_full=True)
    assert len(await harness.runs()) == 10
    assert await retention.purge_expired(harness.db) == 0


async def test_server_without_date_header_is_read_with_wider_overlap(harness: SyncHarness) -> None:
    """One whose clock is behind ours, and whose answers have no Date, must not lose what it changes."""
    await harness.settle()
    harness.model.skew = timedelta(minutes=-5)
    harness.fake.faults.plan = ["wrong date"] * 30
    await harness.sync(trigger="schedule")
    harness.model.start_run("news", "late")
    harness.fake.faults.plan = ["wrong date"] * 30
    await harness.sync(trigger="schedule")
    assert ("news", "late") in await harness.runs()
