"""What everybody else notices meanwhile: latency of requests, memory of the server, intervals of syncs."""

from __future__ import annotations

import contextlib
import http.client
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import httpx2

if TYPE_CHECKING:
    from bench.api.servers import Server

PAUSE_SECONDS = 0.02
MEMORY_PAUSE_SECONDS = 0.1
TIMEOUT_SECONDS = 30.0


@dataclass(slots=True)
class Latency:
    """Of one path, each request on a new connection, as a load balancer asks. In milliseconds."""

    times: list[float] = field(default_factory=list)
    failures: int = 0

    def percentile(self, share: float) -> float:
        """A failed request counts as the slowest."""
        ordered = sorted(self.times) + [float("inf")] * self.failures
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("inf")


@dataclass(slots=True)
class Observed:
    latency: dict[str, Latency]
    peak_memory: float = 0.0
    """Resident, of the server's process, in MB."""


@contextlib.contextmanager
def observing(server: Server, paths: tuple[str, ...], key: str) -> Iterator[Observed]:
    """One thread for each path, and one for the memory."""
    observed = Observed({path: Latency() for path in paths}, server.memory())
    is_over = threading.Event()

    def probe(path: str) -> None:
        while not is_over.is_set():
            started_at = time.perf_counter()
            try:
                is_ok = _get(server, path, key) == httpx2.codes.OK
            except (OSError, http.client.HTTPException):
                is_ok = False
            if is_ok:
                observed.latency[path].times.append((time.perf_counter() - started_at) * 1000)
            else:
                observed.latency[path].failures += 1
            is_over.wait(PAUSE_SECONDS)

    def watch_memory() -> None:
        while not is_over.wait(MEMORY_PAUSE_SECONDS):
            observed.peak_memory = max(observed.peak_memory, server.memory())

    threads = [threading.Thread(target=probe, args=(path,)) for path in paths]
    threads.append(threading.Thread(target=watch_memory))
    for thread in threads:
        thread.start()
    try:
        yield observed
    finally:
        is_over.set()
        for thread in threads:
            thread.join()


def _get(server: Server, path: str, key: str) -> int:
    host, port = server.url.removeprefix("http://").split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=TIMEOUT_SECONDS)
    try:
        headers = {"Connection": "close", "Authorization": f"Bearer {key}"}
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        response.read()
        return response.status
    finally:
        connection.close()


@dataclass(frozen=True, slots=True)
class SyncTimes:
    """`gaps`: between the starts of scheduled syncs that completed; `waits`: of syncs by hand until they completed.

    In seconds.
    """

    gaps: list[float]
    waits: list[float]


def measure_syncs(api: httpx2.Client, space: str, connector_id: str, seconds: float, times: int = 10) -> SyncTimes:
    """Follow the scheduled syncs of a connector for so long, and then start some by hand, with pauses between them."""
    waits: list[float] = []
    since = datetime.fromisoformat(_newest(api, space, connector_id)["started_at"])
    time.sleep(seconds)
    history = _json(
        api.get(f"/catalog/spaces/{space}/sync-history", params={"connector_id": connector_id, "size": 100})
    )
    ended_at = datetime.now(UTC)
    for _ in range(times):
        time.sleep(2)
        requested_at = time.monotonic()
        run = _json(api.post(f"/spaces/{space}/orchestration/connectors/{connector_id}/sync"))
        while run["status"] in {"queued", "running"}:
            time.sleep(0.1)
            run = _json(api.get(f"/spaces/{space}/orchestration/syncs/{run['id']}"))
        if run["status"] != "complete":
            raise RuntimeError(f"a sync of the undisturbed space ended {run['status']}: {run['error']}")
        waits.append(time.monotonic() - requested_at)
    starts = sorted(datetime.fromisoformat(run["started_at"]) for run in history if run["status"] == "complete")
    gaps = [(later - sooner).total_seconds() for sooner, later in pairwise([*starts, ended_at]) if sooner >= since]
    return SyncTimes(gaps, waits)


def wait_for_sync(api: httpx2.Client, space: str, connector_id: str) -> None:
    until = time.monotonic() + 60
    while _newest(api, space, connector_id).get("status") != "complete":
        if time.monotonic() > until:
            raise RuntimeError(f"the first sync did not complete: {_newest(api, space, connector_id)}")
        time.sleep(0.2)


def _newest(api: httpx2.Client, space: str, connector_id: str) -> dict[str, Any]:
    parameters: dict[str, Any] = {"connector_id": connector_id, "status": "complete", "size": 1}
    runs = _json(api.get(f"/catalog/spaces/{space}/sync-history", params=parameters))
    return dict(runs[0]) if runs else {}


def _json(response: httpx2.Response) -> Any:  # noqa: ANN401 - JSON
    response.raise_for_status()
    return response.json()
