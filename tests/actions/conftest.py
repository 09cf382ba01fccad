"""A stand-in for the connector's Airflow."""

import pytest
from fastapi import FastAPI

from actions.fake_runs import Runs, install
from windsock.context import AppContext


@pytest.fixture
def runs(app: FastAPI, process: AppContext) -> Runs:
    return install(app, process)
