"""A small double with a Windsock that mirrors it."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from airflow.harness import open_windsock
from conftest import SECRET_KEY
from databases import Databases
from fake_airflow.api import Api
from fake_airflow.faults import FakeAirflow
from fake_airflow.model import Model
from sync.harness import SyncHarness


@pytest.fixture(params=["v2", "v1"])
async def harness(make_database: Databases, request: pytest.FixtureRequest) -> AsyncIterator[SyncHarness]:
    """Three DAGs, one of them mapped, with two finished runs each."""
    model = Model(request.param)
    for dag_id in ("bills", "mapped", "news"):
        model.add_dag(dag_id, mapped=frozenset({"load"}) if dag_id == "mapped" else frozenset())
        for number in range(2):
            run = model.start_run(dag_id, f"run_{number}", at=model.now() - timedelta(hours=3 + number))
            while run.state in {"queued", "running"}:
                model.step((dag_id, run.run_id))
    async with open_windsock(make_database, SECRET_KEY) as windsock:
        sync_harness = SyncHarness(windsock.process, FakeAirflow(Api(model)))
        await sync_harness.connect_to_double()
        yield sync_harness


@pytest.fixture
def scoped(harness: SyncHarness) -> SyncHarness:
    """As an account with rights on its three DAGs sees it; it may not read the event log either."""
    harness.fake.api.is_scoped = True
    harness.fake.api.shows_events = False
    return harness
