"""A stand-in for Airflow's runs that misbehaves on purpose; tests/airflow/test_trigger.py does so to real ones."""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

import httpx2
from fastapi import FastAPI

from windsock import egress
from windsock.actions.trigger import TriggerService
from windsock.connectors.store import AirflowConnector
from windsock.context import AppContext
from windsock.failures.log_reader import LogReader
from windsock.failures.log_stream import LogStreams
from windsock.http.responses import dump_json
from windsock.providers.airflow import Airflow, TokenCache
from windsock.providers.base import Provider
from windsock.web.tries import PreviousTriesCache

DATE = "Mon, 23 Nov 2026 14:35:33 GMT"
HEADERS = {"Date": DATE, "Content-Type": "application/json"}
LOG = b"""{"timestamp":"2026-11-23T14:32:23Z","event":"Copying 1,204 rows","level":"info","logger":"task.stdout"}
{"timestamp":"2026-11-23T14:32:24Z","event":"Task failed with exception","level":"error","logger":"task",\
"error_detail":[{"exc_type":"BankError","exc_value":"the account is closed","frames":[\
{"filename":"/opt/airflow/dags/bank.py","lineno":12,"name":"send"}]}]}
"""


@dataclass
class Runs:
    """Answers like Airflow 3's /dagRuns. `faults` are taken one per POST: "lost" (accepted, then the connection
    breaks), "unsent" (no connection), or a status with a detail."""

    faults: list[Any] = field(default_factory=list)
    lookups_fail: bool = False
    stored: dict[str, dict[str, Any]] = field(default_factory=dict)
    posts: list[dict[str, Any]] = field(default_factory=list)
    gets: int = 0
    details: tuple[int, dict[str, Any]] = (200, {"params": {}})
    tries: tuple[int, dict[str, Any]] = (200, {"task_instances": []})
    tried: list[str] = field(default_factory=list)

    def __call__(self, request: httpx2.Request) -> httpx2.Response:  # noqa: C901, PLR0911 - a table of paths
        if request.url.path == "/auth/token":
            return self._respond(201, {"access_token": "planted.token"})
        if request.method == "GET":
            if request.url.path.endswith("/tries"):
                self.tried.append(request.url.path + (f"?{request.url.query.decode()}" if request.url.query else ""))
                return self._respond(*self.tries)
            if "/logs/" in request.url.path:
                return httpx2.Response(200, content=LOG, headers={**HEADERS, "Content-Type": "application/x-ndjson"})
            if request.url.path.endswith("/details"):
                return self._respond(*self.details)
            self.gets += 1
            if self.lookups_fail:
                raise httpx2.ReadError("cut", request=request)
            _, dag_id, _, run_id = request.url.path.rsplit("/", 3)
            missing = f"The DagRun with dag_id: `{dag_id}` and run_id: `{run_id}` was not found"
            run = self.stored.get(run_id)
            return self._respond(200, run) if run else self._respond(404, {"detail": missing})
        body = json.loads(request.content)
        self.posts.append(body)
        fault = self.faults.pop(0) if self.faults else None
        if fault == "unsent":
            raise httpx2.ConnectError("refused", request=request)
        if isinstance(fault, tuple):
            return self._respond(fault[0], {"detail": fault[1]})
        if body["dag_run_id"] in self.stored:
            return self._respond(409, {"detail": {"reason": "Unique constraint violation"}})
        self.stored[body["dag_run_id"]] = run = {
            "dag_id": request.url.path.split("/")[4],
            "dag_run_id": body["dag_run_id"],
            "state": "queued",
            "run_type": "manual",
            "run_after": "2026-11-24T09:00:00Z",
            "queued_at": "2026-11-24T09:00:00Z",
            "logical_date": body["logical_date"],
            "conf": body["conf"],
            "note": body["note"],
        }
        if fault == "lost":
            raise httpx2.ReadError("cut", request=request)
        return self._respond(200, run)

    @staticmethod
    def _respond(status: int, body: object) -> httpx2.Response:
        return httpx2.Response(status, content=_json(body), headers={"Date": DATE, "Content-Type": "application/json"})


def install(app: FastAPI, process: AppContext) -> Runs:
    """Every connector's Airflow is from now on this one, which keeps what it is told to start."""
    fake_runs = Runs()

    tokens = TokenCache()
    tokens.recognized.add("of the test", None)

    def open_provider(connector: AirflowConnector, _api_version: Any) -> Provider:
        tokens.drop("of the test")
        return Airflow(
            connector.config,
            connector.credentials,
            api_version="v2",
            tokens=tokens,
            key="of the test",
            policy=egress.Policy.of(loopback=True),
            transport=httpx2.MockTransport(fake_runs),
            sleep=_no_pause,
        )

    app.state.triggers = TriggerService(process.secrets, open_provider, asyncio.Semaphore(4))
    app.state.tries = PreviousTriesCache(app.state.triggers)
    app.state.logs = LogReader(process.secrets, open_provider)
    app.state.log_streams = LogStreams(app.state.logs)
    return fake_runs


async def _no_pause(_seconds: float) -> None:
    await asyncio.sleep(0)


def _json(body: object) -> bytes:
    """Of any depth, and with numbers of any size."""
    try:
        return dump_json(body)
    except TypeError:
        return json.dumps(body).encode()
