"""Earlier tries of tasks that were tried again, as Airflow tells them when somebody looks at the run."""

import asyncio
import time
from typing import Any

import pytest
from fastapi import FastAPI

from conftest import RolledBackDatabase
from triggers.double import Runs, install
from web.conftest import Browser
from windsock.context import AppContext
from windsock.sql import Query
from windsock.web import tries
from world import World

pytestmark = pytest.mark.anyio

TRIED_AGAIN = Query(
    "UPDATE task_runs SET try_number = %(number)s, map_index = %(map_index)s"
    " WHERE space_id = %(space_id)s AND id = %(id)s"
)


@pytest.fixture
def runs(app: FastAPI, process: AppContext) -> Runs:
    made = install(app, process)
    made.tries = (200, {"task_instances": [a_try(3), a_try(1, state="failed"), a_try(2, state="up_for_retry")]})
    return made


def a_try(number: int, *, state: str = "success") -> dict[str, Any]:
    return {
        "task_id": "load", "dag_id": "daily_report", "dag_run_id": "r", "map_index": -1, "state": state,
        "try_number": number, "max_tries": 3, "queued_when": f"2026-11-24T09:0{number}:00Z",
        "start_date": f"2026-11-24T09:0{number}:10Z", "end_date": f"2026-11-24T09:0{number}:40Z",
    }  # fmt: skip


async def tried_again(db: RolledBackDatabase, world: World, number: int, map_index: int = -1) -> None:
    space = world.finance
    async with db.tenant_transaction(space.id) as tx:
        which = {"space_id": space.id, "id": space.task_run_id}
        assert await tx.execute(TRIED_AGAIN, **which, number=number, map_index=map_index)


async def earlier(viewer: Browser, world: World) -> dict[str, Any]:
    answer = await viewer.open(f"/spaces/finance/runs/{world.finance.run_id}/tasks")
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()["earlier"]
    return found


async def test_they_are_told_in_their_order_and_asked_for_once(
    viewer: Browser, world: World, db: RolledBackDatabase, runs: Runs
) -> None:
    assert (await earlier(viewer, world), runs.tried) == (
        {"tries": {}, "missing": 0, "why": None, "goes_on": False}, [],
    ), "nothing was tried again"  # fmt: skip
    await tried_again(db, world, 3)
    found = await earlier(viewer, world)
    told = found["tries"][str(world.finance.task_run_id)]
    assert [(one["try_number"], one["status"]) for one in told] == [(1, "failed"), (2, "up_for_retry")]
    assert told[0]["started_at"] == "2026-11-24T09:01:10Z"
    assert (found["missing"], found["why"], found["goes_on"]) == (0, None, False)
    assert await earlier(viewer, world) == found
    assert len(runs.tried) == 1
    assert runs.tried[0].endswith("/taskInstances/load/tries")
    await tried_again(db, world, 4)
    assert len((await earlier(viewer, world))["tries"][str(world.finance.task_run_id)]) == 3
    assert len(runs.tried) == 2, "another try has begun since"


async def test_an_instance_of_a_mapped_task_is_asked_for_by_its_index(
    viewer: Browser, world: World, db: RolledBackDatabase, runs: Runs
) -> None:
    await tried_again(db, world, 2, map_index=17)
    await earlier(viewer, world)
    assert runs.tried[0].endswith("/taskInstances/load/17/tries")


async def test_an_iteration_of_a_loop_is_asked_for_by_its_region(
    viewer: Browser, world: World, db: RolledBackDatabase, runs: Runs
) -> None:
    in_region = Query(
        "UPDATE task_runs SET region_id = 'a-b', region_index = 3 WHERE space_id = %(space_id)s AND id = %(id)s"
    )
    await tried_again(db, world, 2)
    async with db.tenant_transaction(world.finance.id) as tx:
        assert await tx.execute(in_region, space_id=world.finance.id, id=world.finance.task_run_id)
    await earlier(viewer, world)
    assert runs.tried[0].endswith("/taskInstances/load/tries?region_id=a-b&region_index=3")


async def test_what_airflow_does_not_have_is_said_to_be_unknown(
    viewer: Browser, world: World, db: RolledBackDatabase, runs: Runs
) -> None:
    runs.tries = (404, {"detail": "The Task Instance with task_id: `load` was not found"})
    await tried_again(db, world, 2)
    for _ in range(2):
        assert await earlier(viewer, world) == {"tries": {}, "missing": 1, "why": None, "goes_on": False}
    assert len(runs.tried) == 1


async def test_an_airflow_that_fails_is_left_alone_for_a_while(
    viewer: Browser, world: World, db: RolledBackDatabase, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, runs.tries = runs.tries, (403, {"detail": "Forbidden"})
    await tried_again(db, world, 2)
    found = await earlier(viewer, world)
    assert (found["tries"], found["missing"], found["goes_on"]) == ({}, 1, False)
    assert "403" in found["why"] or "Forbidden" in found["why"]
    asked = len(runs.tried)
    assert await earlier(viewer, world) == found
    assert len(runs.tried) == asked
    runs.tries = good
    later = time.monotonic() + tries.SILENT_SECONDS + 1
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert (await earlier(viewer, world))["missing"] == 0


async def test_nobody_waits_long_for_a_slow_airflow(
    viewer: Browser, world: World, db: RolledBackDatabase, runs: Runs, app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_answer = asyncio.Event()
    ask = app.state.tries._ask

    async def slow(*args: Any) -> None:
        await may_answer.wait()
        await ask(*args)

    monkeypatch.setattr(app.state.tries, "_ask", slow)
    monkeypatch.setattr(tries, "WAITED_SECONDS", 0.05)
    await tried_again(db, world, 2)
    assert await earlier(viewer, world) == {"tries": {}, "missing": 1, "why": None, "goes_on": True}
    may_answer.set()
    monkeypatch.setattr(tries, "WAITED_SECONDS", 5)
    assert (await earlier(viewer, world))["missing"] == 0
    assert len(runs.tried) == 1, "the question that was under way was waited for"


async def test_so_many_at_once_and_no_more_are_kept_than_may(
    viewer: Browser, world: World, db: RolledBackDatabase, app: FastAPI, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    await tried_again(db, world, 2)
    monkeypatch.setattr(tries, "MAX_REQUESTED", 0)
    assert (await earlier(viewer, world))["goes_on"], "its turn comes when the page asks again"
    monkeypatch.undo()
    monkeypatch.setattr(tries, "MOST_OF_A_RUN", 0)
    assert (await earlier(viewer, world)) == {"tries": {}, "missing": 1, "why": None, "goes_on": False}
    monkeypatch.undo()
    monkeypatch.setattr(tries, "MAX_ENTRIES", 1)
    for number in (2, 3):
        await tried_again(db, world, number)
        assert (await earlier(viewer, world))["missing"] == 0
    assert list(app.state.tries._known) == [(str(world.finance.task_run_id), 3)]
    assert len(runs.tried) == 2
