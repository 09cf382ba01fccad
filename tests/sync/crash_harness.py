"""Processes that die and are started again, the Airflow that lives meanwhile, and what a dead worker left behind."""

import contextlib
import os
import random
import signal
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx2
import psycopg
from psycopg.rows import dict_row

from cli.cli_subprocess import SERVER, Installation
from fake_airflow.model import Model
from fake_airflow.server import ServedFakeAirflow
from windsock.db.bootstrap import APPLICATION, DATABASE
from windsock.db.database import Row
from windsock.embedded import EmbeddedPostgres

WORKERS = ("first worker", "second worker")
ITS_WORKER_DIED = "The worker of this sync stopped"
MANY_DEATHS = 3
"""In a row: what fells its workers again and again is tried again after pauses that grow."""


@dataclass(frozen=True, slots=True)
class Death:
    """Of a worker, while it held this sync."""

    at: datetime
    sync_id: UUID


@dataclass
class CrashHarness(Installation):
    """`serve --no-worker` and two `work`, on one data folder, that die and are started again."""

    deaths: list[Death] = field(default_factory=list)

    @property
    def database_url(self) -> str:
        return EmbeddedPostgres(self.data).url(user=APPLICATION, database=DATABASE)

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
        if name in WORKERS:
            name = self._at_work(seconds=8) or name
        held = self._held_by(self.processes[name].pid) if name in WORKERS else None
        self.processes[name].kill()
        self.processes[name].wait()
        if held is not None:
            self.deaths.append(Death(datetime.now(UTC), held))
        self.give_life(name)

    def _at_work(self, seconds: float) -> str | None:
        """The worker that is in the middle of a sync, waiting so long until one is."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for name in WORKERS:
                if self._held_by(self.processes[name].pid) is not None:
                    return name
            time.sleep(0.1)
        return None

    def _held_by(self, pid: int) -> UUID | None:
        """The running sync of this worker; None also where the database cannot be asked."""
        with contextlib.suppress(psycopg.Error):
            for row in self._rows("SELECT id, lease_holder FROM sync_runs WHERE status = 'running'"):
                if row["lease_holder"].split(":")[1] == str(pid):
                    found: UUID = row["id"]
                    return found
        return None

    def rows(self, query: str) -> list[Row]:
        """As the application sees the space finance, once the database can be asked."""
        until = time.monotonic() + 60
        while True:
            try:
                return self._rows(query)
            except psycopg.OperationalError:
                assert time.monotonic() < until, self.log.read_text()[-3000:]
                time.sleep(0.3)

    def _rows(self, query: str) -> list[Row]:
        with psycopg.connect(self.database_url, row_factory=dict_row, autocommit=True) as connection:
            connection.execute("SET search_path = windsock")
            (space,) = connection.execute("SELECT id FROM spaces WHERE slug = 'finance'").fetchall()
            connection.execute("SELECT set_config('windsock.space_id', %s, false)", (str(space["id"]),))
            cursor = connection.execute(query.encode())
            return cursor.fetchall() if cursor.description else []

    def try_to_ask(self, method: str, path: str, **more: Any) -> httpx2.Response | None:
        """None where nobody answers, or not now."""
        with contextlib.suppress(httpx2.HTTPError):
            response = self.ask(method, path, **more)
            return None if response.status_code >= 500 else response
        return None

    def must(self, method: str, path: str, **more: Any) -> Any:
        until = time.monotonic() + 90
        while (response := self.try_to_ask(method, path, **more)) is None:
            assert time.monotonic() < until, f"{method} {path}: {self.log.read_text()[-3000:]}"
            self.revive()
            time.sleep(0.3)
        assert response.is_success, response.text
        return response.json() if response.content else None


@dataclass(slots=True)
class Takeovers:
    """`seconds` from a death to the start of the next sync; `left_out`: Airflow was down too, or many died in a row."""

    seconds: list[float] = field(default_factory=list)
    left_out: int = 0

    @classmethod
    def of(cls, deaths: list[Death], syncs: list[Row]) -> "Takeovers":
        """`syncs`: all of the connector that began, in the order in which they did."""
        takeovers = cls()
        places = {sync["id"]: place for place, sync in enumerate(syncs)}
        for death in deaths:
            place = places.get(death.sync_id)
            if place is None or not _died(syncs[place]):
                continue  # it had just ended
            if _has_a_reason_to_wait(syncs[:place]):
                takeovers.left_out += 1
                continue
            after = [sync["started_at"] for sync in syncs[place + 1 :] if sync["started_at"] > death.at]
            assert after, f"the sync {death.sync_id} of a dead worker was never taken over"
            takeovers.seconds.append((after[0] - death.at).total_seconds())
        return takeovers


def _died(sync: Row) -> bool:
    return str(sync["error"] or "").startswith(ITS_WORKER_DIED)


def _has_a_reason_to_wait(before: list[Row]) -> bool:
    """The failures right before it are of Airflow, or were the deaths of many workers."""
    row: list[Row] = []
    for sync in reversed(before):
        if sync["status"] == "complete":
            break
        row.append(sync)
    return len(row) >= MANY_DEATHS or not all(_died(sync) for sync in row)


class BackgroundActivity(threading.Thread):
    """Airflow lives: a change every few milliseconds, until told to be quiet."""

    def __init__(self, served: ServedFakeAirflow, chance: random.Random) -> None:
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
        elif what < 0.11 and len(runs) > 50:
            model.delete_run(key)
        elif what < 0.12:
            model.note_run(key, f"note {what}")
        elif what < 0.14:
            model.clear_run(key)
        else:
            model.step(key, fails=what > 0.95)
