"""Whatever happens in Airflow and on the way to it, the five properties of a sync hold (see state_machine.py)."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from conftest import SECRET_KEY
from databases import Databases
from sync.state_machine import SyncStateMachine, loop_runner
from windsock.context import AppContext
from windsock.db.bootstrap import Storage
from windsock.settings import Settings

EXAMPLES = int(os.environ.get("WINDSOCK_TEST_EXAMPLES", "40"))
"""Many more in the run that docs/sync-testing.md tells of."""
STEPS = 10


@pytest.fixture
def life(make_database: Databases) -> Iterator[type[SyncStateMachine]]:
    url = make_database(f"property_{uuid4().hex}")
    loop = asyncio.new_event_loop()
    process = AppContext(Settings(data=Path("nowhere"), database_pool_size=2), Storage(url, (SECRET_KEY,), None))
    opened = process.lifespan(run_worker=False)
    loop.run_until_complete(opened.__aenter__())
    try:
        yield type("ALife", (SyncStateMachine,), {"process": process, "run_in_loop": staticmethod(loop_runner(loop))})
    finally:
        loop.run_until_complete(opened.__aexit__(None, None, None))
        loop.close()


@pytest.mark.timeout(0)
def test_mirror_is_correct_after_random_operations(life: type[SyncStateMachine]) -> None:
    run_state_machine_as_test(
        life,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.generate,),  # a life of ten steps can be read as it is; making it shorter takes minutes
            print_blob=True,
            report_multiple_bugs=False,
        ),
    )
