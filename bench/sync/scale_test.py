"""A worker that mirrors 10,000 DAGs with 4.5 million runs: what it shows when, what it asks, its memory."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "demo"), str(ROOT / "tests")]

from bench.sync.harness import memory  # noqa: E402
from bench.sync.synthetic_airflow import SyntheticAirflow  # noqa: E402
from cli.cli_subprocess import Installation, installed  # noqa: E402
from fake_airflow.server import serving  # noqa: E402 - found below the repository

at = datetime.fromisoformat
WHERE = "/spaces/finance/orchestration"
IDLE_SECONDS = 90


def measure(folder: Path, *, dags: int, runs: int, days: int, read_days: int, seconds: float) -> dict[str, Any]:
    with (
        serving(SyntheticAirflow(dags=dags, runs=runs, days=days)) as served,
        installed(folder, Installation) as windsock,
    ):
        windsock.init()
        windsock.serve("--no-worker")
        worker = windsock.start("worker", "work").pid
        time.sleep(3)
        seen = [(0.0, memory(worker))]
        started = time.monotonic()
        connector = windsock.connect(served.url, history_days=read_days)
        first = whole = None
        while time.monotonic() - started < seconds and whole is None:
            time.sleep(0.5)
            now = time.monotonic() - started
            seen.append((now, memory(worker)))
            if first is None and windsock.request_json("GET", f"{WHERE}/runs", params={"size": 1}):
                first = now
            body = windsock.request_json("GET", f"/catalog/spaces/finance/connectors/{connector}")["freshness"]
            whole = now if (body["history"] or {}).get("is_complete") else None
        caught_up = seen[-1][0]
        idle = idle_syncs(windsock) if whole is not None else []
        seen.append((time.monotonic() - started, memory(worker)))
        rows = windsock.ask("GET", f"{WHERE}/runs", params={"size": 1}).headers["x-total-count"]
        middle = idle[len(idle) // 2] if idle else {}
        return {
            "DAGs": dags,
            "runs in Airflow": runs,
            "days mirrored": read_days,
            "first useful screen, s": None if first is None else round(first, 1),
            "whole history, s": None if whole is None else round(whole, 1),
            "runs mirrored": int(rows),
            "runs and task runs a second": round(int(rows) * 3 / caught_up),
            "requests": served.requests,
            "idle sync": middle,
            "memory of the worker, MB": {
                "at first": round(seen[0][1]),
                "at most": round(max(megabytes for _, megabytes in seen)),
                "at the end": round(seen[-1][1]),
            },
        }


def idle_syncs(windsock: Installation) -> list[dict[str, Any]]:
    """The scheduled syncs of some time in which nothing happens, by how much they asked; the list of DAGs among it."""
    time.sleep(IDLE_SECONDS)
    rows = windsock.request_json("GET", "/catalog/spaces/finance/sync-history", params={"size": 10})
    ended = [row for row in rows if row["status"] == "complete"]
    written = ("created", "updated", "removed")
    body = [
        {
            "requests": row["provider_requests"],
            "rows written": sum(row[kind][what] for kind in ("pipelines", "runs", "task_runs") for what in written),
            "s": round((at(row["finished_at"]) - at(row["started_at"])).total_seconds(), 2),
        }
        for row in ended
    ]
    return sorted(body, key=lambda item: item["requests"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dags", type=int, nargs="+", default=[1_000, 10_000], help="one measurement for each number")
    parser.add_argument("--runs-per-dag", type=int, default=450)
    parser.add_argument("--days", type=int, default=30, help="over which the runs are spread")
    parser.add_argument("--read-days", type=int, default=1, help="how many of them are mirrored")
    parser.add_argument("--seconds", type=float, default=1800, help="at most, for each")
    chosen = parser.parse_args()
    for dags in chosen.dags:
        folder = Path(tempfile.mkdtemp(prefix="windsock-bench-"))
        folder.chmod(0o711)
        try:
            body = measure(
                folder,
                dags=dags,
                runs=dags * chosen.runs_per_dag,
                days=chosen.days,
                read_days=chosen.read_days,
                seconds=chosen.seconds,
            )
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        print(json.dumps(body, indent=2), flush=True)  # noqa: T201 - it is what the script is for


if __name__ == "__main__":
    main()
