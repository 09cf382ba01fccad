"""Brings up a real Airflow 3 or 2 with our sample DAGs, on a PostgreSQL of its own, and speaks to its REST API."""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, LiteralString, Self

import httpx2
import psycopg

from airflow_environment import environment, write_passwords
from airflow_install import Version, install, requirements
from airflow_processes import AirflowFailed, Processes
from sample_runs import BROKEN_FILES, EXPECTED_DAGS, LONG_RUNNING, seed_runs
from windsock.embedded import EmbeddedPostgres

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

__all__ = ["LOOP_DAGS", "SAMPLE_DAGS", "USERS", "AirflowFailed", "AirflowLab", "Version", "install", "seed_runs"]

SAMPLE_DAGS: Final = Path(__file__).parent / "dags"
LOOP_DAGS: Final = Path(__file__).parent / "loop_dags"
"""What only Airflow 3.4 can read."""
USERS: Final = {"admin": "admin", "viewer": "viewer"}  # name → password; their roles are Admin and Viewer

# One snapshot: a run that data starts is either still to come, or there.
UNFINISHED_OF_ANY: Final[LiteralString] = """
SELECT d.dag_id, r.run_id FROM dag d JOIN dag_run r USING (dag_id)
WHERE r.state IN ('queued', 'running') AND NOT d.is_paused AND d.dag_id <> ALL (%s)
UNION ALL
SELECT q.target_dag_id, 'to be started' FROM {}_dag_run_queue q JOIN dag d ON d.dag_id = q.target_dag_id
WHERE NOT d.is_paused
"""
UNFINISHED: Final = {major: UNFINISHED_OF_ANY.format(kind) for major, kind in (("3", "asset"), ("2", "dataset"))}

# Airflow 2 knows its users only in its database, and makes the roles beyond Admin and Public when asked.
MAKE_AIRFLOW_2_USERS: Final = f"""
from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder
with get_application_builder() as builder:
    manager = builder.sm
    manager.sync_roles()
    for name, password in {USERS!r}.items():
        if manager.find_user(username=name) is None:
            role = manager.find_role(name.capitalize())
            assert manager.add_user(name, name.capitalize(), "Demo", name + "@example.org", role, password=password)
"""


class AirflowLab:
    """One Airflow on loopback. `with AirflowLab(...) as lab: lab.wait_ready(...)`.

    `environment` is what install() returned. `home` is made, and keeps data, secrets and the port over restarts; its
    folder must be reachable by the user PostgreSQL runs as (`nobody`, if we are root). `dags` is read where it lies:
    give a copy to whoever wants to change files.
    """

    username: Final = "admin"
    password: Final = USERS["admin"]

    def __init__(self, version: Version, environment: Path, home: Path, *, dags: Path = SAMPLE_DAGS) -> None:
        self.major: Final = version[0]
        self._version: Final = version
        self.home: Final = home.resolve()
        self.dags: Final = dags.resolve()
        self._environment = environment.absolute()
        self._postgres = EmbeddedPostgres(
            self.home / "postgres", settings={"fsync": "off", "synchronous_commit": "off"}
        )
        self._token: str | None = None
        self._cleanup = contextlib.ExitStack()
        self._processes: Processes | None = None
        self._started = dt.datetime.now(dt.UTC)
        self.port = 0

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def version(self) -> str:
        """As the server says it, such as 3.3.2."""
        return str(self.api("GET", "/version")["version"])

    @property
    def database_url(self) -> str:
        """Airflow's own database, to look behind its API."""
        return self._postgres.url(user="postgres", database="postgres")

    @property
    def web_pid(self) -> int:
        """Of what answers the API."""
        return self._running.pid("web")

    def start(self) -> None:
        """Start everything and return at once; wait_ready() says when it answers. Call stop() even if this failed."""
        self.home.mkdir(parents=True, exist_ok=True)
        lock = self._cleanup.enter_context((self.home / "lock").open("w"))
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AirflowFailed(f"The Airflow in {self.home} is already running.") from None
        self._started = dt.datetime.now(dt.UTC)
        self._postgres.start()
        self._cleanup.callback(self._postgres.stop)
        self._processes = processes = Processes(self.home)
        self._cleanup.callback(processes.stop)
        processes.kill_leftovers()  # first of all: they hold the port
        self.port = _saved_port(self.home / "port")
        processes.environment = environment(
            self._version, self._environment, self.home, self.dags, self.port, self.database_url
        )
        (self.home / "webserver.pid").unlink(missing_ok=True)
        for log in (self.home / "output").iterdir():
            log.unlink()
        self._prepare()
        self._start("scheduler", "--skip-serve-logs")
        if self.major == "3":
            self._start("dag-processor")
        self._start_web()

    def stop(self) -> None:
        """End everything started; a second call does nothing."""
        self._cleanup.close()
        self._processes = self._token = None

    def serve_api_only(self) -> None:
        """Nothing runs any more but the web server; for measurements of what it answers."""
        for name in ("scheduler", "dag-processor") if self.major == "3" else ("scheduler",):
            self._running.end(name)

    def wait_ready(
        self,
        progress: Callable[[str], None] = lambda _: None,
        *,
        expected: Collection[str] = EXPECTED_DAGS,
        broken: Collection[str] = BROKEN_FILES,
        seconds: float = 240,
    ) -> None:
        """Until the API answers, the scheduler lives, every expected DAG is parsed and every broken file reported."""
        until = time.monotonic() + seconds
        text = ""
        while (missing := self._missing(expected, broken)) is not None:
            if self.died():
                name, status = next(iter(self.died().items()))
                raise AirflowFailed(f"Airflow's {name} ended with status {status}.\n{self._running.tail(name)}")
            if time.monotonic() > until:
                names = ["web", "scheduler", *(["dag-processor"] if self.major == "3" else [])]
                logs = "\n".join(self._running.tail(name) for name in names)
                raise AirflowFailed(f"Airflow was not ready after {seconds:.0f} s: {missing}.\n{logs}")
            if missing != text:
                progress(f"Airflow {self._version}: waiting for {missing}.")
                text = missing
            time.sleep(0.5)

    def died(self) -> dict[str, int]:
        """Processes that ended by themselves, by name, with their status."""
        return self._running.died()

    def revive(self) -> list[str]:
        """Start the web server again if it died (Airflow 3.3 may, on Python 3.11); its name if so."""
        if "web" not in self.died():
            return []
        self._start_web()
        return ["web"]

    def api(self, method: str, path: str, *, json: Any = None, params: Any = None) -> Any:  # noqa: ANN401 - JSON
        """Call `/api/v2` or `/api/v1` as admin: the parsed answer, or AirflowFailed with what the server said.

        Ask for at most 100 rows: larger answers can kill Airflow 3.3 on Python 3.11.
        """
        try:
            response = self._request(method, path, json=json, params=params)
            if response.status_code == 401:  # noqa: PLR2004 - Unauthorized: a token of Airflow 3 lives for a day
                self._token = None
                response = self._request(method, path, json=json, params=params)
        except httpx2.TransportError as error:
            raise AirflowFailed(f"{method} {path}: {error!r}; died: {self.died() or 'none'}.") from error
        if response.status_code >= 400:  # noqa: PLR2004 - where HTTP's errors begin
            raise AirflowFailed(f"{method} {path}: {response.status_code} {response.text[:2000]}")
        return response.json() if response.content else None

    def trigger(self, dag_id: str, conf: dict[str, Any] | None = None, run_id: str | None = None) -> str:
        """The run's id."""
        body: dict[str, Any] = {"conf": conf or {}}
        if run_id is not None:
            body["dag_run_id"] = run_id
        if self.major == "3":
            body["logical_date"] = None
        return str(self.api("POST", f"/dags/{dag_id}/dagRuns", json=body)["dag_run_id"])

    def pause(self, dag_id: str, *, paused: bool = True) -> None:
        self.api("PATCH", f"/dags/{dag_id}", json={"is_paused": paused})

    def unpause(self, dag_id: str) -> None:
        self.pause(dag_id, paused=False)

    def unfinished(self, ignore: Collection[str] = LONG_RUNNING) -> list[str]:
        """Queued and running runs as `dag_id run_id`, and those that data is about to start; not of paused DAGs."""
        with psycopg.connect(self.database_url) as connection:
            rows = connection.execute(UNFINISHED[self.major], [list(ignore)]).fetchall()
        return [f"{dag_id} {run_id}" for dag_id, run_id in rows]

    def wait_quiet(self, seconds: float = 180, *, ignore: Collection[str] = LONG_RUNNING) -> None:
        """Until nothing is unfinished."""
        until = time.monotonic() + seconds
        while waiting := self.unfinished(ignore):
            if time.monotonic() > until:
                raise AirflowFailed(f"Airflow was not quiet after {seconds:.0f} s; unfinished: {waiting}.")
            time.sleep(0.5)

    @property
    def _running(self) -> Processes:
        if self._processes is None:
            raise AirflowFailed("This Airflow is not started.")
        return self._processes

    def _start(self, command: str, *options: str, name: str | None = None) -> None:
        self._running.start(name or command, str(self._environment / "bin" / "airflow"), command, *options)

    def _start_web(self) -> None:
        if self.major == "3":
            self._start("api-server", "--host", "127.0.0.1", "--port", str(self.port), "--workers", "1", name="web")
        else:
            pid = str(self.home / "webserver.pid")
            options = ("--hostname", "127.0.0.1", "--port", str(self.port), "--workers", "1", "--pid", pid)
            self._start("webserver", *options, name="web")

    def _prepare(self) -> None:
        """The schema and the users, once per home and installed version."""
        marker = self.home / "postgres" / "airflow-prepared"  # there, so that it goes when the data goes
        state = requirements(self._version).read_text()
        if marker.is_file() and marker.read_text() == state:
            return
        write_passwords(self.home, USERS)
        self._running.run("migrate", str(self._environment / "bin" / "airflow"), "db", "migrate")
        if self.major == "2":
            self._running.run("users", str(self._environment / "bin" / "python"), "-c", MAKE_AIRFLOW_2_USERS)
        marker.write_text(state)

    def _missing(self, expected: Collection[str], broken: Collection[str]) -> str | None:
        """What is not there yet."""
        try:
            health = self.api("GET", "/monitor/health" if self.major == "3" else "/health")
            dags = self.api("GET", "/dags", params={"limit": 100})["dags"]
            errors = self.api("GET", "/importErrors", params={"limit": 100})["import_errors"]
        except AirflowFailed:
            return "the web server"
        for part in ("scheduler", "dag_processor") if self.major == "3" else ("scheduler",):
            beat = health[part][f"latest_{part}_heartbeat"]
            # The heartbeat of an earlier life still counts as healthy for half a minute.
            if beat is None or dt.datetime.fromisoformat(beat) < self._started:
                return f"the {part}"
        seen = {dag["dag_id"] for dag in dags} | {Path(error["filename"]).name for error in errors}
        absent = len({*expected, *broken} - seen)
        return f"its DAG files ({absent} of {len(expected) + len(broken)} missing)" if absent else None

    def _request(self, method: str, path: str, **rest: Any) -> httpx2.Response:  # noqa: ANN401 - handed through
        """trust_env=False: a proxy or a .netrc of the caller has no business with loopback."""
        with httpx2.Client(base_url=self.url, timeout=30, trust_env=False) as client:
            if self.major == "2":
                return client.request(method, f"/api/v1{path}", auth=(self.username, self.password), **rest)
            if self._token is None:
                login = {"username": self.username, "password": self.password}
                response = client.post("/auth/token", json=login)
                if response.status_code != 201:  # noqa: PLR2004 - Created
                    raise AirflowFailed(f"Airflow gave no token: {response.status_code} {response.text[:2000]}")
                self._token = response.json()["access_token"]
            return client.request(method, f"/api/v2{path}", headers={"Authorization": f"Bearer {self._token}"}, **rest)


def _saved_port(file: Path) -> int:
    """The port of last time if it is free, so that whoever remembers the address finds it again; else a free one."""
    saved_port = int(file.read_text()) if file.is_file() else 0
    for port in (saved_port, 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            # As servers do: connections of the last life that are still closing do not make a port taken.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            free = int(probe.getsockname()[1])
            file.write_text(str(free))
            return free
    raise AirflowFailed("No port is free on loopback.")
