"""Failures of a tenant's failed run, with their groups, as the reader of failures stores them."""

from dataclasses import dataclass, field
from typing import Any, Self
from uuid import UUID, uuid4

from windsock.db.database import Transaction

OTHER_FINGERPRINT = UUID("01a20000-0000-7000-8000-0000000000f1")
TASK_FAILURE = UUID("01a20000-0000-7000-8000-0000000000f2")
"""Of finance: the bodies of operations name them."""


@dataclass(frozen=True, kw_only=True)
class FailureRows:
    """A group with a runbook, two failures and a bulk clear; another one of its pipeline, and one of a second one."""

    space_id: UUID
    pipeline_id: UUID
    second_pipeline_id: UUID
    fingerprint_id: UUID = field(default_factory=uuid4)
    other_fingerprint_id: UUID = field(default_factory=uuid4)
    task_failure_id: UUID = field(default_factory=uuid4)
    bulk_clear_id: UUID = field(default_factory=uuid4)

    @classmethod
    def of(cls, slug: str, space_id: UUID, pipeline_id: UUID, second_pipeline_id: UUID) -> Self:
        fixed = (
            {"other_fingerprint_id": OTHER_FINGERPRINT, "task_failure_id": TASK_FAILURE} if slug == "finance" else {}
        )
        return cls(space_id=space_id, pipeline_id=pipeline_id, second_pipeline_id=second_pipeline_id, **fixed)

    async def add(self, tx: Transaction, connector_id: UUID, run_id: UUID, task_run_id: UUID, comment_id: UUID) -> None:
        groups = (
            (self.fingerprint_id, self.pipeline_id),
            (self.other_fingerprint_id, self.pipeline_id),
            (uuid4(), self.second_pipeline_id),
        )
        for group_id, pipeline_id in groups:
            await tx.execute(
                FINGERPRINT, space_id=self.space_id, id=group_id, pipeline_id=pipeline_id, comment_id=comment_id
            )
        for failure_id, try_number, place in ((self.task_failure_id, 1, 0), (uuid4(), 0, None)):
            await tx.execute(
                FAILURE,
                space_id=self.space_id,
                id=failure_id,
                run_id=run_id,
                task_run_id=task_run_id,
                try_number=try_number,
                place=place,
                fingerprint_id=self.fingerprint_id,
            )
        await tx.execute(READ, space_id=self.space_id, run_id=run_id, connector_id=connector_id)
        for statement in (BULK_CLEAR, BULK_CLEAR_RUN):
            await tx.execute(
                statement,
                space_id=self.space_id,
                id=self.bulk_clear_id,
                fingerprint_id=self.fingerprint_id,
                pipeline_id=self.pipeline_id,
                connector_id=connector_id,
                run_id=run_id,
            )


FINGERPRINT: Any = """
INSERT INTO fingerprints (space_id, id, pipeline_id, hash, algorithm_version, title, grouped_by, runbook_comment_id,
                          occurrences, first_seen_at, last_seen_at)
VALUES (%(space_id)s, %(id)s, %(pipeline_id)s, sha256(%(id)s::text::bytea), 1, 'ValueError: no rows',
        'task and message', %(comment_id)s, 1, now() - interval '30 hours', now() - interval '30 hours')
"""
FAILURE: Any = """
INSERT INTO task_failures (space_id, id, run_id, task_run_id, try_number, place, failed_at, summary, excerpt,
                           exception_type, own_frame, algorithm_version, fingerprint_id, computed_fingerprint_id,
                           message_hash)
VALUES (%(space_id)s, %(id)s, %(run_id)s, %(task_run_id)s, %(try_number)s, %(place)s, now() - interval '30 hours',
        'ValueError: no rows', E'ValueError: no rows\n  at load.py:14 in load', 'ValueError', 'load.py:14 in load', 1,
        %(fingerprint_id)s, %(fingerprint_id)s, sha256('no rows'))
"""
READ: Any = """
INSERT INTO failure_reads (space_id, run_id, connector_id, state)
VALUES (%(space_id)s, %(run_id)s, %(connector_id)s, 'read')
"""
BULK_CLEAR: Any = """
INSERT INTO bulk_clears (space_id, id, fingerprint_id, pipeline_id, connector_id, idempotency_key, body_hash, left_out,
                         status, created_at, finished_at)
VALUES (%(space_id)s, %(id)s, %(fingerprint_id)s, %(pipeline_id)s, %(connector_id)s, 'of the world', '', 0, 'done',
        now() - interval '31 hours', now() - interval '30 hours')
"""
BULK_CLEAR_RUN: Any = """
INSERT INTO bulk_clear_runs (space_id, bulk_clear_id, run_id, place, task_run_count, task_ids, outcome, error)
VALUES (%(space_id)s, %(id)s, %(run_id)s, 0, 0, '{}', 'failed', 'Airflow refuses')
"""
