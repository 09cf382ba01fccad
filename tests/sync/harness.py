"""A Windsock that syncs from the double, and the comparison of its mirror with what the double holds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID, uuid4

from airflow.harness import PIPELINES, Windsock
from fake_airflow.faults import FakeAirflow
from fake_airflow.oddities import Key, key_of
from fake_airflow.rows import RunKey, TaskKey
from sync.oracle import OVERLAP, Mirrored, Oracle
from windsock import egress
from windsock.connectors.models import ConnectorIn
from windsock.connectors.store import AirflowConnector, create_connector
from windsock.context import AppContext
from windsock.db.database import Row
from windsock.providers.airflow import Airflow, TokenCache
from windsock.providers.airflow.scans import Limits
from windsock.providers.base import Provider
from windsock.spaces.store import create_space
from windsock.sync.lease import QUERIES
from windsock.sync.runner import SyncRunner
from windsock.sync.safeguards import MASS_LOSS, OTHER_AIRFLOW
from windsock.sync.state_records import BACKLOG_KEYS
from windsock.sync.store import queue_sync, release_quarantine

SOON = (
    "UPDATE sync_states SET pipelines_listed_at = NULL, reconciled_at = NULL, event_log_cursor ="
    " event_log_cursor - 'retry_at'"
)
AHEAD = "ahead of Windsock's"
CHANGED = ("created", "updated", "removed")
MAX_PASSES = 300
"""Until the mirror comes to rest: a fault may move the watermark a little in each pass, without end."""
RUNS = (
    "SELECT r.*, p.external_id AS dag_id FROM runs r JOIN pipelines p ON p.id = r.pipeline_id"
    " WHERE r.removed_at IS NULL AND p.removed_at IS NULL"
)
TASKS = (
    "SELECT t.*, r.external_id AS dag_run_id, p.external_id AS dag_id FROM task_runs t"
    " JOIN runs r ON r.id = t.run_id JOIN pipelines p ON p.id = r.pipeline_id"
    " WHERE t.removed_at IS NULL AND r.removed_at IS NULL AND r.archived_at IS NULL AND p.removed_at IS NULL"
)


class SyncHarness(Windsock):
    """One space with one connector to a double. `page` is how many rows Windsock asks for at once."""

    def __init__(self, process: AppContext, fake: FakeAirflow, *, page: int = 100, window: int = 10_000) -> None:
        super().__init__(process)
        self.fake, self.model = fake, fake.model
        self.config: dict[str, Any] = {}
        self.retention_days: int | None = None
        self._tokens = TokenCache()
        self._limits = Limits(page=page, window=window)
        self._workers = 0
        self.execution = self.make_worker()
        self.pauses: list[float] = []
        self.watched: Callable[[Coroutine[Any, Any, Row]], Coroutine[Any, Any, Row]] = as_it_is
        """What looks on while a sync is carried out."""
        self.flickered: set[str] = set()
        """DAGs that were out of sight between two lists, so that only a full sync can know what they did meanwhile."""
        self.lists = 0
        """How many lists of DAGs were stored."""
        self.unreadable: Collection[Key] = ()
        """Rows that could not be read for a while, which may be missing or as they were before."""
        self.shows_clocks = False
        """Whether syncs warn of a clock that is ahead of ours, as the double's is once a test has let time pass."""
        self._is_another = False
        self._listed: tuple[datetime | None, datetime | None] = (None, None)

    async def connect_to_double(self, **config: Any) -> None:
        self.config = config
        body = ConnectorIn(
            name="under test",
            connector_type="airflow",
            config={"base_url": "http://double", "timeout_seconds": 20} | config,
            credentials={"auth_type": "password", "username": "admin", "password": "admin"},
        )
        async with self.db.transaction() as tx:
            self.space_id = (await create_space(tx, slug=f"double-{uuid4().hex}", name="Double"))["id"]
        async with self.db.tenant_transaction(self.space_id) as tx:
            self.connector_id = (await create_connector(tx, self.space_id, body, self.process.secrets))["id"]

    def _open_provider(self, connector: AirflowConnector, api_version: Any) -> Provider:
        return Airflow(
            connector.config,
            connector.credentials,
            api_version=api_version,
            tokens=self._tokens,
            key="double",
            policy=egress.Policy.of(loopback=True),
            transport=self.fake,
            sleep=self._pause,
            limits=self._limits,
        )

    async def _pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        await asyncio.sleep(0)

    # --- Syncs ------------------------------------------------------------------------------------------------------

    def make_worker(self) -> SyncRunner:
        """One more process that carries syncs out."""
        self._workers += 1
        return SyncRunner(self.process.db, self.process.secrets, self._open_provider, f"worker {self._workers}")

    async def queue(self, *, is_full: bool = False, trigger: Literal["manual", "schedule"] = "schedule") -> UUID:
        async with self.db.tenant_transaction(self.space_id) as tx:
            sync_id = await queue_sync(tx, self.space_id, self.connector_id, trigger=trigger, is_full=is_full)
        assert sync_id is not None
        return sync_id

    async def sync(self, *, is_full: bool = False, trigger: Literal["manual", "schedule"] = "manual") -> Row:
        return await self.carry_out(await self.queue(is_full=is_full, trigger=trigger))

    async def carry_out(self, sync_id: UUID) -> Row:
        """With the worker of now; the sync as it is then."""
        await self.execution.run(self.space_id, sync_id)
        async with self.db.tenant_transaction(self.space_id) as tx:
            row = await tx.fetch_one(QUERIES["get_sync"], space_id=self.space_id, sync_id=sync_id)
        assert row is not None
        if not self.shows_clocks:
            row["warnings"] = [warning for warning in row["warnings"] if AHEAD not in warning]
        return row

    async def force_full_check(self) -> None:
        """As if the time for listing, for comparing totals and for a log that did not answer had come."""
        await self.execute(SOON)
        await self.execute("UPDATE pipeline_reads SET reconciled_at = NULL, refused_at = NULL")

    async def accept(self, kind: str) -> None:
        self._is_another |= kind == OTHER_AIRFLOW
        async with self.db.tenant_transaction(self.space_id) as tx:
            await release_quarantine(tx, self.space_id, self.connector_id, kind)

    async def settle(self, most: int = 12, *, accepts: bool = False) -> None:
        """Quiet, and good passes until nothing is left to be looked at again; `accepts`: people let losses go on."""
        self.model.let_pass(1200)
        self.fake.faults.chance, self.fake.faults.plan = 0.0, []
        self.fake.between = self.fake.meanwhile = None
        # The watermark is of the clock that stamps rows, or before it.
        quiet_since, best = self.model.now() - max(self.model.lag, timedelta(0)) - timedelta(seconds=2), None
        for _ in range(MAX_PASSES):
            if most <= 0:
                break
            await self.force_full_check()
            sync = await self.watched(self.carry_out(await self.queue()))
            state = await self.state()
            if accepts and await self.accepted_without_samples(state):
                continue
            assert sync["status"] == "complete", sync["error"]
            if accepts and (state["quarantine"] or {}).get("kind") == MASS_LOSS:
                await self.accept(MASS_LOSS)
            changed = sum(sync[kind][what] for kind in ("pipelines", "runs", "task_runs") for what in CHANGED)
            pending = sum(len(state["event_log_cursor"].get(name, [])) for name in BACKLOG_KEYS)
            is_behind = state["watermark"] < quiet_since or state["reconciled_at"] is None or pending > 0
            if not changed and not state["recheck_due"] and not is_behind and state["backfill"]["is_complete"]:
                return
            place = (state["watermark"], state["backfill"]["end"], pending)
            most, best = most - (place == best), place  # those that bring it further do not count
        raise AssertionError("the mirror never came to rest")

    async def accepted_without_samples(self, state: Row) -> bool:
        """Accept this Airflow as another one if it is taken for one, since all that it could be known by is gone."""
        is_refused = (state["quarantine"] or {}).get("kind") == OTHER_AIRFLOW and not self.intact_samples(state)
        if is_refused:
            await self.accept(OTHER_AIRFLOW)
        return is_refused

    def intact_samples(self, state: Row) -> int:
        """Of the runs by which this Airflow can be known: how many began when they did, and may be read."""
        intact = 0
        for sample in state["identity_samples"]:
            run = self.model.runs.get((sample["dag_id"], sample["run_id"]))
            expected_start = datetime.fromisoformat(sample["started_at"])
            oddities = self.fake.api.oddities
            if run is not None and key_of(run) not in oddities.poisoned | oddities.odd.keys():
                intact += self.fake.api.may_see(run.dag_id) and run.started_at == expected_start
        return intact

    # --- What there is ----------------------------------------------------------------------------------------------

    async def mirrored(self) -> Mirrored:
        async with self.db.tenant_transaction(self.space_id) as tx:

            async def rows(query: str) -> list[Row]:
                return await (await tx._connection.execute(query.encode())).fetchall()

            (state,) = await rows("SELECT * FROM sync_states")
            pipelines = await rows(f"{PIPELINES} WHERE p.removed_at IS NULL")
            by_dag = {row["external_id"]: row for row in pipelines}
            return Mirrored(state, by_dag, await rows(RUNS), await rows(TASKS), self._is_another)

    async def runs(self) -> dict[RunKey, Row]:
        return (await self.mirrored()).runs

    async def tasks(self) -> dict[TaskKey, Row]:
        return (await self.mirrored()).tasks

    def oracle(self) -> Oracle:
        return Oracle(self.fake.api, self.config, self.retention_days, self.unreadable)

    async def assert_equal(self, *, saw_all_events: bool = True) -> None:
        self.oracle().assert_equal(await self.mirrored(), saw_all_events=saw_all_events)

    @property
    def listed(self) -> datetime | None:
        return self._listed[1]

    def note_listing(self, mirrored: Mirrored) -> datetime | None:
        """When the last list of DAGs that was stored had begun, by Airflow's clock."""
        at = mirrored.state["pipelines_listed_at"]
        if at is not None and at != self._listed[0]:
            self._listed, self.lists = (at, self.fake.listing_started_at), self.lists + 1
        return self.listed

    async def assert_believable(self) -> None:
        """(e) What changed before the watermark, less the overlap in which commits may come late, is stored.

        And what is said to be true as of a time is. DAGs that appeared after the last list was begun may be missing.
        """
        mirrored = await self.mirrored()
        listed = self.note_listing(mirrored)
        appeared = self.model.appeared
        excused = {dag_id for dag_id in self.model.dags if listed is None or appeared[dag_id] >= listed}
        excused |= {dag_id for dag_id, row in mirrored.pipelines.items() if row.get("needs_backfill")} | self.flickered
        expected, state = self.oracle(), mirrored.state
        if (watermark := self._corrected_watermark(state)) is not None:
            expected.assert_stored(mirrored, "updated_at", watermark - OVERLAP, excused, "(e) the watermark passed")
        if state["last_complete_at"] is not None:
            as_of = self.model.at(state["last_complete_at"])
            expected.assert_stored(mirrored, "changed_at", as_of, excused, "(e) said to be true, but is not:")

    def _corrected_watermark(self, state: Row) -> datetime | None:
        """Where the next pass begins: while the scheduler's clock is not known yet, it corrects the watermark."""
        watermark: datetime | None = state["watermark"]
        clocks = state["clocks"] or {}
        if watermark is None or not clocks.get("is_pending"):
            return watermark
        return min(watermark, datetime.fromisoformat(clocks["sure_until"])) - max(self.model.lag, timedelta(0))


async def as_it_is(work: Coroutine[Any, Any, Row]) -> Row:
    return await work
