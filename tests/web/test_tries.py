"""Earlier tries of tasks that were tried again, as Airflow tells them when somebody looks at the run."""

import asyncio
import time
from typing import Any

import pytest
from fastapi import FastAPI

from actions.fake_runs import Runs, install
from conftest import RolledBackDatabase
from factories import TwoTenants
from web.conftest import Browser
from windsock.context import AppContext
from windsock.db.queries import Query
from windsock.web import tries

pytestmark = pytest.mark.anyio

TRIED_AGAIN = Query(
    "UPDATE task_runs SET try_number = %(number)s, map_index = %(map_index)s"
    " WHERE space_id = %(space_id)s AND id = %(id)s"
)


@pytest.fixture
def runs(app: FastAPI, process: AppContext) -> Runs:
    fake_runs = install(app, process)
    fake_runs.tries = (200, {"task_instances": [a_try(3), a_try(1, state="failed"), a_try(2, state="up_for_retry")]})
    return fake_runs


def a_try(number: int, *, state: str = "success") -> dict[str, Any]:
    return {
        "task_id": "load", "dag_id": "daily_report", "dag_run_id": "r", "map_index": -1, "state": state,
        "try_number": number, "max_tries": 3, "queued_when": f"2026-11-24T09:0{number}:00Z",
        "start_date": f"2026-11-24T09:0{number}:10Z", "end_date": f"2026-11-24T09:0{number}:40Z",
    }  # fmt: skip


async def tried_again(db: RolledBackDatabase, tenants: TwoTenants, number: int, map_index: int = -1) -> None:
    space = tenants.finance
    async with db.tenant_transaction(space.id) as tx:
        which = {"space_id": space.id, "id": space.task_run_id}
        assert await tx.execute(TRIED_AGAIN, **which, number=number, map_index=map_index)


async def earlier(viewer: Browser, tenants: TwoTenants, query: str = "") -> dict[str, Any]:
    response = await viewer.open(f"/spaces/finance/runs/{tenants.finance.run_id}/tasks{query}")
    assert response.status_code == 200
    found: dict[str, Any] = response.json()["earlier"]
    return found


async def test_tries_are_returned_in_order_and_requested_once(
    viewer: Browser, tenants: TwoTenants, db: RolledBackDatabase, runs: Runs
) -> None:
    assert (await earlier(viewer, tenants), runs.tried) == (
        {"tries": {}, "missing": 0, "why": None, "goes_on": False}, [],
    ), "nothing was tried again"  # fmt: skip
    await tried_again(db, tenants, 3)
    found = await earlier(viewer, tenants)
    body = found["tries"][str(tenants.finance.task_run_id)]
    assert [(result["try_number"], result["status"]) for result in body] == [(1, "failed"), (2, "up_for_retry")]
    assert body[0]["started_at"] == "2026-11-24T09:01:10Z"
    assert (found["missing"], found["why"], found["goes_on"]) == (0, None, False)
    assert await earlier(viewer, tenants) == found
    assert len(runs.tried) == 1
    assert runs.tried[0].endswith("/taskInstances/load/tries")
    await tried_again(db, tenants, 4)
    assert len((await earlier(viewer, tenants))["tries"][str(tenants.finance.task_run_id)]) == 3
    assert len(runs.tried) == 2, "another try has begun since"


async def test_tries_of_mapped_instance_are_requested_by_map_index(
    viewer: Browser, tenants: TwoTenants, db: RolledBackDatabase, runs: Runs
) -> None:
    await tried_again(db, tenants, 2, map_index=17)
    assert (await earlier(viewer, tenants))["tries"] == {}
    assert runs.tried == [], "nobody has opened the task"
    await earlier(viewer, tenants, "?task_id=load")
    assert runs.tried[0].endswith("/taskInstances/load/17/tries")


async def test_tries_of_loop_iteration_are_requested_by_region(
    viewer: Browser, tenants: TwoTenants, db: RolledBackDatabase, runs: Runs
) -> None:
    in_region = Query(
        "UPDATE task_runs SET region_id = 'a-b', region_index = 3 WHERE space_id = %(space_id)s AND id = %(id)s"
    )
    await tried_again(db, tenants, 2)
    async with db.tenant_transaction(tenants.finance.id) as tx:
        assert await tx.execute(in_region, space_id=tenants.finance.id, id=tenants.finance.task_run_id)
    await earlier(viewer, tenants, "?task_id=load")
    assert runs.tried[0].endswith("/taskInstances/load/tries?region_id=a-b&region_index=3")


async def test_tries_missing_in_airflow_are_requested_once_and_counted_missing(
    viewer: Browser, tenants: TwoTenants, db: RolledBackDatabase, runs: Runs
) -> None:
    runs.tries = (404, {"detail": "The Task Instance with task_id: `load` was not found"})
    await tried_again(db, tenants, 2)
    for _ in range(2):
        assert await earlier(viewer, tenants) == {"tries": {}, "missing": 1, "why": None, "goes_on": False}
    assert len(runs.tried) == 1


async def test_failing_airflow_is_not_retried_before_cooldown(
    viewer: Browser, tenants: TwoTenants, db: RolledBackDatabase, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, runs.tries = runs.tries, (403, {"detail": "Forbidden"})
    await tried_again(db, tenants, 2)
    found = await earlier(viewer, tenants)
    assert (found["tries"], found["missing"], found["goes_on"]) == ({}, 1, False)
    assert "403" in found["why"] or "Forbidden" in found["why"]
    tries_before = len(runs.tried)
    assert await earlier(viewer, tenants) == found
    assert len(runs.tried) == tries_before
    runs.tries = good
    later = time.monotonic() + tries.SILENT_SECONDS + 1
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert (await earlier(viewer, tenants))["missing"] == 0


async def test_slow_airflow_yields_pending_response_without_duplicate_request(
    viewer: Browser,
    tenants: TwoTenants,
    db: RolledBackDatabase,
    runs: Runs,
    app: FastAPI,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    may_respond = asyncio.Event()
    ask = app.state.tries._ask

    async def slow(*args: Any) -> None:
        await may_respond.wait()
        await ask(*args)

    monkeypatch.setattr(app.state.tries, "_ask", slow)
    monkeypatch.setattr(tries, "WAITED_SECONDS", 0.05)
    await tried_again(db, tenants, 2)
    assert await earlier(viewer, tenants) == {"tries": {}, "missing": 1, "why": None, "goes_on": True}
    may_respond.set()
    monkeypatch.setattr(tries, "WAITED_SECONDS", 5)
    assert (await earlier(viewer, tenants))["missing"] == 0
    assert len(runs.tried) == 1, "the question that was under way was waited for"


async def test_tries_requests_and_cache_entries_are_limited(
    viewer: Browser,
    tenants: TwoTenants,
    db: RolledBackDatabase,
    app: FastAPI,
    runs: Runs,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await tried_again(db, tenants, 2)
    monkeypatch.setattr(tries, "MAX_REQUESTED", 0)
    assert (await earlier(viewer, tenants))["goes_on"], "its turn comes when the page asks again"
    monkeypatch.undo()
    monkeypatch.setattr(tries, "MOST_OF_A_RUN", 0)
    assert (await earlier(viewer, tenants)) == {"tries": {}, "missing": 1, "why": None, "goes_on": False}
    monkeypatch.undo()
    monkeypatch.setattr(tries, "MAX_ENTRIES", 1)
    for number in (2, 3):
        await tried_again(db, tenants, number)
        assert (await earlier(viewer, tenants))["missing"] == 0
    assert list(app.state.tries._known) == [(str(tenants.finance.task_run_id), 3)]
    assert len(runs.tried) == 2
