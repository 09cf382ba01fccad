"""Runs that need attention: failed ones with their failed task, and those that run longer than usual."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from windsock.auth.authenticator import Space
from windsock.db.database import Reader, Row, Statement
from windsock.db.queries import load
from windsock.pipelines.stats import StatsWindow, percentiles

QUERIES = load(__package__, "failures.sql")

COMMENTED_RUNS_SCANNED = 50
"""Newest runs of a pipeline on which its last comment is searched."""
MIN_RUNS = 5
"""With fewer finished runs in the window, no duration is usual."""
MIN_ELAPSED_SECONDS = 60.0
"""Shorter runs are never reported as longer than usual."""


@dataclass(frozen=True, slots=True)
class Failures:
    """Failed runs since a time and since midnight, the number of their pipelines, and the newest by pipeline.

    `newest`: rows without what describe_failures adds.
    """

    count: int
    count_since_midnight: int
    pipeline_count: int
    newest: list[Row]


async def read_failures(reader: Reader, space: Space, *, since: datetime, midnight: datetime, limit: int) -> Failures:
    """Count the runs that failed since both times, and list up to `limit` pipelines with a failure since `since`."""
    parameters = {
        "space_id": space.id,
        "since": since,
        "midnight": midnight,
        "limit": limit,
    }
    # Planned for these parameters: a generic plan does not know how few runs failed since then.
    (counts,), rows = await reader.fetch_batch(
        Statement(QUERIES["count_failed_runs"], parameters, prepare=False),
        Statement(QUERIES["newest_failures"], parameters, prepare=False),
    )
    return Failures(counts["since"], counts["since_midnight"], counts["pipelines"], rows)


async def describe_failures(reader: Reader, space: Space, failures: Sequence[Row]) -> list[Row]:
    """Add failed task, team and the pipeline's last comment to rows of `newest`; leave out runs deleted since."""
    parameters = {
        "space_id": space.id,
        "run_ids": [row["run_id"] for row in failures],
        "commented_runs": COMMENTED_RUNS_SCANNED,
    }
    (found,) = await reader.fetch_batch(Statement(QUERIES["describe_failures"], parameters))
    described = {row["run_id"]: row for row in found}
    return [{**row, **described[row["run_id"]]} for row in failures if row["run_id"] in described]


async def list_run_context(reader: Reader, space: Space, run_ids: Iterable[UUID]) -> dict[UUID, Row]:
    """Return team, owner, failed task and number of comments by run."""
    parameters = {"space_id": space.id, "run_ids": list(run_ids)}
    (rows,) = await reader.fetch_batch(Statement(QUERIES["list_run_context"], parameters))
    return {row["id"]: row for row in rows}


async def list_long_running(reader: Reader, space: Space, window: StatsWindow) -> list[Row]:
    """List the running runs that take longer than the p95 of their pipeline in the window, by how many times.

    Only pipelines with MIN_RUNS finished runs in the window have a p95. It is `usual_seconds` of a row.
    """
    parameters = {
        "space_id": space.id,
        "first_day": window.first_day,
        "min_runs": MIN_RUNS,
        "min_elapsed_seconds": MIN_ELAPSED_SECONDS,
    }
    (rows,) = await reader.fetch_batch(Statement(QUERIES["list_running_with_statistics"], parameters))
    (usual,) = percentiles([row.pop("duration_histogram") for row in rows], 0.95)
    found = [
        {**row, "usual_seconds": seconds}
        for row, seconds in zip(rows, usual, strict=True)
        if seconds is not None and row["elapsed_seconds"] > seconds
    ]
    return sorted(found, key=lambda row: -row["elapsed_seconds"] / max(row["usual_seconds"], 1.0))
