"""What is kept of a trigger before and after Airflow was asked: who sends it now, and what became of it."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal
from uuid import UUID

from windsock.access.space import Space
from windsock.access.store import present
from windsock.db import Row, Transaction
from windsock.errors import Conflict, NotFound, ProviderRefused
from windsock.providers.contract import ProviderRun
from windsock.runs.store import get_run_alone
from windsock.sql import load
from windsock.sync.mirror import Mirror

QUERIES = load(__package__, "triggers.sql")

LEASE = timedelta(seconds=70)
"""Longer than one process may take to send, shorter than others wait; past it that process counts as dead."""

Outcome = Literal["created", "refused", "unknown"]


@dataclass(frozen=True, slots=True)
class Claim:
    """`is_mine`: this process sends it now. `was_tried`: somebody did before, so Airflow may have the run already."""

    request_id: UUID
    run_external_id: str
    is_mine: bool
    is_created: bool
    was_tried: bool


async def find_pipeline(tx: Transaction, space: Space, pipeline_id: UUID) -> Row:
    row = await tx.row(QUERIES["get_pipeline_to_trigger"], space_id=space.id, pipeline_id=pipeline_id)
    if row is None:
        raise NotFound("pipeline")
    return row


async def claim_request(
    tx: Transaction, space: Space, pipeline_id: UUID, key: str | None, body_hash: bytes, *, has_waited: bool
) -> Claim:
    """Write the request down, or find the one of the same key.

    Whoever has waited while another sent it gets that one's refusal; whoever comes later may try again.
    """
    of_key = {"space_id": space.id, "pipeline_id": pipeline_id, "idempotency_key": key}
    made = await tx.row(QUERIES["create_request"], **of_key, user_id=space.caller.id, body_hash=body_hash, lease=LEASE)
    if made is not None:
        return Claim(made["id"], made["run_external_id"], is_mine=True, is_created=False, was_tried=False)
    kept = present(await tx.row(QUERIES["lock_request"], **of_key))
    if kept["body_hash"] != body_hash:
        raise Conflict("This Idempotency-Key was used for this pipeline with another body. Use a new key.")
    is_created = kept["outcome"] == "created"
    is_mine = kept["is_free"] and not is_created
    if is_mine and has_waited and kept["status"] is not None:
        raise ProviderRefused(kept["status"], kept["detail"] or "", is_transient=False)
    if is_mine:
        await tx.run(QUERIES["lease_request"], space_id=space.id, request_id=kept["id"], lease=LEASE)
    return Claim(kept["id"], kept["run_external_id"], is_mine=is_mine, is_created=is_created, was_tried=True)


async def finish_request(
    tx: Transaction,
    space: Space,
    request_id: UUID,
    outcome: Outcome,
    *,
    status: int | None = None,
    detail: str | None = None,
) -> None:
    await tx.run(
        QUERIES["finish_request"],
        space_id=space.id,
        request_id=request_id,
        outcome=outcome,
        status=status,
        detail=detail,
    )


async def store_run(tx: Transaction, space: Space, pipeline: Row, claim: Claim, run: ProviderRun) -> None:
    """In the mirror at once. One that a sync has stored already is newer than the answer to the trigger."""
    if not await _find_run(tx, space, pipeline["id"], claim):
        mirror = Mirror(space.id, pipeline["connector_id"])
        await mirror.store_runs(tx, [run], {run.pipeline_external_id: pipeline["id"]})
    await tx.run(QUERIES["sync_soon"], space_id=space.id, connector_id=pipeline["connector_id"])


async def created_run(tx: Transaction, space: Space, pipeline_id: UUID, claim: Claim) -> Row:
    """The run as a list of runs shows it."""
    found = await _find_run(tx, space, pipeline_id, claim)
    if found is None:
        raise NotFound("run")
    run = await get_run_alone(tx, space.id, found["id"])
    return {name: value for name, value in run.items() if name != "provider_metadata"}


async def _find_run(tx: Transaction, space: Space, pipeline_id: UUID, claim: Claim) -> Row | None:
    return await tx.row(
        QUERIES["find_run"], space_id=space.id, pipeline_id=pipeline_id, run_external_id=claim.run_external_id
    )
