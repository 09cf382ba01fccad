"""Syncs from the double: the plain ways, one by one."""

from collections.abc import AsyncIterator, Callable
from datetime import timedelta

import pytest

from airflow.mirrored import a_windsock
from airflow_double.api import Api
from airflow_double.faults import Double
from airflow_double.model import Model
from conftest import SECRET_KEY
from sync.doubled import Doubled

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["v2", "v1"])
async def doubled(make_database: Callable[[str], str], request: pytest.FixtureRequest) -> AsyncIterator[Doubled]:
    """Three DAGs, one of them mapped, with two finished runs each."""
    model = Model(request.param)
    for dag_id in ("bills", "mapped", "news"):
        model.add_dag(dag_id, mapped=frozenset({"load"}) if dag_id == "mapped" else frozenset())
        for number in range(2):
            run = model.start_run(dag_id, f"run_{number}", at=model.now() - timedelta(hours=3 + number))
            for _ in range(12):
                model.step((dag_id, run.run_id))
    async with a_windsock(make_database, SECRET_KEY) as windsock:
        made = Doubled(windsock.process, Double(Api(model)))
        await made.connect_to_double()
        yield made


async def test_a_first_sync_mirrors_everything(doubled: Doubled) -> None:
    sync = await doubled.sync(trigger="schedule")
    assert sync["status"] == "complete", sync["error"]
    await doubled.assert_equal()
    await doubled.settle()
    await doubled.assert_equal()


async def test_notes_and_deletions_are_seen_by_the_next_sync_where_the_log_may_be_read(doubled: Doubled) -> None:
    await doubled.settle()
    doubled.model.note_run(("bills", "run_0"), "looked at")
    doubled.model.note_task(("bills", "run_0", "load", -1), "why")
    doubled.model.delete_run(("news", "run_1"))
    doubled.model.delete_task(("bills", "run_1", "load", -1))
    doubled.model.pause("news")
    sync = await doubled.sync(trigger="schedule")
    assert sync["status"] == "complete"
    assert (sync["runs"]["removed"], sync["task_runs"]["removed"]) == (1, 1)
    await doubled.assert_equal()


async def test_notes_and_deletions_are_found_without_the_log(doubled: Doubled) -> None:
    doubled.double.api.shows_events = False
    await doubled.settle()
    doubled.model.delete_run(("news", "run_1"))
    doubled.model.delete_task(("bills", "run_1", "load", -1))
    await doubled.settle()
    await doubled.assert_equal()


async def test_an_idle_sync_costs_three_requests_and_writes_nothing(doubled: Doubled) -> None:
    await doubled.settle()
    before = await doubled.everything()
    doubled.model.let_pass(600)
    await doubled.sync(trigger="schedule")
    doubled.double.asked.clear()
    idle = await doubled.sync(trigger="schedule")
    assert idle["provider_requests"] == len(doubled.double.asked) == 3, doubled.double.asked
    assert await doubled.everything() == before
