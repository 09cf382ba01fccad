"""Root failures of a run as they are read: what each log said, and what is known of earlier ones."""

from typing import Any
from uuid import UUID

from windsock.db.database import Row, Statement
from windsock.db.queries import load

QUERIES = load(__package__, "root_failures.sql")

COMMENTED_FAILURES_SCANNED = 50
"""Earlier failures of a fingerprint on whose runs the last comment is searched."""


def run_failures(space_id: UUID, run_id: UUID) -> Statement:
    which = {"space_id": space_id, "run_id": run_id, "commented": COMMENTED_FAILURES_SCANNED}
    return Statement(QUERIES["list_run_failures"], which)


def failure_fields(failures: list[Row]) -> dict[str, Any]:
    """`failure` of a run's detail, the first whose log could be read, and `other_failures`."""
    first = next((row for row in failures if row["summary"] is not None), failures[0] if failures else None)
    return {"failure": first, "other_failures": [row for row in failures if row is not first]}
