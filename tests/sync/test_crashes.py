"""Workers, the API, PostgreSQL and Airflow are killed at random while all of them live: nothing is lost or doubled."""

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from cli.cli_subprocess import SERVER, installed
from conftest import SECRET_KEY
from fake_airflow.api import Api
from fake_airflow.faults import FakeAirflow
from fake_airflow.model import Model
from fake_airflow.server import ServedFakeAirflow, serving
from sync.crash_harness import WORKERS, BackgroundActivity, CrashHarness, Takeovers
from sync.harness import SOON, SyncHarness
from windsock.context import AppContext
from windsock.db.bootstrap import Storage
from windsock.settings import Settings
from windsock.sync.state_records import BACKLOG_KEYS

KILLS = int(os.environ.get("WINDSOCK_TEST_KILLS", "8"))
"""A hundred in the run that docs/sync-testing.md tells of."""
MANY = 50
VICTIMS = (*WORKERS, SERVER, "postgres", "airflow")


@pytest.fixture
def installation(open_folder: Path) -> Iterator[CrashHarness]:
    with installed(open_folder, CrashHarness) as new_installation:
        yield new_installation


@pytest.mark.timeout(0)
def test_random_process_kills_neither_lose_nor_duplicate_data(
    installation: CrashHarness, capsys: pytest.CaptureFixture[str]
) -> None:
    """Compared twice: after ordinary syncs, which must have lost nothing, and after full ones."""
    chance = random.Random(17)  # noqa: S311 - repeatable on purpose
    model = Model("v2")
    for number in range(12):
        model.add_dag(f"dag_{number:02}", mapped=frozenset({"load"}) if number % 4 == 0 else frozenset())
        for _ in range(5):
            model.start_run(f"dag_{number:02}")
    installation.init()
    with serving(Api(model)) as served:
        served.slowness = 0.05  # so that syncs last long enough to be killed in the middle
        installation.serve("--no-worker")
        for name in WORKERS:
            installation.give_life(name)
        connector = UUID(installation.connect(served.url))
        life = BackgroundActivity(served, chance)
        life.start()
        killed, comments = kill_at_random(installation, served, chance)
        served.slowness = 0.0
        life.is_quiet.set()
        life.join()
        with served.lock:
            model.let_pass(600)
        installation.revive()
        come_to_rest(installation, connector)
        held = accept_what_is_held(installation, connector)
        asyncio.run(compare(installation, served, connector, comments))
        sync_three_times(installation, connector, is_full=True)
        asyncio.run(compare(installation, served, connector, comments))
        syncs = installation.rows("SELECT * FROM sync_runs WHERE started_at IS NOT NULL ORDER BY started_at")
        taken_over = Takeovers.of(installation.deaths, syncs)
        installation.stop_all()
    with capsys.disabled():
        late = f"after at most {max(taken_over.seconds):.1f} s" if taken_over.seconds else "not seen"
        print(  # noqa: T201 - the numbers are wanted
            f"\n{KILLS} kills ({', '.join(f'{name}: {number}' for name, number in sorted(killed.items()))}),"
            f" {life.changes} changes in Airflow, {len(comments)} comments acknowledged;"
            f" syncs {dict(Counter(sync['status'] for sync in syncs))};"
            f" {len(taken_over.seconds)} syncs of killed workers were taken over {late},"
            f" {taken_over.left_out} had a reason to wait; held back until somebody accepted it: {held or 'nothing'}"
        )
    assert max(taken_over.seconds, default=0.0) < 60
    assert taken_over.seconds or KILLS < MANY, "no take-over was seen"


def kill_at_random(
    installation: CrashHarness, served: ServedFakeAirflow, chance: random.Random
) -> tuple[Counter[str], set[str]]:
    killed: Counter[str] = Counter()
    comments: set[str] = set()
    for number in range(KILLS):
        time.sleep(chance.uniform(0.2, 3))
        victim = VICTIMS[number % len(VICTIMS)] if number < len(VICTIMS) else chance.choice(VICTIMS)
        killed[victim] += 1
        if victim == "airflow":
            served.stop()
            time.sleep(chance.uniform(0.1, 2))
            served.start()
        else:
            installation.kill(victim)
        installation.revive()
        if post_random_comment(installation, chance, f"comment {number}"):
            comments.add(f"comment {number}")
    return killed, comments


def post_random_comment(installation: CrashHarness, chance: random.Random, text: str) -> bool:
    """About a run; whether it was acknowledged within a few seconds."""
    until = time.monotonic() + 4
    while time.monotonic() < until:
        runs = installation.try_to_ask("GET", "/spaces/finance/orchestration/runs", params={"size": 20})
        if runs is not None and runs.is_success and runs.json():
            path = f"/spaces/finance/orchestration/runs/{chance.choice(runs.json())['id']}/comments"
            response = installation.try_to_ask("POST", path, json={"content": text})
            # Once only: one that was not acknowledged may be there all the same.
            return response is not None and response.status_code == 201
        time.sleep(0.2)
    return False


def come_to_rest(installation: CrashHarness, connector_id: UUID) -> None:
    """Ordinary syncs, each of which lists and compares totals as if the time had come, until nothing changes."""
    until = time.monotonic() + 180
    changed = 1
    while changed:
        assert time.monotonic() < until, installation.log.read_text()[-3000:]
        installation.rows(SOON)
        sync = sync_now(installation, connector_id, is_full=False)
        is_good = sync["status"] == "complete" and not sync["is_full"]
        outcomes = [sync[kind] for kind in ("pipelines", "runs", "task_runs")]
        changed = (
            sum(outcome["created"] + outcome["updated"] + outcome["removed"] for outcome in outcomes) if is_good else 1
        )
        (state,) = installation.rows("SELECT recheck_due, backfill, reconciled_at, event_log_cursor FROM sync_states")
        changed += state["recheck_due"] or not (state["backfill"] or {}).get("is_complete")
        changed += state["reconciled_at"] is None  # it was one that had begun before
        changed += any(state["event_log_cursor"].get(name) for name in BACKLOG_KEYS)


def accept_what_is_held(installation: CrashHarness, connector_id: UUID) -> str | None:
    """Many deletions while the log could not be read look like a lost permission; why it was held, in words."""
    (state,) = installation.rows("SELECT quarantine FROM sync_states")
    if state["quarantine"] is None:
        return None
    path = f"/catalog/spaces/finance/connectors/{connector_id}/accept"
    installation.must("POST", path, json={"kind": state["quarantine"]["kind"]})
    come_to_rest(installation, connector_id)
    return str(state["quarantine"]["reason"])


def sync_three_times(installation: CrashHarness, connector_id: UUID, *, is_full: bool) -> None:
    """What is missing is gone at the second look."""
    ended = 0
    until = time.monotonic() + 240
    while ended < 3:
        assert time.monotonic() < until, installation.log.read_text()[-3000:]
        sync = sync_now(installation, connector_id, is_full=is_full)
        ended += sync["status"] == "complete" and sync["is_full"] == is_full


def sync_now(installation: CrashHarness, connector_id: UUID, *, is_full: bool) -> Any:
    path = f"/catalog/spaces/finance/connectors/{connector_id}/sync"
    until = time.monotonic() + 120
    sync = installation.must("POST", path, json={"is_full": is_full})
    while sync["status"] in {"queued", "running"}:
        assert time.monotonic() < until, sync
        time.sleep(0.2)
        sync = installation.must("GET", f"/spaces/finance/orchestration/syncs/{sync['id']}")
    return sync


async def compare(
    installation: CrashHarness, served: ServedFakeAirflow, connector_id: UUID, comments: set[str]
) -> None:
    """Our rows against the double's, column by column, and every comment once."""
    process = AppContext(Settings(data=Path("nowhere")), Storage(installation.database_url, (SECRET_KEY,), None))
    async with process.lifespan(run_worker=False):
        harness = SyncHarness(process, FakeAirflow(served.api))
        async with process.db.transaction() as tx:
            cursor = await tx._connection.execute("SELECT id FROM spaces WHERE slug = 'finance'")
            row = await cursor.fetchone()
        assert row is not None
        harness.space_id, harness.connector_id = row["id"], connector_id
        await harness.assert_equal()
        stored = Counter(row["content"] for row in await harness.rows("SELECT content FROM comments"))
        assert comments <= stored.keys()
        assert set(stored.values()) <= {1}
