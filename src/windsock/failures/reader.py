"""Reads the logs of a failed run's root failures: one at a time, at most three, counted before they are requested."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from uuid import UUID

import psycopg

from windsock import log
from windsock.connectors.encryption import Encryption
from windsock.connectors.store import AirflowConnector, load_connector
from windsock.db.database import Database, Row, Transaction, map_constraint_errors
from windsock.db.queries import load, read_fragments
from windsock.errors import Conflict, DatabaseFailed, ProviderTimedOut, WindsockError
from windsock.failures.cause import Kind
from windsock.failures.excerpts import MAX_SUMMARY_CHARACTERS, Excerpt, make_excerpt
from windsock.failures.fingerprints import compute_fingerprint
from windsock.failures.policy import LogLimit, LogReadersBusy, reads_on_failure, reads_on_request
from windsock.providers.base import Provider
from windsock.providers.scopes import TaskRunId
from windsock.providers.task_logs import TaskLog

QUERIES = load(__package__, "reads.sql", shared=read_fragments("windsock.sync", "fingerprint_counts.sql"))

MAX_ROOT_FAILURES = 3
MAX_REQUESTS = 3
"""Logs requested for a failure of a run, repetitions included."""
LEASE = timedelta(seconds=60)
READ_SECONDS = 40.0
"""Of one log, sign-in included; within LEASE."""
RETRY_DELAY = timedelta(minutes=1)
"""A log that a worker uploads when its task has ended may be late."""
WAIT_FOR_TASKS = timedelta(minutes=15)
"""A failed run whose failed task is not in the mirror yet: its task runs are stored after it."""
NO_DELAY = timedelta()

State = Literal["pending", "read", "unreadable", "on_demand"]

logger = log.get(__name__)


class _LeaseLost(Exception):
    """Another worker reads it, or the run has failed again."""


@dataclass(frozen=True, slots=True)
class _Claim:
    space_id: UUID
    run_id: UUID
    lease_id: UUID
    is_requested: bool
    noticed_at: datetime

    @property
    def names(self) -> dict[str, Any]:
        return {"space_id": self.space_id, "run_id": self.run_id, "lease_id": self.lease_id}


@dataclass(frozen=True, slots=True)
class _Work:
    """`failures`: the root failures of the run. `state`: set where nothing is to be read now."""

    connector: AirflowConnector
    run: Row
    failures: list[Row]
    state: State | None
    delay: timedelta = NO_DELAY


@dataclass(frozen=True, slots=True)
class FailureReader:
    """A job of the table failure_reads. Whatever ends it, the next worker goes on where it was."""

    db: Database
    secrets: Encryption
    open_provider: Callable[[AirflowConnector, Any], Provider]
    limit: LogLimit = field(default_factory=LogLimit)

    async def read(self, space_id: UUID, run_id: UUID) -> bool:
        """Read what is due of this run; False where another worker was faster."""
        claim = await self._claim(space_id, run_id)
        if claim is None:
            return False
        with log.bound(space_id=str(space_id), run_id=str(run_id)):
            try:
                state, delay = await self._read_claimed(claim)
                async with self.db.tenant_transaction(space_id) as tx:
                    await tx.execute(QUERIES["finish_read"], **claim.names, state=state, delay=delay)
            except _LeaseLost:
                logger.info("another worker reads this failure, or the run has failed again")
        return True

    async def _read_claimed(self, claim: _Claim) -> tuple[State, timedelta]:
        try:
            work = await self._prepare(claim)
            return (work.state, work.delay) if work.state else await self._read_logs(claim, work)
        except (DatabaseFailed, psycopg.Error, _LeaseLost):
            raise
        except WindsockError as error:  # such as credentials that cannot be decrypted
            logger.warning("a failure cannot be read", error=str(error))
        except Exception:  # the edge of a job: a fault of ours must not be repeated for ever
            logger.exception("reading a failure failed by a fault of Windsock's own")
        return "unreadable", NO_DELAY

    async def _claim(self, space_id: UUID, run_id: UUID) -> _Claim | None:
        is_busy = Conflict("A log of this connector is being read.")
        try:
            with map_constraint_errors({"failure_reads_one_at_a_time": is_busy}):
                async with self.db.tenant_transaction(space_id) as tx:
                    row = await tx.fetch_one(QUERIES["claim_read"], space_id=space_id, run_id=run_id, lease=LEASE)
        except Conflict:
            return None
        if row is None:
            return None
        return _Claim(space_id, run_id, row["lease_id"], row["is_requested"], row["noticed_at"])

    async def _prepare(self, claim: _Claim) -> _Work:
        async with self.db.tenant_transaction(claim.space_id) as tx:
            read = await self._lock(tx, claim)
            run = await tx.fetch_one(QUERIES["get_run_to_read"], space_id=claim.space_id, run_id=claim.run_id)
            if run is None:
                raise _LeaseLost
            connector_id = read["connector_id"]
            connector = await load_connector(tx, claim.space_id, connector_id, self.secrets)
            failures = await tx.fetch_all(
                QUERIES["root_failures"], space_id=claim.space_id, run_id=claim.run_id, limit=MAX_ROOT_FAILURES
            )
            await self._place(tx, claim, failures)
        if run["status"] != "failed" or run["is_gone"]:
            return _Work(connector, run, [], "read")
        if not failures:  # of a run that took too long, or whose task runs are still to come
            is_early = datetime.now(UTC) - claim.noticed_at < WAIT_FOR_TASKS
            return _Work(connector, run, [], "pending" if is_early else "read", RETRY_DELAY if is_early else NO_DELAY)
        reads = reads_on_request if claim.is_requested else reads_on_failure
        return _Work(
            connector, run, failures, None if reads(connector.config, run["provider_version"]) else "on_demand"
        )

    async def _read_logs(self, claim: _Claim, work: _Work) -> tuple[State, timedelta]:
        provider = self.open_provider(work.connector, work.run["api_version"])
        missing = 0
        try:
            for failure in work.failures:
                if failure["is_read"]:
                    continue
                async with self.limit.acquire(work.connector.id):
                    if not await self._count_request(claim):
                        missing += 1
                        continue
                    excerpt, error = await self._read_log(provider, work, failure)
                missing += excerpt is None
                async with self.db.tenant_transaction(claim.space_id) as tx:
                    await self._lock(tx, claim)
                    await store_failure(
                        tx, claim.space_id, claim.run_id, work.run["pipeline_id"], failure, excerpt, error
                    )
                    await self._place(tx, claim, work.failures)
        except LogReadersBusy:
            return "pending", RETRY_DELAY
        finally:
            await provider.aclose()
        if not missing:
            return "read", NO_DELAY
        async with self.db.tenant_transaction(claim.space_id) as tx:
            is_used_up = (await self._lock(tx, claim))["requests"] >= MAX_REQUESTS
        if not is_used_up:
            return "pending", RETRY_DELAY
        return ("unreadable" if missing == len(work.failures) else "read"), NO_DELAY

    async def _read_log(self, provider: Provider, work: _Work, failure: Row) -> tuple[Excerpt | None, str | None]:
        """The excerpt, or why there is none."""
        task_run = TaskRunId.of(work.run["dag_id"], work.run["external_id"], failure)
        try:
            async with asyncio.timeout(READ_SECONDS):
                found = await provider.read_log(task_run, failure["try_number"])
        except TimeoutError:
            return None, str(ProviderTimedOut(f"Airflow did not deliver the log within {READ_SECONDS:g} s."))
        except WindsockError as failed:
            return None, _one_line(failed)
        excerpt = make_excerpt(found, failure["state_reason"])
        if _is_missing_end(found, excerpt):
            return None, _one_line(found.limit)
        return excerpt, None

    async def _count_request(self, claim: _Claim) -> bool:
        """False where no request is left."""
        async with self.db.tenant_transaction(claim.space_id) as tx:
            await self._lock(tx, claim)
            names = {**claim.names, "lease": LEASE, "max_requests": MAX_REQUESTS}
            return bool(await tx.execute(QUERIES["count_request"], **names))

    @staticmethod
    async def _lock(tx: Transaction, claim: _Claim) -> Row:
        row = await tx.fetch_one(QUERIES["lock_read"], **claim.names)
        if row is None:
            raise _LeaseLost
        return row

    @staticmethod
    async def _place(tx: Transaction, claim: _Claim, failures: list[Row]) -> None:
        await tx.execute(
            QUERIES["place_failures"],
            space_id=claim.space_id,
            run_id=claim.run_id,
            task_run_ids=[row["id"] for row in failures],
            try_numbers=[row["try_number"] for row in failures],
        )


async def store_failure(
    tx: Transaction,
    space_id: UUID,
    run_id: UUID,
    pipeline_id: UUID,
    failure: Row,
    excerpt: Excerpt | None,
    error: str | None,
) -> None:
    """Store a root failure with its excerpt and group, or with the reason why its log could not be read."""
    columns: dict[str, Any] = dict.fromkeys(
        ("summary", "excerpt", "exception_type", "own_frame", "version", "group_id", "computed_id", "message_hash")
    )
    if excerpt is not None:
        fingerprint = compute_fingerprint(failure["external_id"], excerpt.cause)
        group = await tx.fetch_one(
            QUERIES["store_fingerprint"],
            space_id=space_id,
            pipeline_id=pipeline_id,
            hash=fingerprint.hash,
            message_hash=fingerprint.message_hash,
            version=fingerprint.version,
            title=excerpt.summary,
            grouped_by=fingerprint.grouped_by,
            failed_at=failure["failed_at"],
        )
        if group is None:
            raise WindsockError("The fingerprint of a failure was not stored.")
        columns |= {
            "summary": excerpt.summary,
            "excerpt": excerpt.text,
            "exception_type": excerpt.exception_type,
            "own_frame": excerpt.own_frame,
            "version": fingerprint.version,
            "group_id": group["group_id"],
            "computed_id": group["id"],
            "message_hash": fingerprint.message_hash,
        }
    await tx.execute(
        QUERIES["store_failure"],
        space_id=space_id,
        run_id=run_id,
        task_run_id=failure["id"],
        try_number=failure["try_number"],
        place=None,
        failed_at=failure["failed_at"],
        log_error=error,
        **columns,
    )
    if columns["group_id"] is not None:
        await tx.execute(QUERIES["refresh_fingerprints"], space_id=space_id, ids=[columns["group_id"]])


def _is_missing_end(found: TaskLog, excerpt: Excerpt) -> bool:
    """Whether the log has no error because Airflow did not deliver its end."""
    return found.limit is not None and excerpt.cause.kind in {Kind.UNKNOWN, Kind.LOST} and not excerpt.cause.words


def _one_line(text: object) -> str:
    return " ".join(str(text).split())[:MAX_SUMMARY_CHARACTERS]
