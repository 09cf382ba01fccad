"""A life of an Airflow and of a Windsock that mirrors it, drawn by hypothesis: what happens, what goes wrong, when.

Its five properties hold after every step: (a) after quiet and good passes the mirror equals the source; (b) a pass that
was not complete took nothing away, and one that was only what is proven gone; (c) what people added is still there;
(d) a sync asked no more than what changed explains; (e) the watermark has not passed anything that is not stored, and
what is said to be true as of a time is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from airflow_double.happenings import pick
from airflow_double.model import Model
from sync.budget import of_an_idle_sync
from sync.life import NUMBERS
from sync.syncs import SYNCS
from sync.unreadable import Unreadable
from windsock.sync import polling
from windsock.sync.safeguards import MASS_LOSS, MIN_SAMPLES
from windsock.sync.session import UNFINISHED


class Life(Unreadable):
    def teardown(self) -> None:
        if hasattr(self, "losses"):
            try:
                self.come_to_rest()
            finally:
                self.patch.undo()

    # --- What people decide ----------------------------------------------------------------------------------------

    @precondition(lambda self: self.hidden)
    @rule()
    def somebody_accepts_a_loss(self) -> None:
        if ((self.do(self.doubled.state()))["held"] or {}).get("kind") == MASS_LOSS:
            self.do(self.doubled.accept(MASS_LOSS))
            self.do(self.assert_overlay())

    @precondition(lambda self: self.is_mirrored)
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
        """By enough runs that are as they were; one that was cleared tells two Airflows no more apart."""
        return self.doubled.intact_witnesses(await self.doubled.state()) >= MIN_SAMPLES

    async def _refused(self, kinds: list[str]) -> None:
        before, vouched = await self.doubled.everything(), await self._vouched()
        for kind in kinds:
            sync = await self.doubled.carry_out(await self._queue(kind))
            assert await self.doubled.everything() == before, "(b) another Airflow changed something"
            # One in which nothing changed gives no reason to ask who it is; what it said counts for nothing later.
            unnoticed = sync["status"] == "complete" and await self._vouched() == vouched
            assert unnoticed or sync["status"] == "failed" or not sync["provider_requests"], sync["status"]

    async def _vouched(self) -> datetime | None:
        at: datetime | None = (await self.doubled.state())["vouched_until"]
        return at

    # --- Rest ------------------------------------------------------------------------------------------------------

    @precondition(lambda self: hasattr(self, "losses"))
    @rule()
    def come_to_rest(self) -> None:
        self.do(self._come_to_rest())

    async def _come_to_rest(self) -> None:
        doubled = self.doubled
        await self.rest_with_unreadable()
        await doubled.settle(accepts=True)
        if not self._learns_all():  # then only a reading of everything finds it; what is missing, at the second look
            for _ in range(2):
                sync = await self._watched(doubled.carry_out(await self._queue("full")))
                assert sync["status"] == "complete", sync["error"]
            doubled.flickered.clear()
            await doubled.settle(accepts=True)
        await doubled.assert_equal(heard_all=self.heard_all)
        await self.assert_overlay()
        await doubled.assert_believable()
        state = await doubled.state()
        self.double.asked.clear()
        idle = await doubled.carry_out(await self._queue("schedule"))
        waits = any(run["status"] in UNFINISHED for run in (await doubled.runs()).values())
        expected = of_an_idle_sync(state, len(self.model.dags), waits=waits)
        assert idle["provider_requests"] in expected, f"(d) an idle sync asked {self.double.asked}"

    @precondition(lambda self: self.is_mirrored)
    @rule()
    def its_answers_are_quick(self) -> None:
        """Whatever it was before, a small and quick Airflow is read in the small mode after a few whole polls."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(polling, "SLOW_SECONDS", 90.0)
            patch.setattr(polling, "QUICK_SECONDS", 60.0)
            self.do(self._become_small())

    async def _become_small(self) -> None:
        syncs = [await self._sync("manual", looks=False, is_calm=False) for _ in range(polling.RECORDED_POLLS)]
        if all(sync["status"] == "complete" for sync in syncs):
            state = await self.doubled.state()
            assert state["mode"] == "small", f"(d) the large mode was not left: {state['polling']}"

    def _learns_all(self) -> bool:
        """Notes and deletions are read from the log, of which five pages are looked at; else totals are compared."""
        new, self.logged = len(self.model.events) - self.logged, len(self.model.events)
        is_logged = self.knobs.shows_events and new <= 5 * self.page
        self.heard_all &= is_logged and not self.was_hidden
        return is_logged and not self.knobs.filters and not self.doubled.flickered


def a_namesake(model: Model, number: int) -> Model:
    other = Model(model.api, skew=model.skew, lag=model.lag, has_regions=model.has_regions)
    other.let_pass(model.ahead.total_seconds())
    for dag_id in model.dags:
        other.add_dag(dag_id)
        other.retag(dag_id, model.dags[dag_id].tags)
    for dag_id, run_id in list(model.runs)[number % 2 :: 1 + number % 2]:
        other.start_run(dag_id, run_id, at=model.runs[dag_id, run_id].run_after)
        for _ in range(8):
            other.step((dag_id, run_id))
        began = model.runs[dag_id, run_id].started_at
        if began is not None:  # on the same schedule, so not at the same moment, but about then
            other.runs[dag_id, run_id].started_at = began - timedelta(seconds=1 + number % 90)
    other.start_run(pick(other.dags, number))
    return other


def loop_runner(loop: asyncio.AbstractEventLoop) -> Callable[[Coroutine[Any, Any, Any]], Any]:
    return loop.run_until_complete
