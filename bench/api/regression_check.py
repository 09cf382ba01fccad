"""A small fleet: ratios of one run, and numbers of statements, compared with bounds that are committed.

No absolute time, no wrk.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

import httpx2
import psycopg

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "src"), str(ROOT), str(ROOT / "tests"), str(ROOT / "demo")]

from bench.api.load import Scenario  # noqa: E402 - found below the repository
from bench.api.run import compare, prepared, say, scenarios, served, superuser_url  # noqa: E402
from bench.api.seeding import SIZES  # noqa: E402
from windsock.db.bootstrap import Storage  # noqa: E402 - as its neighbours

BOUNDS = Path(__file__).with_name("bounds.json")
STATEMENT = re.compile(rb"LOG:  (?:execute|statement)\b")
TIMES = 5
CHUNK = 5
"""Requests of one scenario before it is the next one's turn."""


class Client:
    """Sends the requests of a scenario; where it is conditional, with the ETag of the response before.

    The window of a list moves by the minute, and its ETag with it.
    """

    def __init__(self) -> None:
        self._http = httpx2.Client(timeout=60, headers={"Accept-Encoding": "identity"})
        self._etags: dict[str, str] = {}

    def get(self, scenario: Scenario, place: int = 0) -> None:
        headers = {"Authorization": scenario.authorization}
        if scenario.etag:
            headers["If-None-Match"] = self._etags.get(scenario.name, scenario.etag)
        response = self._http.get(scenario.server.url + scenario.paths[place % len(scenario.paths)], headers=headers)
        if response.status_code != httpx2.codes.NOT_MODIFIED:
            response.raise_for_status()
        if scenario.etag:
            self._etags[scenario.name] = response.headers["etag"]

    def close(self) -> None:
        self._http.close()


def rates(scenario_list: list[Scenario], rounds: int) -> dict[str, float]:
    """Requests per second of each, one after the other on one connection: the median of rounds in turns."""
    seen: dict[str, list[float]] = {item.name: [] for item in scenario_list}
    with contextlib.closing(Client()) as client:
        for number in range(rounds + 1):
            for scenario in scenario_list:
                started = time.perf_counter()
                for place in range(CHUNK):
                    client.get(scenario, place)
                if number:  # the first one warms up
                    seen[scenario.name].append(CHUNK / (time.perf_counter() - started))
    return {name: statistics.median(found) for name, found in seen.items()}


def statements(storage: Storage, scenario_list: list[Scenario]) -> dict[str, int]:
    """How many PostgreSQL carries out for an answer of each that was asked for before, as its log has them."""
    if storage.embedded is None:
        raise RuntimeError("the check brings its own PostgreSQL")
    with psycopg.connect(superuser_url(storage), autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET log_statement = 'all'")
        connection.execute("SELECT pg_reload_conf()")
    counted = {}
    with contextlib.closing(Client()) as client:
        for scenario in scenario_list:
            times = []
            for _ in range(TIMES):
                before = storage.embedded.log.stat().st_size
                client.get(scenario)
                times.append(len(STATEMENT.findall(storage.embedded.log.read_bytes()[before:])))
            counted[scenario.name] = min(times)  # the first on a connection notices the setting, and plans
    return counted


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="XS")
    parser.add_argument("--rounds", type=int, default=30)
    chosen = parser.parse_args()
    bounds = json.loads(BOUNDS.read_text(encoding="utf-8"))
    wanted = {bound[side] for bound in bounds for side in ("of", "to") if side in bound}
    folder = Path(tempfile.mkdtemp(prefix="windsock-bench-"))
    folder.chmod(0o711)
    broken = 0
    try:
        with (
            prepared(folder, SIZES[chosen.size]) as (storage, fleet, postmaster),
            served(folder, storage, fleet) as servers,
        ):
            say(f"{compare(servers, fleet)} rows are equal in content")
            scenario_list = [scenario for scenario in scenarios(servers, fleet, postmaster) if scenario.name in wanted]
            found, counted = rates(scenario_list, chosen.rounds), statements(storage, scenario_list)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for bound in bounds:
        if "most_statements" in bound:
            many, most = counted[bound["of"]], bound["most_statements"]
            is_ok = 1 <= many <= most  # nothing is answered without a question: 0 would be the log's fault
            broken += not is_ok
            verdict = "ok" if is_ok else "TOO MANY"
            print(f"{verdict:8} {bound['of']}: {many} statements, at most {most}")  # noqa: T201
            continue
        ratio = found[bound["of"]] / found[bound["to"]]
        broken += ratio < bound["least"]
        verdict = "ok" if ratio >= bound["least"] else "TOO SLOW"
        print(f"{verdict:8} {bound['of']} ÷ {bound['to']}: {ratio:.2f}, at least {bound['least']}")  # noqa: T201
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
