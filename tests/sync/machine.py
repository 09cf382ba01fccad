"""A life of an Airflow and of a Windsock that mirrors it, drawn by hypothesis: what happens, what goes wrong, when.

Its five properties hold after every step: (a) after quiet and good passes the mirror equals the source; (b) a pass that
was not complete took nothing away, and one that was only what is proven gone; (c) what people added is still there;
(d) a sync asked no more than what changed explains; (e) the watermark has not passed anything that is not stored, and
what is said to be true as of a time is.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any, Literal

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from airflow_double.faults import FAULTS
from airflow_double.happenings import pick
from airflow_double.model import Model
from sync.budget import most_requests, of_an_idle_sync
from sync.life import NUMBERS, Happens
from sync.losses import Losses
from sync.people import People
from windsock.db import Row
from windsock.sync.holding import ENOUGH_WITNESSES, MASS_LOSS
from windsock.sync.jobs import abandon_sync

SYNCS = st.sampled_from(["schedule", "schedule", "manual", "full"])
Trigger = Literal["manual", "schedule"]


class Life(Happens, People):
    def prepare(self) -> None:
        self.prepare_people()
        self.losses = Losses(self.doubled)

    def teardown(self) -> None:
        if hasattr(self, "losses"):
            try:
                self.come_to_rest()
            finally:
                self.patch.undo()

    # --- Syncs that end --------------------------------------------------------------------------------------------

    @rule(kind=SYNCS, looks=st.booleans())
    def a_sync_without_trouble(self, kind: str, *, looks: bool) -> None:
        self.do(self._sync(kind, looks=looks))

    @rule(
        seed=NUMBERS,
        chance=st.sampled_from([0.0, 0.05, 0.2, 0.6]),
        kinds=st.lists(st.sampled_from(FAULTS), min_size=1, max_size=4, unique=True),
        kind=SYNCS,
        lives=st.booleans(),
    )
    def a_sync_with_trouble(self, seed: int, chance: float, kinds: list[str], kind: str, *, lives: bool) -> None:
        self.chance = random.Random(seed)  # noqa: S311
        faults = self.double.faults
        faults.chance, faults.kinds, faults.chooser = chance, tuple(kinds), random.Random(seed + 1)  # noqa: S311
        self.double.between = self.live_between_answers if lives else None
        try:
            self.do(self._sync(kind, looks=seed % 3 == 0, is_calm=not lives and not chance))
        finally:
            faults.chance, self.double.between = 0.0, None

    @rule(number=NUMBERS, after=st.integers(0, 5), kind=st.sampled_from(["empty", "empty", "cut", "drop", "503"]))
    def a_page_goes_wrong_long_after_a_change(self, number: int, after: int, kind: str) -> None:
        """So that what this sync does not store lies before what the next one reads."""
        for what in ("step", "start", "mark task", "step"):
            self.happen(what, number)
        self.model.let_pass(200)
        self.double.faults.plan = [None] * after + [kind] * 3
        self.do(self._sync("schedule", looks=False, is_calm=False))
        self.double.faults.plan = []
        self.model.let_pass(200)
        self.do(self._sync("schedule", looks=False, is_calm=False))

    async def _sync(self, kind: str, *, looks: bool, is_calm: bool = True) -> Row:
        if looks:
            await self.doubled.look_closely()
        mirrored = await self.doubled.mirrored()
        most = most_requests(self.doubled, self.knobs, mirrored, kind, looks=looks) if is_calm else None
        sync = await self._watched(self.doubled.carry_out(await self._queue(kind)))
        if most is not None and sync["status"] == "complete":
            assert sync["provider_requests"] <= most, f"(d) {sync['provider_requests']} requests, not {most}"
        return sync

    async def _queue(self, kind: str) -> Any:
        trigger: Trigger = "schedule" if kind == "schedule" else "manual"
        return await self.doubled.queue(is_full=kind == "full", trigger=trigger)

    async def _watched(self, work: Coroutine[Any, Any, Row]) -> Row:
        """The sync that `work` carries out, or its last part, took away what it may; and all else is true after it."""
        before = await self.losses.look()
        sync = await work
        assert "fault of Windsock" not in (sync["error"] or ""), sync["error"]
        await self.losses.assert_proven(before, sync)
        await self.assert_overlay()
        await self.doubled.assert_believable()
        if sync["is_full"] and sync["status"] == "complete":
            self.doubled.flickered.clear()
        return sync

    # --- Syncs that are ended --------------------------------------------------------------------------------------

    @rule(seed=NUMBERS, kind=SYNCS)
    def a_sync_is_killed(self, seed: int, kind: str) -> None:
        """Its process dies at a request; the dispatcher gives it up when its lease has run out."""
        self.do(self._killed(seed, kind))

    async def _killed(self, seed: int, kind: str) -> None:
        self.double.between = after(seed % 12, die)
        sync_id = await self._queue(kind)

        async def work() -> Row:
            try:
                return await self.doubled.carry_out(sync_id)
            except Died:
                lapse = "UPDATE sync_runs SET lease_until = now() - interval '1 second' WHERE space_id = %(space_id)s"
                await self.doubled.execute(lapse + " AND status = 'running'")
                await abandon_sync(self.doubled.db, self.doubled.space_id, sync_id)
                (row,) = await self.doubled.rows("SELECT * FROM sync_runs WHERE id = %(id)s", {"id": sync_id})
                return row
            finally:
                self.double.between = None

        sync = await self._watched(work())
        assert sync["status"] != "running"

    @rule(seed=NUMBERS, kind=SYNCS, lives=st.booleans())
    def a_sync_is_handed_over(self, seed: int, kind: str, *, lives: bool) -> None:
        """Its process is told to stop, once or twice; another one goes on, perhaps after a while."""
        self.chance = random.Random(seed)  # noqa: S311
        self.do(self._handed_over(seed, kind, lives=lives))

    async def _handed_over(self, seed: int, kind: str, *, lives: bool) -> None:
        sync_id = await self._queue(kind)
        for number in (seed % 11, seed // 11 % 11):
            worker = self.doubled.execution
            self.double.between = after(number, worker.stopping.set)
            sync = await self._watched(self.doubled.carry_out(sync_id))
            self.double.between = self.live_between_answers if lives else None
            self.doubled.execution = self.doubled.a_worker()
            if sync["status"] != "queued":
                break
            if lives:
                self.live_between_answers()
        else:
            sync = await self._watched(self.doubled.carry_out(sync_id))
        self.double.between = None
        assert sync["status"] not in {"queued", "running"}, sync["status"]

    @rule(seed=NUMBERS, kind=SYNCS)
    def a_sync_is_cancelled(self, seed: int, kind: str) -> None:
        self.do(self._cancelled(seed, kind))

    async def _cancelled(self, seed: int, kind: str) -> None:
        left = seed % 12
        was = (await self.doubled.state())["checkpoint"] or {}

        async def cancel() -> None:
            nonlocal left
            left -= 1
            if left == -1:
                await self.doubled.execute(
                    "UPDATE sync_runs SET cancel_requested_at = now()"
                    " WHERE space_id = %(space_id)s AND status = 'running'"
                )

        self.double.meanwhile = cancel
        sync = await self._watched(self.doubled.carry_out(await self._queue(kind)))
        self.double.meanwhile = None
        if sync["status"] == "cancelled" and was.get("kind") != "history":
            again = await self._sync("schedule", looks=False, is_calm=False)
            assert not again["is_full"], "(d) the sync after a cancelled full one is full"

    # --- What people decide ----------------------------------------------------------------------------------------

    @rule()
    def somebody_accepts_a_loss(self) -> None:
        if ((self.do(self.doubled.state()))["held"] or {}).get("kind") == MASS_LOSS:
            self.do(self.doubled.accept(MASS_LOSS))
            self.do(self.assert_overlay())

    @rule(kinds=st.lists(SYNCS, min_size=1, max_size=2), number=NUMBERS)
    def another_airflow_answers_for_a_while(self, kinds: list[str], number: int) -> None:
        """Of the same names, and with runs of the same ids, that began at other moments; as staging often has them."""
        mine = self.model
        if self.do(self._is_known()):
            other = a_namesake(mine, number)
            self.api.model = self.double.model = other
            try:
                self.do(self._refused(kinds))
            finally:
                self.api.model = self.double.model = mine
            sync = self.do(self._sync("schedule", looks=False, is_calm=False))
            assert sync["status"] == "complete", sync["error"]
            assert (self.do(self.doubled.state())["held"] or {}).get("kind") in {None, MASS_LOSS}

    async def _is_known(self) -> bool:
        """By enough runs, of which one is still as it was; of as many pipelines as it takes."""
        state = await self.doubled.state()
        return len(state["witnesses"]) >= ENOUGH_WITNESSES and self.doubled.has_witness(state)

    async def _refused(self, kinds: list[str]) -> None:
        before = await self.doubled.everything()
        for kind in kinds:
            sync = await self.doubled.carry_out(await self._queue(kind))
            assert await self.doubled.everything() == before, "(b) another Airflow changed something"
            assert sync["status"] == "failed" or not sync["provider_requests"], sync["status"]

    # --- Rest ------------------------------------------------------------------------------------------------------

    @precondition(lambda self: hasattr(self, "losses"))
    @rule()
    def come_to_rest(self) -> None:
        self.do(self._come_to_rest())

    async def _come_to_rest(self) -> None:
        doubled = self.doubled
        await doubled.settle(accepts=True)
        if not self._learns_all():  # then only a reading of everything finds it; what is missing, at the second look
            for _ in range(2):
                sync = await doubled.carry_out(await self._queue("full"))
                assert sync["status"] == "complete", sync["error"]
            doubled.flickered.clear()
            await doubled.settle(accepts=True)
        await doubled.assert_equal()
        await self.assert_overlay()
        await doubled.assert_believable()
        state = await doubled.state()
        idle = await doubled.carry_out(await self._queue("schedule"))
        asked = of_an_idle_sync(state)
        assert idle["provider_requests"] in asked, f"(d) {idle['provider_requests']} requests of an idle sync: {asked}"

    def _learns_all(self) -> bool:
        """Notes and deletions are read from the log, of which five pages are looked at; else totals are compared."""
        return self.knobs.shows_events and self.page > 3 and not self.knobs.filters and not self.doubled.flickered


class Died(BaseException):
    """As kill -9: nothing of ours is carried out any more."""


def die() -> None:
    raise Died


def after(number: int, what: Callable[[], object]) -> Callable[[], None]:
    """Calls it when it has been called so many times, and each time after that."""
    left = number

    def between() -> None:
        nonlocal left
        left -= 1
        if left < 0:
            what()

    return between


def a_namesake(model: Model, number: int) -> Model:
    other = Model(model.api, skew=model.skew)
    other.let_pass(model.ahead.total_seconds())
    for dag_id in model.dags:
        other.add_dag(dag_id)
        other.retag(dag_id, model.dags[dag_id].tags)
    for dag_id, run_id in list(model.runs)[number % 2 :: 1 + number % 2]:
        other.start_run(dag_id, run_id, at=model.runs[dag_id, run_id].run_after)
        for _ in range(8):
            other.step((dag_id, run_id))
    other.start_run(pick(other.dags, number))
    return other


def loop_runner(loop: asyncio.AbstractEventLoop) -> Callable[[Coroutine[Any, Any, Any]], Any]:
    return loop.run_until_complete
