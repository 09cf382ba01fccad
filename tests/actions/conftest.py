"""Stand-ins for the connector's Airflow: one for triggers, and the fake Airflow for all other actions."""

import pytest
from fastapi import FastAPI

from actions.connected_fake import install_fake_airflow
from actions.fake_runs import Runs, install
from fake_airflow.faults import FakeAirflow
from windsock.context import AppContext


@pytest.fixture
def runs(app: FastAPI, process: AppContext) -> Runs:
    return install(app, process)


@pytest.fixture(params=["v1", "v2"])
def airflow(request: pytest.FixtureRequest, app: FastAPI, process: AppContext) -> FakeAirflow:
    return install_fake_airflow(app, process, request.param)
