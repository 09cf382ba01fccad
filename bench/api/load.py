"""Load by wrk, and what it cost."""

from __future__ import annotations

import os
import statistics
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from bench.api.servers import Server, cpu_of_postgres

SCRIPT = Path(__file__).with_name("load.lua")
RESPONSES_EACH, LONGEST = 5, 8
"""Of each connection in a round, and how many times longer than others a round is at most, to have them."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is asked of whom. `paths` are asked for in turn; `etag`: sent as If-None-Match, and 304 expected."""

    name: str
    server: Server
    paths: tuple[str, ...]
    connections: tuple[int, ...] = (1, 8, 32)
    authorization: str = ""
    etag: str = ""
    postmaster: int | None = None


@dataclass(frozen=True, slots=True)
class Measured:
    """Of one scenario at one number of connections; latencies in ms, CPU in ms for each request."""

    requests_per_second: float
    p50: float
    p95: float
    p99: float
    server_cpu: float
    database_cpu: float
    requests: int


@dataclass(slots=True)
class Rounds:
    """Of so many seconds, or longer where too few answers come: what is under way when a round ends is not counted."""

    seconds: float
    _lasting: dict[tuple[str, int], float] = field(default_factory=dict)

    def measure(self, scenario: Scenario, connections: int) -> Measured:
        """One round; raises where an answer had another status than was expected, or none came."""
        while True:
            seconds = self._lasting.get((scenario.name, connections), self.seconds)
            measured = _measure(scenario, connections, seconds)
            if measured and measured.requests >= RESPONSES_EACH * connections:
                return measured
            if seconds >= LONGEST * self.seconds:
                if measured is None:
                    raise RuntimeError(f"{scenario.name}: no answer in {seconds:g} s")
                return measured
            self._lasting[scenario.name, connections] = 2 * seconds


def _measure(scenario: Scenario, connections: int, seconds: float) -> Measured | None:
    """None where no answer came in time."""
    server, database = scenario.server, scenario.postmaster
    before, before_database = server.cpu(), cpu_of_postgres(database) if database else 0.0
    requests, microseconds, p50, p95, p99 = _wrk(scenario, connections, seconds)
    if not requests:
        return None
    used, used_database = server.cpu() - before, (cpu_of_postgres(database) if database else 0.0) - before_database
    return Measured(
        requests / (microseconds / 1e6), p50 / 1e3, p95 / 1e3, p99 / 1e3,
        used / requests * 1e3, used_database / requests * 1e3, requests,
    )  # fmt: skip


def median(rounds: list[Measured]) -> Measured:
    """Number by number."""
    return Measured(*(statistics.median(getattr(item, name) for item in rounds) for name in Measured.__slots__))


def _wrk(scenario: Scenario, connections: int, seconds: float) -> tuple[int, ...]:
    with tempfile.NamedTemporaryFile("w", suffix=".paths") as paths:
        paths.write("\n".join(scenario.paths) + "\n")
        paths.flush()
        command = [
            "wrk",
            "-t1",
            f"-c{connections}",
            f"-d{seconds:g}s",
            "--timeout",
            "20s",
            "-s",
            str(SCRIPT),
            scenario.server.url,
        ]
        environment = {
            **os.environ,
            "BENCH_PATHS": paths.name,
            "BENCH_AUTHORIZATION": scenario.authorization,
            "BENCH_ETAG": scenario.etag,
            "BENCH_STATUS": "304" if scenario.etag else "200",
        }
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env=environment, timeout=seconds + 60
        )
    body = [line for line in done.stdout.splitlines() if line.startswith("RESULT")]
    if not body:
        raise RuntimeError(f"wrk failed at {scenario.name}: {done.stderr[-500:]}{done.stdout[-500:]}")
    *numbers, errors, unexpected, renewed = (int(part) for part in body[0].split()[1:])
    if errors or unexpected or renewed > connections * (2 + seconds / 60):
        raise RuntimeError(f"{scenario.name}: {errors} errors, {unexpected} answers of another status, of {numbers[0]}")
    return tuple(numbers)
