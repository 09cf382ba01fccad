"""Workers, the API, PostgreSQL and Airflow are killed at random while all of them live: nothing is lost or doubled."""

import asyncio
import contextlib
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx2
import pytest

from airflow_double.api import Api
from airflow_double.faults import Double
from airflow_double.model import Model
from airflow_double.server import Served, serving
from commands.running import SERVER, Installation, installed
from conftest import SECRET_KEY
from sync.doubled import Doubled
from windsock.embedded import EmbeddedPostgres
from windsock.process import Process
from windsock.settings import Settings
from windsock.storage import APPLICATION, DATABASE, Storage

KILLS = int(os.environ.get("WINDSOCK_TEST_KILLS", "8"))
"""A hundred in the run that docs/sync.md tells of."""
WORKERS = ("first worker", "second worker")
VICTIMS = (*WORKERS, SERVER, "postgres", "airflow")


@dataclass
class Mortal(Installation):
    """`serve --no-worker` and two `work`, on one data folder, that die and are started again."""

    deaths: list[datetime] = field(default_factory=list)

    def give_life(self, name: str) -> None:
        if name == SERVER:
            self.start_server("--no-worker")
        else:
            self.start(name, "work")

    def revive(self) -> None:
        """Whoever is dead starts again, as systemd or a container engine would do."""
        for name, process in list(self.processes.items()):
            if process.poll() is not None:
                self.give_life(name)

    def kill(self, name: str) -> None:
        if name == "postgres":
            with contextlib.suppress(FileNotFoundError, ProcessLookupError, IndexError):
                os.kill(self.postmaster(), signal.SIGKILL)
            return
        self.processes[name].kill()
        self.processes[name].wait()
        if name != SERVER:
            self.deaths.append(datetime.now(UTC))
        self.give_life(name)

    def try_to_ask(self, method: str, path: str, **more: Any) -> httpx2.Response | None:
        """None where nobody answers, or not now."""
        with contextlib.suppress(httpx2.HTTPError):
            answer = self.ask(method, path, **more)
            return None if answer.status_code >= 500 else answer
        return None

    def must(self, method: str, path: str, **more: Any) -> Any:
        until = time.monotonic() + 90
        while (answer := self.try_to_ask(method, path, **more)) is None:
            assert time.monotonic() < until, f"{method} {path}: {self.log.read_text()[-3000:]}"
            self.revive()
            time.sleep(0.3)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None


@pytest.fixture
def installation(open_folder: Path) -> Iterator[Mortal]:
    with installed(open_folder, Mortal) as made:
        yield made


class Life(threading.Thread):
    """Airflow lives: a change every few milliseconds, until told to be quiet."""

    def __init__(self, served: Served, chance: random.Random) -> None:
        super().__init__(daemon=True)
        self.served, self.chance = served, chance
        self.is_quiet = threading.Event()
        self.changes = 0

    def run(self) -> None:
        while not self.is_quiet.wait(0.02):
            with self.served.lock:
                self._change(self.served.api.model)
                self.changes += 1

    def _change(self, model: Model) -> None:
        runs = list(model.runs)
        what = self.chance.random()
        key = self.chance.choice(runs)
        if what < 0.1 and len(runs) < 300:
            model.start_run(self.chance.choice(list(model.dags)))
        elif what < 0.12 and len(runs) > 50:
            model.delete_run(key)
        elif what < 0.14:
            model.note_run(key, f"note {what}")
        elif what < 0.16:
            model.clear_run(key)
        else:
            model.step(key, fails=what > 0.95)


@pytest.mark.timeout(0)
def test_whatever_is_killed_nothing_is_lost_or_doubled(
    installation: Mortal, capsys: pytest.CaptureFixture[str]
) -> None:
    chance = random.Random(17)  # noqa: S311 - repeatable on purpose
    model = Model("v2")
    for number in range(12):
        model.add_dag(f"dag_{number:02}", mapped=frozenset({"load"}) if number % 4 == 0 else frozenset())
        for _ in range(5):
            model.start_run(f"dag_{number:02}")
    installation.init()
    with serving(Api(model)) as served:
        installation.serve("--no-worker")
        for name in WORKERS:
            installation.give_life(name)
        connector = UUID(installation.connect(served.url))
        life = Life(served, chance)
        life.start()
        killed, said = kill_at_random(installation, served, chance)
        life.is_quiet.set()
        life.join()
        with served.lock:
            model.let_pass(600)
        installation.revive()
        rest(installation, served, connector)
        installation.stop_all()
        noticed, counts = asyncio.run(compare(installation, served, connector, said))
    with capsys.disabled():
        print(  # noqa: T201 - the numbers are wanted
            f"\n{KILLS} kills ({', '.join(f'{name}: {number}' for name, number in sorted(killed.items()))}),"
            f" {life.changes} changes in Airflow, {len(said)} comments acknowledged;"
            f" syncs {counts}; syncs of killed workers were given up after at most {noticed:.1f} s"
        )
    assert noticed < 60


def kill_at_random(installation: Mortal, served: Served, chance: random.Random) -> tuple[Counter[str], set[str]]:
    killed: Counter[str] = Counter()
    said: set[str] = set()
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
        runs = installation.try_to_ask("GET", "/spaces/finance/orchestration/runs", params={"size": 20})
        if runs is not None and runs.is_success and runs.json():
            path = f"/spaces/finance/orchestration/runs/{chance.choice(runs.json())['id']}/comments"
            answer = installation.try_to_ask("POST", path, json={"content": f"comment {number}"})
            if answer is not None and answer.status_code == 201:
                said.add(f"comment {number}")
    return killed, said


def rest(installation: Mortal, served: Served, connector_id: UUID) -> None:
    """Until what is missing has been looked for again: the newest full syncs are complete, and one more."""
    ended = 0
    until = time.monotonic() + 240
    path = f"/catalog/spaces/finance/connectors/{connector_id}"
    while ended < 3:
        assert time.monotonic() < until, installation.log.read_text()[-3000:]
        sync = installation.must("POST", f"{path}/sync", json={"is_full": True})
        asked_full = sync["is_full"]
        while sync["status"] in {"queued", "running"}:
            assert time.monotonic() < until, sync
            time.sleep(0.2)
            sync = installation.must("GET", f"/spaces/finance/orchestration/syncs/{sync['id']}")
        ended += sync["status"] == "complete" and asked_full
    assert served.requests


async def compare(
    installation: Mortal, served: Served, connector_id: UUID, said: set[str]
) -> tuple[float, dict[str, int]]:
    """Our rows against the double's, field by field; how late a dead worker was noticed, and how many syncs ended how.

    A worker renews its lease every 5 s for 20 s; what it held is given up when that has run out.
    """
    with EmbeddedPostgres(installation.data) as embedded:
        url = embedded.url(user=APPLICATION, database=DATABASE)
        process = Process(Settings(data=Path("nowhere")), Storage(url, (SECRET_KEY,), None))
        async with process.opened(works=False):
            doubled = Doubled(process, Double(served.api))
            async with process.db.transaction() as tx:
                cursor = await tx._connection.execute("SELECT id FROM spaces WHERE slug = 'finance'")
                row = await cursor.fetchone()
            assert row is not None
            doubled.space_id, doubled.connector_id = row["id"], connector_id
            await doubled.assert_equal()
            kept = Counter(row["content"] for row in await doubled.rows("SELECT content FROM comments"))
            assert said <= kept.keys()
            assert set(kept.values()) <= {1}
            rows = await doubled.rows("SELECT started_at, finished_at, phase, status FROM sync_runs")
    late = [0.0]
    for row in rows:
        if row["phase"] == "abandoned":
            deaths = [at for at in installation.deaths if row["started_at"] <= at <= row["finished_at"]]
            late += [(row["finished_at"] - at).total_seconds() for at in deaths[-1:]]
    return max(late), dict(Counter(row["status"] for row in rows))
