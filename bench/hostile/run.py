"""Latency, memory and sync intervals of a `windsock serve`, with its worker, under hostile clients and connectors."""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "src"), str(ROOT), str(ROOT / "tests"), str(ROOT / "demo")]

from bench.api.servers import Server, running  # noqa: E402
from bench.hostile.clients import (  # noqa: E402
    Client,
    attacking,
    hanging_address,
    hold_idle_connection,
    hold_idle_connection_once,
    send_endless_header,
    send_slow_header,
)
from bench.hostile.probes import Observed, measure_syncs, observing, wait_for_sync  # noqa: E402
from fake_airflow.api import Api  # noqa: E402 - found below the repository
from fake_airflow.model import Model  # noqa: E402
from fake_airflow.server import ServedFakeAirflow  # noqa: E402
from windsock.http.server import raise_file_limit  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

HEALTH, LIST = "/health", "/api/v1.0/spaces"
INTERVAL_SECONDS = 5
MEGABYTE = 1_000_000
MAX_HEALTH_MS, MAX_MEMORY_MB, MAX_DELAY_SECONDS = 100, 50, 10


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - it is what the script is for


def print_row(*cells: object) -> None:
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)  # noqa: T201


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[tuple[Server, str]]:
    """A new installation on the embedded PostgreSQL, and the key of its first user."""
    data = ["--data", str(folder / "data")]
    windsock = [sys.executable, "-m", "windsock"]
    init = ["init", "--email", "bench@example.com", "--space", "undisturbed", "--json"]
    key: str = json.loads(subprocess.check_output([*windsock, *init, *data], stderr=subprocess.DEVNULL))["key"]
    command = [*windsock, "serve", "--port", "{port}", *data]
    with running("windsock", command, folder, ready="/health/ready") as server:
        yield server, key


# --- Clients ---------------------------------------------------------------------------------------------------------


def observe(
    server: Server, key: str, clients: tuple[tuple[Client, int], ...], seconds: float, *, megabytes: int = 0
) -> tuple[Observed, list[str]]:
    """For so long, and until so much was sent; and what the clients did, in words."""
    port = int(server.url.rpartition(":")[2])
    with contextlib.ExitStack() as stack:
        counters = [stack.enter_context(attacking(client, count, port)) for client, count in clients]
        while any(counter.opened.value < count for counter, (_, count) in zip(counters, clients, strict=True)):
            time.sleep(0.1)
        observed = stack.enter_context(observing(server, (HEALTH, LIST), key))
        started_at = time.monotonic()
        while (
            time.monotonic() - started_at < seconds
            or sum(counter.sent.value for counter in counters) < megabytes * MEGABYTE
        ):
            time.sleep(0.1)
        did = [
            f"{counter.opened.value:,} connections, {counter.ended.value:,} ended, "
            f"{counter.sent.value / MEGABYTE:,.0f} MB"
            for counter in counters
        ]
    return observed, did


def attack_with_clients(server: Server, key: str, seconds: float) -> bool:
    endless, slow, idle = (send_endless_header, 10), (send_slow_header, 500), (hold_idle_connection, 2_000)
    scenarios: tuple[tuple[str, tuple[tuple[Client, int], ...], int], ...] = (
        ("nothing", (), 0),
        ("10 endless headers, 500 MB", (endless,), 500),
        ("500 slow headers", (slow,), 0),
        ("1,000 idle connections", ((hold_idle_connection, 1_000),), 0),
        ("2,000 idle connections", (idle,), 0),
        ("10 endless headers, 500 MB, and 2,000 idle connections", (endless, idle), 500),
        ("all of it", (endless, slow, idle), 500),
        ("nothing, afterwards", (), 0),
    )
    observe(server, key, (), 5)  # so that memory is what it is in use
    memory_before = server.memory()
    titles = ("clients", "health p50 / p95 / max ms", "list p95 ms", "failed", "memory MB, above before", "they did")
    print_row(*titles)
    print_row(*("---" for _ in titles))
    is_reached = True
    for name, clients, megabytes in scenarios:
        observed, did = observe(server, key, clients, seconds, megabytes=megabytes)
        health, listed = observed.latency[HEALTH], observed.latency[LIST]
        more = observed.peak_memory - memory_before
        failures = health.failures + listed.failures
        is_reached &= health.percentile(0.95) <= MAX_HEALTH_MS and more <= MAX_MEMORY_MB and not failures
        shares = " / ".join(f"{health.percentile(share):.1f}" for share in (0.5, 0.95, 1.0))
        failed = f"{failures} of {failures + len(health.times) + len(listed.times)}"
        print_row(name, shares, f"{listed.percentile(0.95):.1f}", failed, f"{more:+.1f}", "; ".join(did) or "-")
    return is_reached


def count_idle_connections(server: Server) -> None:
    """How long the server keeps connections that send nothing."""
    port = int(server.url.rpartition(":")[2])
    with attacking(hold_idle_connection_once, 1_000, port) as counters:
        started_at = time.monotonic()
        while counters.opened.value < 1_000:  # noqa: PLR2004 - as many as there are clients
            time.sleep(0.05)
        while counters.open_connections and time.monotonic() - started_at < 65:  # noqa: PLR2004 - open after so long before
            time.sleep(0.1)
        seconds = time.monotonic() - started_at
        print_row("1,000 idle connections, seconds until all are closed", f"{seconds:.1f}", counters.open_connections)


# --- Connectors ------------------------------------------------------------------------------------------------------


def attack_with_connectors(server: Server, key: str, seconds: float, count: int) -> bool:
    """Another space has so many connectors at a hanging address, and syncs them by hand."""
    model = Model()
    model.add_dag("bills")
    model.start_run("bills")
    airflow = ServedFakeAirflow(Api(model))
    airflow.start()
    headers = {"Authorization": f"Bearer {key}"}
    try:
        with httpx2.Client(base_url=f"{server.url}/api/v1.0", headers=headers, timeout=60) as api:
            connector_id = add_connector(api, "undisturbed", "airflow", airflow.url, INTERVAL_SECONDS)
            wait_for_sync(api, "undisturbed", connector_id)
            before = measure_syncs(api, "undisturbed", connector_id, seconds / 4)
            api.post("/spaces", json={"slug": "hostile", "name": "Hostile"}).raise_for_status()
            with hanging_address() as url:
                for number in range(count):
                    hostile_id = add_connector(api, "hostile", f"hangs-{number}", url, INTERVAL_SECONDS)
                    api.post(f"/spaces/hostile/orchestration/connectors/{hostile_id}/sync").raise_for_status()
                meanwhile = measure_syncs(api, "undisturbed", connector_id, seconds)
    finally:
        airflow.stop()
    titles = ("hanging connectors of another space", "scheduled syncs", "longest gap s", "by hand, longest s")
    print_row(*titles)
    print_row(*("---" for _ in titles))
    for connectors, times in ((0, before), (count, meanwhile)):
        print_row(connectors, len(times.gaps), f"{max(times.gaps):.1f}", f"{max(times.waits):.1f}")
    return max(meanwhile.gaps) <= INTERVAL_SECONDS + MAX_DELAY_SECONDS


def add_connector(api: httpx2.Client, space: str, name: str, url: str, interval: int) -> str:
    config = {"base_url": url, "timeout_seconds": 60, "sync_interval_seconds": interval}
    credentials = {"auth_type": "password", "username": "admin", "password": "admin"}
    body = {"name": name, "connector_type": "airflow", "config": config, "credentials": credentials}
    response = api.post(f"/catalog/spaces/{space}/connectors", json=body)
    response.raise_for_status()
    return str(response.json()["id"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=("clients", "connectors"), help="one of the two parts")
    parser.add_argument("--seconds", type=float, default=20, help="of each kind of client")
    parser.add_argument("--sync-seconds", type=float, default=180, help="of the hanging connectors")
    parser.add_argument("--connectors", type=int, default=100, help="how many hang")
    chosen = parser.parse_args()
    raise_file_limit()
    folder = Path(tempfile.mkdtemp(prefix="windsock-hostile-"))
    folder.chmod(0o711)
    is_reached = True
    try:
        with serve(folder) as (server, key):
            if chosen.only != "connectors":
                say("hostile clients")
                is_reached &= attack_with_clients(server, key, chosen.seconds)
                count_idle_connections(server)
            if chosen.only != "clients":
                say("hanging connectors")
                is_reached &= attack_with_connectors(server, key, chosen.sync_seconds, chosen.connectors)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    say(f"the bars are {'reached' if is_reached else 'NOT reached'}")
    sys.exit(0 if is_reached else 1)


if __name__ == "__main__":
    main()
