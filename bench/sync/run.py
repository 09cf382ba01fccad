"""A real Airflow 3 with many rows, mirrored: how soon there is something to see, and at which rate it is read."""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "demo"), str(ROOT / "tests")]

from airflow_lab import SAMPLE_DAGS, AirflowLab, install  # noqa: E402 - found below the repository
from bench.sync.harness import Mirroring, memory, open_windsock, read_plainly, watch_memory  # noqa: E402
from bench.sync.seeding import seed  # noqa: E402

MODEL = "newsletter"


async def measure(base_url: str, folder: Path, days: int, most: int | None) -> dict[str, Any]:
    async with open_windsock(folder) as windsock:
        await windsock.connect(base_url, history_days=days, timeout_seconds=60)
        seen: list[float] = []
        watching = asyncio.create_task(watch_memory(seen))
        first, whole, plain, rows, requests_sent = await catch_up(windsock, most)
        idle = [await one_idle(windsock) for _ in range(5)]
        watching.cancel()
        requests, seconds, written = sorted(idle)[len(idle) // 2]
        state = await windsock.state()
        return {
            "first useful screen, s": round(first, 1),
            "catch-up, s": round(whole, 1),
            "rows": rows,
            "requests": requests_sent,
            "rows/s": round(rows / whole, 1),
            "plain reading of the same requests, s": round(plain, 1),
            "rate against plain reading": round(plain / whole, 2),
            "idle pass: requests": requests,
            "idle pass: s": round(seconds, 2),
            "idle pass: rows written": written,
            "mode": state["mode"],
            "memory at first, MB": round(seen[0], 1),
            "memory at most, MB": round(max(seen), 1),
            "memory at the end, MB": round(memory(), 1),
        }


async def catch_up(windsock: Mirroring, most: int | None) -> tuple[float, float, float, int, int]:
    """Seconds to something to see, of syncs until the history is whole, and of plain reading; rows; requests.

    `most`: so many syncs are enough.

    After each sync its requests are asked again plainly, so that both meet the same machine, minute by minute.
    """
    start_time = time.monotonic()
    first, whole, plain, rows, requests = 0.0, 0.0, 0.0, 0, 0

    async def sample() -> None:
        nonlocal first
        while not first:
            if await windsock.shown():
                first = time.monotonic() - start_time
            await asyncio.sleep(0.1)

    looking = asyncio.create_task(sample())
    is_complete, done = False, 0
    while not is_complete and done != most:
        started = time.monotonic()
        rows += (await windsock.completed())["coverage"]["read"]
        whole += time.monotonic() - started
        await looking
        plain += await read_plainly(windsock.recorder.requests)
        requests += len(windsock.recorder.requests)
        windsock.recorder.requests.clear()
        done += 1
        is_complete = (await windsock.state())["backfill"]["is_complete"]
    return first, whole, plain, rows, requests


async def one_idle(windsock: Mirroring) -> tuple[int, float, int]:
    started = time.monotonic()
    sync = await windsock.completed()
    counts = (sync[kind] for kind in ("pipelines", "runs", "task_runs"))
    written = sum(count[what] for count in counts for what in ("created", "updated", "removed"))
    return sync["provider_requests"], time.monotonic() - started, written


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dags", type=int, default=1_000)
    parser.add_argument("--runs", type=int, default=200_000, help="in the database, over --days")
    parser.add_argument("--tasks", type=int, default=5, help="of each run")
    parser.add_argument("--days", type=int, default=14)
    parser.add_argument("--read-days", type=int, help="how many of them are mirrored (all)")
    parser.add_argument(
        "--syncs", type=int, help="of the history that are enough (all): on a large Airflow it takes hours"
    )
    chosen = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="windsock-bench-"))
    folder.chmod(0o711)
    installed = ROOT / ".airflow" / "3"
    try:
        install("3", installed, print)
        with AirflowLab("3", installed, folder / "airflow", dags=SAMPLE_DAGS) as lab:
            lab.wait_ready(print)
            lab.trigger(MODEL)
            lab.wait_quiet()
            started = time.monotonic()
            seed(lab.database_url, MODEL, dags=chosen.dags, runs=chosen.runs, tasks=chosen.tasks, days=chosen.days)
            print(f"seeded in {time.monotonic() - started:.0f} s", flush=True)  # noqa: T201 - it is what the script is for
            body = asyncio.run(measure(lab.url, folder, chosen.read_days or chosen.days, chosen.syncs))
        scale = {"Airflow": "3", "DAGs": chosen.dags, "runs": chosen.runs, "task instances": chosen.runs * chosen.tasks}
        print(json.dumps(scale | body, indent=2))  # noqa: T201
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
