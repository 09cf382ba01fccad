"""Reading the logs of a failed run because a user opened it."""

from typing import Literal
from uuid import UUID

from windsock.auth.authenticator import Space
from windsock.db.database import Row, Transaction
from windsock.failures.policy import reads_on_request
from windsock.failures.reader import QUERIES
from windsock.providers.airflow.config import AirflowConfig
from windsock.runs.root_failures import failure_fields, run_failures

ReadState = Literal["none", "reading", "done", "off"]
"""none: nothing failed that could be read; off: the connector's setting forbids it."""


async def list_failures(tx: Transaction, space: Space, run_id: UUID) -> list[Row]:
    """The root failures of a run, the one whose log could be read first."""
    fields = failure_fields((await tx.fetch_batch(run_failures(space.id, run_id)))[0])
    return [fields["failure"], *fields["other_failures"]] if fields["failure"] else []


async def get_read_state(tx: Transaction, space: Space, run_id: UUID) -> ReadState:
    row = await tx.fetch_one(QUERIES["get_read"], space_id=space.id, run_id=run_id)
    if row is None or row["status"] != "failed":
        return "none"
    if row["state"] in {"pending", "reading"}:
        return "reading"
    if row["state"] in {"read", "unreadable"} or row["is_gone"]:
        return "done"
    return "reading" if _may_read(row) else "off"


async def request_read(tx: Transaction, space: Space, run_id: UUID) -> bool:
    """Have the logs of a failed run read, unless they have been or may not be; whether a worker has work now."""
    row = await tx.fetch_one(QUERIES["get_read"], space_id=space.id, run_id=run_id)
    if row is None or row["status"] != "failed" or row["is_gone"] or not _may_read(row):
        return False
    return bool(await tx.execute(QUERIES["request_read"], space_id=space.id, run_id=run_id))


def _may_read(row: Row) -> bool:
    return reads_on_request(AirflowConfig.model_validate(row["config"]), row["provider_version"])
