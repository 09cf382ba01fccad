"""Trigger requests: claimed before they are sent, and their outcome."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal
from uuid import UUID

from windsock.auth.authenticator import Space
from windsock.db.database import Row, Transaction
from windsock.db.queries import load
from windsock.errors import Conflict, NotFound, ProviderHTTPError
from windsock.providers.base import ProviderRun
from windsock.runs.store import get_run_without_tasks
from windsock.spaces.store import expect_row
from windsock.sync.writer import MirrorWriter

QUERIES = load(__package__, "triggers.sql")

LEASE = timedelta(seconds=70)
"""Longer than one process may take to send, shorter than others wait; past it that process counts as dead."""

TriggerOutcome = Literal["created", "refused", "unknown"]


@dataclass(frozen=True, slots=True)
class Claim:
    """`acquired`: this process sends it now. `is_retry`: a previous attempt may have created the run."""

    request_id: UUID
    run_external_id: str
    acquired: bool
    is_created: bool
    is_retry: bool


async def find_pipeline(tx: Transaction, space: Space, pipeline_id: UUID) -> Row:
    row = await tx.fetch_one(QUERIES["get_pipeline_to_trigger"], space_id=space.id, pipeline_id=pipeline_id)
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
    created = await tx.fetch_one(
        QUERIES["create_request"], **of_key, user_id=space.caller.id, body_hash=body_hash, lease=LEASE
    )
    if created is not None:
        return Claim(created["id"], created["run_external_id"], acquired=True, is_created=False, is_retry=False)
    existing = expect_row(await tx.fetch_one(QUERIES["lock_request"], **of_key))
    if existing["body_hash"] != body_hash:
        raise Conflict("This Idempotency-Key was used for this pipeline with another body. Use a new key.")
    is_created = existing["outcome"] == "created"
    is_mine = existing["is_free"] and not is_created
    if is_mine and has_waited and existing["status"] is not None:
        raise ProviderHTTPError(existing["status"], existing["detail"] or "", is_transient=False)
    if is_mine:
        await tx.execute(QUERIES["lease_request"], space_id=space.id, request_id=existing["id"], lease=LEASE)
    return Claim(existing["id"], existing["run_external_id"], acquired=is_mine, is_created=is_created, is_retry=True)


async def finish_request(
    tx: Transaction,
    space: Space,
    request_id: UUID,
    outcome: TriggerOutcome,
    *,
    status: int | None = None,
    detail: str | None = None,
) -> None:
    await tx.execute(
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
        mirror = MirrorWriter(space.id, pipeline["connector_id"])
        await mirror.store_runs(tx, [run], {run.pipeline_external_id: pipeline["id"]})
    await tx.execute(QUERIES["expedite_sync"], space_id=space.id, connector_id=pipeline["connector_id"])


async def get_created_run(tx: Transaction, space: Space, pipeline_id: UUID, claim: Claim) -> Row:
    """The run as a list of runs shows it."""
    found = await _find_run(tx, space, pipeline_id, claim)
    if found is None:
        raise NotFound("run")
    run = await get_run_without_tasks(tx, space.id, found["id"])
    return {name: value for name, value in run.items() if name != "provider_metadata"}


async def _find_run(tx: Transaction, space: Space, pipeline_id: UUID, claim: Claim) -> Row | None:
    return await tx.fetch_one(
        QUERIES["find_run"], space_id=space.id, pipeline_id=pipeline_id, run_external_id=claim.run_external_id
    )
