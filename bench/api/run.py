"""The API under load on a seeded fleet, against the conventional stack and the floor, in one run and in turns."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import json
import os
import platform
import shutil
import sys
import tempfile
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import httpx2

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "src"), str(ROOT), str(ROOT / "tests"), str(ROOT / "demo")]

from bench.api.airflow import Airflows, airflows  # noqa: E402 - found below the repository
from bench.api.ingest import format_table as format_ingest_table  # noqa: E402
from bench.api.ingest import ingest  # noqa: E402
from bench.api.load import Measured, Rounds, Scenario, median  # noqa: E402
from bench.api.report import format_budgets, format_table, replace_sections  # noqa: E402
from bench.api.seeding import SIZES, Fleet, Size, seed  # noqa: E402
from bench.api.servers import Server, uvicorn, windsock  # noqa: E402
from bench.api.verify import compared  # noqa: E402
from bench.api.web_latency import LIST_PAGE, measure_pages  # noqa: E402
from windsock.db.bootstrap import DATABASE, Storage, provision_database  # noqa: E402
from windsock.db.database import Database  # noqa: E402
from windsock.settings import Settings  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE, WRITTEN = ROOT / "docs" / "benchmarks.md", ("S", "L")
"""Where figures go, unless only some were measured."""
SORTS = ("-last_run_at", "-failed_count", "success_rate", "-p95_duration_seconds", "-criticality")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - it is what the script is for


@contextlib.contextmanager
def prepared(folder: Path, size: Size) -> Iterator[tuple[Storage, Fleet, int]]:
    """A Windsock's database with the fleet in it, and the pid of its PostgreSQL."""
    data = folder / "data"
    with provision_database(Settings(data=data)) as storage:
        fleet = asyncio.run(_seeded(storage, size))
        say(json.dumps({"seeded": fleet.counts, "seconds": fleet.seconds}))
        yield storage, fleet, int((data / "postgres" / "postmaster.pid").read_text().split()[0])


def superuser_url(storage: Storage) -> str:
    """Of the embedded PostgreSQL."""
    if storage.embedded is None:
        raise RuntimeError("the benchmark brings its own PostgreSQL; unset WINDSOCK_DATABASE_URL")
    return storage.embedded.url(user=storage.embedded.superuser, database=DATABASE)


async def _seeded(storage: Storage, size: Size) -> Fleet:
    db = Database(storage.app_url, pool_size=2)
    await db.open()
    try:
        return await seed(db, superuser_url(storage), size, storage.secret_keys[0], say)
    finally:
        await db.close()


@contextlib.contextmanager
def served(folder: Path, storage: Storage, fleet: Fleet) -> Iterator[dict[str, Server]]:
    """All the servers that are compared."""
    data, body = folder / "data", folder / "body.json"
    with contextlib.ExitStack() as stack:
        own = stack.enter_context(windsock("windsock", data, folder))
        orm = uvicorn(
            "conventional",
            "bench.api.orm_baseline:app",
            folder,
            ready="/openapi.json",
            BENCH_DATABASE_URL=storage.app_url,
        )
        conventional = stack.enter_context(orm)
        body.write_bytes(_get(own, fleet, _pipelines(fleet)).content)
        static_baseline = stack.enter_context(
            uvicorn("static_baseline", "bench.api.static_baseline:app", folder, ready="/", BENCH_BODY=str(body))
        )
        yield {server.name: server for server in (own, conventional, static_baseline)}


def _pipelines(fleet: Fleet, **more: object) -> str:
    return f"/api/v1.0/spaces/{fleet.slug}/orchestration/pipelines?{urlencode({'days': 30, 'size': 100} | more)}"


def _runs(fleet: Fleet, **more: object) -> str:
    query = urlencode({"size": 100} | more)
    return f"/api/v1.0/spaces/{fleet.slug}/orchestration/pipelines/{fleet.pipeline_id}/runs?{query}"


def _all_runs(fleet: Fleet, **more: object) -> str:
    return f"/api/v1.0/spaces/{fleet.slug}/orchestration/runs?{urlencode({'size': 100} | more)}"


def _ago(days: int) -> str:
    return (datetime.now(UTC) - timedelta(days=days)).isoformat()


_WINDOWS: tuple[tuple[str, dict[str, object]], ...] = (
    ("since yesterday", {"started_from": _ago(1)}),
    ("of 7 days", {"started_from": _ago(7)}),
    ("of 30 days", {"started_from": _ago(30)}),
    ("of a day three weeks ago", {"started_from": _ago(21), "started_to": _ago(20)}),
    ("failed, since yesterday", {"started_from": _ago(1), "status": "failed"}),
)


def _run(fleet: Fleet, many: int) -> str:
    return f"/api/v1.0/spaces/{fleet.slug}/orchestration/runs/{fleet.large_runs[many]}"


def _get(server: Server, fleet: Fleet, path: str) -> httpx2.Response:
    headers = {"Authorization": f"Bearer {fleet.key}", "Accept-Encoding": "identity"}
    response = httpx2.get(server.url + path, headers=headers, timeout=60)
    response.raise_for_status()
    return response


def _warm_up(scenario: Scenario, times: int = 10) -> None:
    for _ in range(times):
        for path in scenario.paths:
            headers = {"Authorization": scenario.authorization, "If-None-Match": scenario.etag}
            response = httpx2.get(scenario.server.url + path, headers=headers, timeout=60)
            if response.status_code != httpx2.codes.NOT_MODIFIED:
                response.raise_for_status()


# --- Equal in content ------------------------------------------------------------------------------------------------


def compare(servers: dict[str, Server], fleet: Fleet) -> int:
    """How many rows were compared; raises where the conventional stack, which counts each run, says something else."""
    return sum(
        compared(path, *(_get(servers[name], fleet, path).json() for name in ("windsock", "conventional")))
        for path in (_pipelines(fleet), _pipelines(fleet, page=2, size=20), _pipelines(fleet, days=1), _runs(fleet))
    )


# --- What is asked ---------------------------------------------------------------------------------------------------


def scenarios(servers: dict[str, Server], fleet: Fleet, postmaster: int) -> list[Scenario]:
    own, conventional, static_baseline = (servers[name] for name in ("windsock", "conventional", "static_baseline"))
    key = f"Bearer {fleet.key}"
    etag = _get(own, fleet, _pipelines(fleet)).headers["etag"]

    def scenario_list(
        name: str, server: Server, *paths: str, connections: tuple[int, ...] = (1, 8, 32), etag: str = ""
    ) -> Scenario:
        return Scenario(
            name, server, paths, connections, key, etag, postmaster if server is not static_baseline else None
        )

    deep = _deep_page(own, fleet)
    few = (1,)
    return [
        scenario_list("pipelines, uncached", own, _pipelines(fleet)),
        scenario_list("pipelines, conventional", conventional, _pipelines(fleet)),
        scenario_list("static baseline, bare", static_baseline, "/"),
        scenario_list("static baseline, routed", static_baseline, "/routed"),
        scenario_list("static baseline, as Windsock serves", static_baseline, "/served"),
        scenario_list("pipelines, 304", own, _pipelines(fleet), etag=etag),
        scenario_list("runs of a pipeline, uncached", own, _runs(fleet)),
        scenario_list("runs of a pipeline, conventional", conventional, _runs(fleet)),
        scenario_list("runs of the space, page 1", own, _all_runs(fleet), connections=few),
        scenario_list(f"runs of the space, page {deep[0]} by cursor", own, deep[1], connections=few),
        *(
            scenario_list(f"runs of the space, {name}", own, _all_runs(fleet, **when), connections=few)
            for name, when in _WINDOWS
        ),
        scenario_list("run with 1,000 task runs", own, _run(fleet, 1_000), connections=few),
        scenario_list("run with 10,000 task runs", own, _run(fleet, 10_000), connections=few),
        scenario_list("pipelines, 1 day", own, _pipelines(fleet, days=1), connections=few),
        scenario_list("pipelines, 365 days", own, _pipelines(fleet, days=365), connections=few),
        scenario_list("pipelines, two words", own, _pipelines(fleet, q="dag 77"), connections=few),
        *(
            scenario_list(f"pipelines, sort={sort}", own, _pipelines(fleet, sort=sort), connections=few)
            for sort in SORTS
        ),
    ]


def _deep_page(server: Server, fleet: Fleet, wanted: int = 1_000) -> tuple[int, str]:
    """Page 1,000 of the runs of the space, or the last one of a smaller fleet; come to by its cursor."""
    most, page, path = 500, 1, _all_runs(fleet, size=500)
    cursor = ""
    while page * most < wanted * 100:
        cursor = _get(server, fleet, path).headers.get("x-next-cursor", "")
        if not cursor:
            break
        page += 1
        path = _all_runs(fleet, size=most, cursor=cursor)
        last = cursor
    return (page - 1) * most // 100 + 1, _all_runs(fleet, cursor=last)


def machine(postmaster: int) -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    version = Path(f"/proc/{postmaster}/exe").resolve().parents[1].name.removeprefix("pginstall")
    python = platform.python_version()
    return f"{os.cpu_count()} cores, {memory:.0f} GB, Python {python}, PostgreSQL {version}, {platform.machine()}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=sorted(SIZES), default="S")
    parser.add_argument("--seconds", type=int, default=5, help="of each round")
    parser.add_argument("--rounds", type=int, default=3, help="of each scenario, in turns")
    parser.add_argument("--only", default="", help="scenarios whose name holds this")
    parser.add_argument("--airflow", action="store_true", help="compare with real Airflows 3 too, which are installed")
    parser.add_argument("--ingest", action="store_true", help="measure how fast a worker stores what changed, too")
    parser.add_argument("--pages", action="store_true", help="measure the pages too, with Chromium")
    chosen = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="windsock-bench-"))
    folder.chmod(0o711)
    results: dict[tuple[str, int], list[Measured]] = {}
    beside: contextlib.AbstractContextManager[Airflows | None] = contextlib.nullcontext()
    if chosen.airflow:
        beside = airflows(folder, SIZES[chosen.size], say)
    try:
        with (
            beside as started,
            prepared(folder, SIZES[chosen.size]) as (storage, fleet, postmaster),
            served(folder, storage, fleet) as servers,
        ):
            say(f"{compare(servers, fleet)} rows are equal in content")
            others: list[Scenario] = []
            if started:
                get = functools.partial(_get, servers["windsock"], fleet)
                others = started.scenarios(superuser_url(storage), fleet, get, say)
            scenario_list = [
                item for item in scenarios(servers, fleet, postmaster) + others if chosen.only in item.name
            ]
            for scenario in scenario_list:  # so that nobody is measured while it warms up, also from a disk
                _warm_up(scenario)
            rounds = Rounds(chosen.seconds)
            for number in range(chosen.rounds):
                for connections in (1, 8, 32):
                    for scenario in scenario_list:
                        if connections in scenario.connections:
                            result = rounds.measure(scenario, connections)
                            results.setdefault((scenario.name, connections), []).append(result)
                say(f"round {number + 1} of {chosen.rounds}")
            memory = {server.name: round(server.memory(), 1) for server in servers.values()}
            line = machine(postmaster)
            page_table, latencies = measure_pages(servers["windsock"], fleet) if chosen.pages else ("", {})
            stored = asyncio.run(ingest(storage.app_url, superuser_url(storage), fleet)) if chosen.ingest else []
        medians = {key: median(rounds) for key, rounds in results.items()}
        sections = {f"size {chosen.size}": format_table(line, fleet, medians, memory)}
        others_of_l = {
            "budgets": format_budgets(medians, latencies, stored, LIST_PAGE),
            "pages": page_table,
            "storing": format_ingest_table(stored) if stored else "",
        }
        print(*sections.values(), *others_of_l.values(), sep="\n\n", flush=True)  # noqa: T201
        if not chosen.only and chosen.size in WRITTEN:
            if not (chosen.airflow and chosen.ingest and chosen.pages):
                del others_of_l["budgets"]  # which would lose the rows that were not measured
            sections |= others_of_l if chosen.size == "L" else {}
            PAGE.write_text(replace_sections(PAGE.read_text(encoding="utf-8"), sections), encoding="utf-8")
            say(f"{PAGE.relative_to(ROOT)}: the tables of size {chosen.size} are updated")
        raw = {f"{name} @ {connections}": asdict(item) for (name, connections), item in medians.items()}
        say(json.dumps(raw))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
