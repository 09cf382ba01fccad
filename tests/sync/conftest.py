"""A small double with a Windsock that mirrors it."""

from collections.abc import AsyncIterator, Callable
from datetime import timedelta

import pytest

from airflow.mirrored import a_windsock
from airflow_double.api import Api
from airflow_double.faults import Double
from airflow_double.model import Model
from conftest import SECRET_KEY
from sync.doubled import Doubled


@pytest.fixture(params=["v2", "v1"])
async def doubled(make_database: Callable[[str], str], request: pytest.FixtureRequest) -> AsyncIterator[Doubled]:
    """Three DAGs, one of them mapped, with two finished runs each."""
    model = Model(request.param)
    for dag_id in ("bills", "mapped", "news"):
        model.add_dag(dag_id, mapped=frozenset({"load"}) if dag_id == "mapped" else frozenset())
        for number in range(2):
            run = model.start_run(dag_id, f"run_{number}", at=model.now() - timedelta(hours=3 + number))
            while run.state in {"queued", "running"}:
                model.step((dag_id, run.run_id))
    async with a_windsock(make_database, SECRET_KEY) as windsock:
        made = Doubled(windsock.process, Double(Api(model)))
        await made.connect_to_double()
        yield made
