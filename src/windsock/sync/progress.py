"""Progress of a running sync: counts, phase and warnings, saved together with the lease."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from windsock.db.database import Row, Transaction
from windsock.providers.base import Provider
from windsock.providers.miscounts import Miscounts
from windsock.sync.lease import LEASE, QUERIES, Cancelled, LeaseLost, Requeued
from windsock.sync.writer import UpsertResult

MAX_WARNINGS = 50


@dataclass(slots=True)
class Progress:
    """Counts of a SyncRun. `save` belongs into the transaction of the page that it counts."""

    space_id: UUID
    connector_id: UUID
    sync_id: UUID
    worker_id: str
    trigger: str
    is_full: bool
    started_at: datetime
    phase: str = "connecting"
    counts: dict[str, Counter[str]] = field(
        default_factory=lambda: {"pipelines": Counter(), "runs": Counter(), "task_runs": Counter()}
    )
    expected: int = 0
    read: int = 0
    skipped: int = 0
    provider_requests: int = 0
    warnings: list[str] = field(default_factory=list)
    stopping: asyncio.Event | None = None
    is_cancelled: bool = False
    provider_requests_before: int = 0
    provider: Provider | None = None
    miscounts: Miscounts | None = None
    is_slow_or_failing: bool = True
    """It runs in the queue of slow connectors, where it keeps its place."""
    is_stuck: bool = False

    @property
    def requests_sent(self) -> int:
        return self.provider.requests if self.provider is not None else 0

    def add(self, kind: str, stored: UpsertResult, *, read: int) -> None:
        self.counts[kind].update(stored.outcomes)
        self.read += read

    def warn(self, sentence: str) -> None:
        if sentence not in self.warnings and len(self.warnings) < MAX_WARNINGS:
            self.warnings.append(sentence)

    async def save(self, tx: Transaction) -> None:
        """Write the counts and renew the lease; raises LeaseLost, which undoes the transaction."""
        saved = await tx.fetch_one(
            QUERIES["save_progress"],
            **self._names(),
            lease=LEASE,
            phase=self.phase,
            is_full=self.is_full,
            provider_requests=self.provider_requests,
            coverage=Jsonb({"expected": max(self.expected, self.read), "read": self.read, "skipped": self.skipped}),
            warnings=Jsonb(self.warnings),
            **{kind: Jsonb(_counts(outcomes)) for kind, outcomes in self.counts.items()},
        )
        if saved is None:
            raise LeaseLost
        self.is_cancelled = self.is_cancelled or saved["is_cancelled"]

    async def renew_lease(self, tx: Transaction) -> None:
        saved = await tx.fetch_one(QUERIES["renew_lease"], **self._names(), lease=LEASE)
        if saved is None:
            raise LeaseLost
        self.is_cancelled = self.is_cancelled or saved["is_cancelled"]

    def raise_if_interrupted(self) -> None:
        """After each page that is stored: raises Cancelled or Requeued when the pass shall end here."""
        if self.is_cancelled:
            raise Cancelled
        if self.stopping is not None and self.stopping.is_set():
            raise Requeued

    async def requeue(self, tx: Transaction) -> None:
        await tx.execute(QUERIES["requeue_sync"], **self._names())

    def resume(self, claim: Row) -> None:
        """Count on from where the worker before had come to."""
        for kind, counts in self.counts.items():
            counts.update(claim[kind])
        self.provider_requests_before = claim["provider_requests"]
        self.provider_requests = claim["provider_requests"]
        self.expected, self.read = claim["coverage"]["expected"], claim["coverage"]["read"]
        self.skipped = claim["coverage"]["skipped"]
        self.warnings = list(claim["warnings"])

    async def finish(self, tx: Transaction, *, status: str, error: str | None) -> None:
        await self.save(tx)
        await tx.execute(QUERIES["finish_sync"], **self._names(), status=status, error=error)

    def _names(self) -> dict[str, Any]:
        return {"space_id": self.space_id, "sync_id": self.sync_id, "holder": self.worker_id}


def _counts(outcomes: Counter[str]) -> dict[str, int]:
    return {outcome: outcomes[outcome] for outcome in ("created", "updated", "unchanged", "removed")}
