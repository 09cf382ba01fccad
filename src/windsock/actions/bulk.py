"""Bulk clears: all failed runs of a fingerprint, two at a time per connector, carried out by a worker with progress."""

import asyncio
import contextlib
import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import orjson
import psycopg
from psycopg.types.json import Jsonb

from windsock import log
from windsock.actions.models import BulkClearIn, ClearRunIn
from windsock.actions.sending import check_reason
from windsock.actions.service import ActionService, ClearOutcome
from windsock.auth.authenticator import Space
from windsock.auth.permissions import Permission, open_space_of_user
from windsock.db.database import Database, Row, Statement, Transaction, map_constraint_errors
from windsock.db.queries import load
from windsock.errors import Conflict, DatabaseFailed, Forbidden, IdempotencyConflict, NotFound, WindsockError
from windsock.spaces.store import expect_row
from windsock.tasks import run_together

QUERIES = load(__package__, "bulk.sql")

MAX_RUNS = 200
MAX_TASK_IDS = 10
"""Listed of each run."""
CLEARS_AT_A_TIME = 2
"""Per connector, which has one bulk clear at a time."""
LEASE = timedelta(seconds=30)
LEASE_RENEWAL_SECONDS = 10.0
STORED_OF_PLAN = ("task_run_count", "task_ids")
NOTHING_TO_CLEAR = "There is nothing to clear: no run that is failed now has this error."

logger = log.get(__name__)


@dataclass(frozen=True, slots=True)
class _Claim:
    space_id: UUID
    bulk_clear_id: UUID
    lease_id: UUID

    @property
    def names(self) -> dict[str, Any]:
        return {"space_id": self.space_id, "bulk_clear_id": self.bulk_clear_id}


@dataclass(slots=True)
class BulkClearService:
    """The queue is the table bulk_clears. Whatever ends a worker, the next one continues, and clears no run twice."""

    db: Database
    actions: ActionService

    async def plan(self, space: Space, fingerprint_id: UUID) -> Row:
        """List the runs that a bulk clear would clear, as the mirror has them."""
        async with space.transaction() as tx:
            group = await _get_group(tx, space, fingerprint_id)
            runs, left_out = await _list_runs(tx, space, group["id"])
        planned = {
            "id": None, "fingerprint_id": group["id"], "status": "planned", "user": None, "reason": None,
            "left_out": left_out, "created_at": None, "finished_at": None,
        }  # fmt: skip
        return _with_counts(planned, runs)

    async def start(
        self, space: Space, fingerprint_id: UUID, body: BulkClearIn, key: str | None = None
    ) -> tuple[Row, bool]:
        """Queue a bulk clear; return it, and whether it is the answer to an earlier request of the same key.

        Raises Conflict where there is nothing to clear, and Invalid where a required reason is missing.
        """
        async with space.transaction() as tx:
            group = await _get_group(tx, space, fingerprint_id)
        target = await self.actions.relay.find_pipeline(space, group["pipeline_id"])
        check_reason(target.row, body.reason, "reason")
        meant = orjson.dumps({"fingerprint_id": fingerprint_id, "reason": body.reason}, option=orjson.OPT_SORT_KEYS)
        values = {
            "space_id": space.id, "fingerprint_id": group["id"], "pipeline_id": group["pipeline_id"],
            "connector_id": group["connector_id"], "user_id": space.caller.id, "idempotency_key": key or str(uuid4()),
            "body_hash": hashlib.sha256(meant).digest(), "reason": body.reason,
        }  # fmt: skip
        async with space.transaction() as tx:
            bulk_clear_id, is_replayed = await _find_or_create(tx, space, values)
            return await get_bulk_clear(tx, space, group["id"], bulk_clear_id), is_replayed

    async def execute(self, space_id: UUID, bulk_clear_id: UUID) -> bool:
        """A job: clear the runs that have no result yet. False where another worker was faster."""
        row = await self._claim(space_id, bulk_clear_id)
        if row is None:
            return False
        claim = _Claim(space_id, bulk_clear_id, row["lease_id"])
        with log.bound(space_id=str(space_id), bulk_clear_id=str(bulk_clear_id)):
            async with self._renewed_lease(claim):
                await self._clear_pending(claim, row)
            async with self.db.tenant_transaction(space_id) as tx:
                await tx.execute(QUERIES["finish_bulk_clear"], **claim.names, lease_id=claim.lease_id)
        return True

    async def _claim(self, space_id: UUID, bulk_clear_id: UUID) -> Row | None:
        is_busy = Conflict("Another bulk clear of this connector is running.")
        try:
            with map_constraint_errors({"bulk_clears_one_at_a_time": is_busy}):
                async with self.db.tenant_transaction(space_id) as tx:
                    names = {"space_id": space_id, "bulk_clear_id": bulk_clear_id}
                    return await tx.fetch_one(QUERIES["claim_bulk_clear"], **names, lease=LEASE)
        except Conflict:
            return None

    @contextlib.asynccontextmanager
    async def _renewed_lease(self, claim: _Claim) -> AsyncIterator[None]:
        """While the database is away the lease runs out: another worker continues, and no run is cleared twice."""

        async def renew() -> None:
            while True:
                await asyncio.sleep(LEASE_RENEWAL_SECONDS)
                with contextlib.suppress(DatabaseFailed, psycopg.Error):
                    async with self.db.tenant_transaction(claim.space_id) as tx:
                        await tx.execute(
                            QUERIES["renew_bulk_clear"], **claim.names, lease_id=claim.lease_id, lease=LEASE
                        )

        renewal = asyncio.create_task(renew(), name="lease of a bulk clear")
        try:
            yield
        finally:
            renewal.cancel()
            await asyncio.gather(renewal, return_exceptions=True)

    async def _clear_pending(self, claim: _Claim, row: Row) -> None:
        try:
            space = await open_space_of_user(self.db, claim.space_id, row["user_id"], Permission.ACT)
        except Forbidden as error:
            async with self.db.tenant_transaction(claim.space_id) as tx:
                await tx.execute(QUERIES["refuse_pending_runs"], **claim.names, error=str(error))
            return
        async with space.transaction() as tx:
            pending = await tx.fetch_all(QUERIES["list_pending_runs"], **claim.names)
        run_ids = iter([run["run_id"] for run in pending])
        workers = [self._clear_each(space, claim, run_ids, row["reason"]) for _ in range(CLEARS_AT_A_TIME)]
        await run_together(*workers)

    async def _clear_each(self, space: Space, claim: _Claim, run_ids: Iterator[UUID], reason: str | None) -> None:
        for run_id in run_ids:
            result = await self._clear(space, claim, run_id, reason)
            async with space.transaction() as tx:
                await tx.execute(QUERIES["save_bulk_clear_run"], **claim.names, run_id=run_id, **result)

    async def _clear(self, space: Space, claim: _Claim, run_id: UUID, reason: str | None) -> dict[str, Any]:
        """The result of a run. The key is that of the action: what a killed worker sent is looked up."""
        try:
            outcome = await self.actions.clear(
                space, run_id, ClearRunIn(reason=reason), f"bulk:{claim.bulk_clear_id}:{run_id}"
            )
        except (DatabaseFailed, psycopg.Error):
            raise
        except WindsockError as failure:
            error = str(failure)
        except Exception:  # the edge of a job: a fault of ours must not be repeated for ever
            logger.exception("a clear failed by a fault of Windsock's own", run_id=str(run_id))
            error = "A fault of Windsock's own; the log of the worker has it."
        else:
            return _cleared(outcome)
        return {"outcome": "failed", "error": error, "task_run_count": 0, "task_ids": []}


async def get_bulk_clear(tx: Transaction, space: Space, fingerprint_id: UUID, bulk_clear_id: UUID) -> Row:
    names = {"space_id": space.id, "bulk_clear_id": bulk_clear_id}
    found, runs = await tx.fetch_batch(
        Statement(QUERIES["get_bulk_clear"], {**names, "fingerprint_id": fingerprint_id}),
        Statement(QUERIES["find_bulk_clear_runs"], {**names, "limit": MAX_RUNS}),
    )
    if not found:
        raise NotFound("bulk clear of this fingerprint")
    return _with_counts(found[0], runs)


async def _find_or_create(tx: Transaction, space: Space, values: dict[str, Any]) -> tuple[UUID, bool]:
    """The id of the bulk clear of this key, and whether an earlier request created it."""
    found = await tx.fetch_one(QUERIES["find_bulk_clear"], **values)
    if found is None:
        runs, left_out = await _list_runs(tx, space, values["fingerprint_id"])
        if not runs:
            raise Conflict(NOTHING_TO_CLEAR)
        created = await tx.fetch_one(QUERIES["create_bulk_clear"], **values, left_out=left_out)
        if created is not None:
            stored = [
                {"place": place, "run_id": str(run["run_id"])} | {name: run[name] for name in STORED_OF_PLAN}
                for place, run in enumerate(runs)
            ]
            await tx.execute(
                QUERIES["create_bulk_clear_runs"], space_id=space.id, bulk_clear_id=created["id"], runs=Jsonb(stored)
            )
            return created["id"], False
        found = expect_row(await tx.fetch_one(QUERIES["find_bulk_clear"], **values))
    if found["body_hash"] != values["body_hash"]:
        raise IdempotencyConflict("This Idempotency-Key was used for this pipeline with another body. Use a new key.")
    return found["id"], True


async def _get_group(tx: Transaction, space: Space, fingerprint_id: UUID) -> Row:
    row = await tx.fetch_one(QUERIES["get_group_to_clear"], space_id=space.id, fingerprint_id=fingerprint_id)
    if row is None:
        raise NotFound("fingerprint")
    return row


async def _list_runs(tx: Transaction, space: Space, fingerprint_id: UUID) -> tuple[list[Row], int]:
    """At most MAX_RUNS, and how many more there are."""
    rows = await tx.fetch_all(
        QUERIES["find_runs_to_clear"],
        space_id=space.id,
        fingerprint_id=fingerprint_id,
        limit=MAX_RUNS,
        max_task_ids=MAX_TASK_IDS,
    )
    left_out = rows[0]["total"] - len(rows) if rows else 0
    return [{name: value for name, value in row.items() if name != "total"} for row in rows], left_out


def _with_counts(bulk_clear: Row, runs: list[Row]) -> Row:
    outcomes = Counter(run["outcome"] for run in runs)
    counts = {"total": len(runs), "cleared": outcomes["cleared"], "failed": outcomes["failed"]}
    return bulk_clear | counts | {"runs": runs}


def _cleared(outcome: ClearOutcome) -> dict[str, Any]:
    task_ids = sorted({row["external_id"] for row in outcome.task_runs})[:MAX_TASK_IDS]
    return {"outcome": "cleared", "error": None, "task_run_count": len(outcome.task_runs), "task_ids": task_ids}
