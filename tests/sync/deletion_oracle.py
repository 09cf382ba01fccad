"""(b) Nothing is taken away but by a complete pass, and only what is proven gone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sync.harness import SyncHarness
from windsock.db.database import Row

MARKS = (
    "SELECT 'pipeline' AS kind, p.id, p.missing_since_sync_id, p.removed_at IS NOT NULL AS is_gone,"
    " p.external_id AS dag_id, NULL AS run_id, p.removed_at IS NULL AS is_known, false AS is_replaced,"
    " NULL AS loop_id, NULL AS is_of FROM pipelines p"
    " UNION ALL"
    " SELECT 'run', r.id, r.missing_since_sync_id, r.removed_at IS NOT NULL OR r.archived_at IS NOT NULL,"
    " p.external_id, r.external_id, true, r.is_replaced, NULL, r.logical_date"
    " FROM runs r JOIN pipelines p ON p.id = r.pipeline_id"
    " UNION ALL"
    " SELECT 'task run', t.id, t.missing_since_sync_id, t.removed_at IS NOT NULL OR t.archived_at IS NOT NULL,"
    " p.external_id, r.external_id, true, r.is_replaced, t.loop_id, NULL"
    " FROM task_runs t JOIN runs r ON r.id = t.run_id JOIN pipelines p ON p.id = r.pipeline_id"
)
FEW, SUSPICIOUS_SHARE = 2, 0.2


@dataclass(slots=True)
class Marks:
    """`complete`: ids of the syncs that ended so. `in_vain`: the runs that one of them asked for and did not get.

    Where more is to be followed than one pass does, they wait for their second look among the pending ones.
    """

    rows: dict[tuple[str, UUID], Row]
    complete: set[UUID]
    in_vain: set[tuple[Any, Any]]

    @property
    def deleted(self) -> set[tuple[str, UUID]]:
        return {key for key, row in self.rows.items() if row["is_gone"]}


class DeletionOracle:
    def __init__(self, harness: SyncHarness) -> None:
        self._harness = harness
        self._in_vain: set[tuple[Any, Any]] = set()

    async def snapshot(self) -> Marks:
        rows = await self._harness.rows(MARKS)
        syncs = await self._harness.rows("SELECT id FROM sync_runs WHERE status = 'complete'")
        events = (await self._harness.state())["event_log_cursor"]
        missed, pending = ({tuple(key) for key in events.get(name, [])} for name in ("missed", "pending"))
        self._in_vain = missed | (self._in_vain & pending)
        return Marks({(row["kind"], row["id"]): row for row in rows}, {row["id"] for row in syncs}, self._in_vain)

    async def assert_proven(self, before: Marks, sync: Row) -> None:
        """What this sync took away: nothing if it was not complete, else what it missed again or the log named."""
        now = await self.snapshot()
        for key in now.rows.keys() & before.rows.keys():
            assert now.rows[key]["is_of"] == before.rows[key]["is_of"], f"(c) a run became another one: {now.rows[key]}"
        # Where Airflow has another run with its id, the one that had it is gone for certain.
        taken = {key for key in now.deleted - before.deleted if not now.rows[key]["is_replaced"]}
        if sync["status"] != "complete":
            assert not taken, "(b) a pass that was not complete took something away"
            return
        named = self._named() | before.in_vain
        unnamed = [now.rows[key] for key in taken if not named & {(now.rows[key]["dag_id"], now.rows[key]["run_id"])}]
        for row in unnamed:
            was = before.rows.get((row["kind"], row["id"]))
            if was is None:  # came and went while this sync was reading
                continue
            if row["loop_id"] and (row["dag_id"], row["run_id"]) in self._harness.fake.model.regions.cleared:
                continue  # a new try in the loop says so, and the whole list of its run
            assert was["missing_since_sync_id"] in before.complete, (
                f"(b) a {row['kind']} was taken away at the first look: {row}"
            )
        self._assert_held(before, [row for row in unnamed if row["kind"] == "pipeline"])

    def _assert_held(self, before: Marks, taken: list[Row]) -> None:
        known = sum(row["is_known"] for (kind, _), row in before.rows.items() if kind == "pipeline")
        is_much = len(taken) >= FEW and len(taken) >= known * SUSPICIOUS_SHARE
        assert not is_much, f"(b) {len(taken)} of {known} pipelines were taken away at once and not held back"
        assert not taken or len(taken) < known, "(b) all that was left was taken away and not held back"

    def _named(self) -> set[tuple[Any, Any]]:
        """What the log, where it may be read, has an entry about: (DAG, run), (DAG, None)."""
        if not self._harness.fake.api.shows_events:
            return set()
        return {(entry["dag_id"], entry["run_id"]) for entry in self._harness.fake.model.events}
