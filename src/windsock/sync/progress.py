"""A running sync's lease and what it tells while it runs; whoever lost the lease cannot write any more."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from windsock.db import Transaction
from windsock.sql import load
from windsock.sync.mirror import Stored

QUERIES = load(__package__, "sync.sql")

LEASE = "20 seconds"
LEASE_RENEWAL_SECONDS = 5.0
MOST_WARNINGS = 50


class LeaseLost(Exception):
    """Another worker took this sync over, or it was given up: stop, and write nothing more."""


@dataclass(slots=True)
class Progress:
    """Counts of a SyncRun. `save` belongs into the transaction of the page that it counts."""

    space_id: UUID
    connector_id: UUID
    sync_id: UUID
    holder: str
    trigger: str
    is_full: bool
    started_at: datetime
    phase: str = "connecting"
    counts: dict[str, Counter[str]] = field(
        default_factory=lambda: {"pipelines": Counter(), "runs": Counter(), "task_runs": Counter()}
    )
    expected: int = 0
    read: int = 0
    provider_requests: int = 0
    warnings: list[str] = field(default_factory=list)

    def add(self, kind: str, stored: Stored, *, read: int) -> None:
        self.counts[kind].update(stored.outcomes)
        self.read += read

    def warn(self, sentence: str) -> None:
        if sentence not in self.warnings and len(self.warnings) < MOST_WARNINGS:
            self.warnings.append(sentence)

    async def save(self, tx: Transaction) -> None:
        """Write the counts and renew the lease; raises LeaseLost, which undoes the transaction."""
        saved = await tx.run(
            QUERIES["save_progress"],
            **self._names(),
            lease=LEASE,
            phase=self.phase,
            is_full=self.is_full,
            provider_requests=self.provider_requests,
            coverage=Jsonb({"expected": max(self.expected, self.read), "read": self.read}),
            warnings=Jsonb(self.warnings),
            **{kind: Jsonb(_counts(outcomes)) for kind, outcomes in self.counts.items()},
        )
        if not saved:
            raise LeaseLost

    async def renew_lease(self, tx: Transaction) -> None:
        if not await tx.run(QUERIES["renew_lease"], **self._names(), lease=LEASE):
            raise LeaseLost

    async def finish(self, tx: Transaction, *, status: str, error: str | None) -> None:
        await self.save(tx)
        await tx.run(QUERIES["finish_sync"], **self._names(), status=status, error=error)

    def _names(self) -> dict[str, Any]:
        return {"space_id": self.space_id, "sync_id": self.sync_id, "holder": self.holder}


def _counts(outcomes: Counter[str]) -> dict[str, int]:
    return {outcome: outcomes[outcome] for outcome in ("created", "updated", "unchanged", "removed")}
