"""A log of 300 MB, and 200 viewers of one log, on a real Airflow with a Windsock of its own process; what both cost.

Minutes of work, so that they only run where WINDSOCK_TEST_LARGE_LOGS is set.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import httpx2
import pytest

from airflow.added_dags import added_dags
from airflow.proxy import Proxy, open_proxy
from browser.conftest import launched
from cli.cli_subprocess import SERVER, Installation, installed, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_lab import AirflowLab

pytestmark = pytest.mark.skipif(  # 300 MB and 200 viewers are too much for every run; CONTRIBUTING: before a release
    not os.environ.get("WINDSOCK_TEST_LARGE_LOGS"), reason="only where WINDSOCK_TEST_LARGE_LOGS is set"
)

MB = 1024 * 1024
LOG_BYTES = 300 * MB
VIEWERS = 200
LINES = 60
AFTER_SECONDS = 30
"""Airflow goes on reading a log that nobody waits for."""
DAG, TASK = "invoice_export", "send_to_bank"
MAX_GROWTH = 2 * MB
"""Of Windsock by one large log."""


class Memory:
    """Resident memory of processes, read from /proc ten times a second: before, at most, and after."""

    def __init__(self, find_pids: Callable[[], list[int]]) -> None:
        self._find_pids = find_pids
        self._stops = threading.Event()
        self.before = self.most = self.after = 0

    def __enter__(self) -> Self:
        self.before = self.most = self._read()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stops.set()
        self._thread.join()
        self.after = self._read()

    def __str__(self) -> str:
        return f"{self.before / MB:.1f} MB before, at most {self.most / MB:.1f}, {self.after / MB:.1f} after"

    def _watch(self) -> None:
        while not self._stops.wait(0.1):
            self.most = max(self.most, self._read())

    def _read(self) -> int:
        return sum(map(_resident, self._find_pids()))


def _resident(pid: int) -> int:
    with contextlib.suppress(OSError):
        found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
        return int(found[1]) * 1024 if found else 0
    return 0


def _tree(pid: int) -> list[int]:
    """A process and all below it."""
    found = [pid]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found += map(int, task.read_text().split())
    return found


@pytest.fixture
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    parent = tmp_path_factory.mktemp("log-load")
    for folder in (parent, *parent.parents):
        with contextlib.suppress(PermissionError):
            folder.chmod(folder.stat().st_mode | 0o011)
    with installed(parent, Installation) as created:
        created.init()
        created.serve()
        yield created


def find_task_run(installation: Installation, run_id: str, task_id: str) -> dict[str, Any]:
    """In the mirror, once its try has begun."""
    base = "/spaces/finance/orchestration"

    def find() -> dict[str, Any] | None:
        for run in installation.request_json("GET", f"{base}/runs"):
            if run["external_id"] == run_id:
                detail = installation.request_json("GET", f"{base}/runs/{run['id']}")
                for task in detail["task_runs"]:
                    if task["external_id"] == task_id and task["try_number"] > 0 and task["started_at"]:
                        found: dict[str, Any] = task
                        return found
        return None

    found: dict[str, Any] = wait_for(find, f"{task_id} in the mirror", 120)
    return found


def read_log(installation: Installation, run_id: str) -> None:
    task = find_task_run(installation, run_id, TASK)
    address = f"/spaces/finance/orchestration/task-runs/{task['id']}/logs"
    assert installation.request_json("GET", address)["lines"]
    page_of_log(installation, task["id"])


def test_log_of_300_mb_costs_little_memory(airflow: AirflowLab, installation: Installation) -> None:
    small, run_id = airflow.trigger(DAG), airflow.trigger(DAG)
    airflow.wait_quiet()
    installation.connect(airflow.url, read_logs="on_demand")
    read_log(installation, small)  # the first log and the first page cost a process memory, whatever their size
    task = find_task_run(installation, run_id, TASK)
    (path,) = airflow.home.glob(f"**/dag_id={DAG}/run_id={run_id}/task_id={TASK}/attempt=1.log")
    enlarge(path, airflow.major)
    address = f"/spaces/finance/orchestration/task-runs/{task['id']}/logs"
    installation.ask("GET", f"/spaces/finance/orchestration/task-runs/{task['id']}")
    pid = installation.processes[SERVER].pid
    with Memory(lambda: _tree(airflow.web_pid)) as theirs, Memory(lambda: [pid]) as ours:
        started = time.monotonic()
        response = installation.ask("GET", address, params={"tail": "500"})
        seconds = time.monotonic() - started
        shown = page_of_log(installation, task["id"])
        time.sleep(AFTER_SECONDS)
    print(f"\nAirflow {airflow.major}: {response.status_code} after {seconds:.1f} s")  # noqa: T201 - measured
    print(f"API server: {theirs}\nWindsock: {ours}\nThe page: {shown}")  # noqa: T201 - measured
    if response.status_code == 200:
        assert "larger than 8 MB" in response.json()["limit"] or "within 20 s" in response.json()["limit"]
    else:
        assert (response.status_code, "within 20 s" in response.json()["detail"]) == (504, True), response.text
    assert ours.after - ours.before <= MAX_GROWTH


def enlarge(path: Path, major: str) -> None:
    """Of lines as Airflow writes them, before those that are there."""
    end = path.read_bytes()
    line = (
        b'{"timestamp":"2026-11-30T10:00:00.000000Z","event":"%s","level":"info","logger":"task.stdout"}\n'
        if major == "3"
        else b"[2026-11-30T10:00:00.000+0000] {logging_mixin.py:190} INFO - %s\n"
    )
    block = b"".join(line % (b"row %06d " % number + b"x" * 100) for number in range(10_000))
    with path.open("wb") as file:
        while file.tell() < LOG_BYTES:
            file.write(block)
        file.write(end)


def page_of_log(installation: Installation, task_run_id: str) -> str:
    """The words above the lines, and the number of lines."""
    with launched() as browser:
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.set_default_timeout(90_000)
        url = f"http://127.0.0.1:{installation.port}"
        page.goto(f"{url}/sign-in")
        page.get_by_label("API key").fill(installation.key)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url(re.compile(r"^(?!.*sign-in)"))
        page.goto(f"{url}/spaces/finance/task-runs/{task_run_id}/log")
        if folder := os.environ.get("WINDSOCK_TEST_SHOTS"):
            page.screenshot(path=f"{folder}/large-log.png")
        words = page.locator(".task-log .doubt").all_inner_texts()
        return f"{' '.join(words)} ({page.locator('.log-lines li').count()} lines)"


@pytest.fixture
def proxy(airflow: AirflowLab) -> Iterator[Proxy]:
    with open_proxy(airflow.url) as created:
        yield created


def test_200_viewers_of_running_log_share_its_requests(
    airflow: AirflowLab, proxy: Proxy, installation: Installation
) -> None:
    with added_dags(airflow, "log_probe.py", ["log_probe"]):
        installation.connect(proxy.url)
        run_id = airflow.trigger("log_probe", {"lines": LINES})
        task = find_task_run(installation, run_id, "count")
        pid = installation.processes[SERVER].pid
        with Memory(lambda: [pid]) as ours:
            started = time.monotonic()
            events = asyncio.run(view(installation, task["id"]))
            seconds = time.monotonic() - started
        airflow.wait_quiet()
    requests = [request for request in proxy.requests if "/logs/" in request]
    print(f"\nAirflow {airflow.major}: {VIEWERS} viewers, {seconds:.0f} s, {len(requests)} requests")  # noqa: T201
    print(f"Windsock: {ours}")  # noqa: T201 - measured
    expected = [f"counted {number}" for number in range(LINES)]
    assert all(text == expected for text in events), [len(text) for text in events]
    assert len(requests) <= seconds / 2 + 2, "one each 2 s, however many look"


async def view(installation: Installation, task_run_id: str) -> list[list[str]]:
    """The lines that each viewer was sent until the end."""
    url = f"http://127.0.0.1:{installation.port}/api/v1.0/spaces/finance/orchestration/task-runs/{task_run_id}"
    limits = httpx2.Limits(max_connections=VIEWERS)
    headers = {"Authorization": f"Bearer {installation.key}"}

    async def follow(client: httpx2.AsyncClient) -> list[str]:
        found: list[str] = []
        async with client.stream("GET", f"{url}/logs/stream") as response:
            assert response.status_code == 200, await response.aread()
            async for line in response.aiter_lines():
                found += re.findall(r'"event":"(counted \d+)', line)
        return found

    async with httpx2.AsyncClient(limits=limits, headers=headers, timeout=60, trust_env=False) as client:
        return await asyncio.gather(*(follow(client) for _ in range(VIEWERS)))
