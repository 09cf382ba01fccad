"""A stand-in for the connector's Airflow."""

import pytest
from fastapi import FastAPI

from triggers.double import Runs, install
from windsock.process import Process


@pytest.fixture
def runs(app: FastAPI, process: Process) -> Runs:
    return install(app, process)
