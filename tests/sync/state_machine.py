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

from fake_airflow.actions import pick
from fake_airflow.model import Model
from sync.airflow_rules import NUMBERS
from sync.request_budget import idle_sync_requests
from sync.sync_rules import SYNCS
from sync.unreadable_rows import UnreadableRowRules
from windsock.sync import polling
from windsock.sync.safeguards import MASS_LOSS, MIN_SAMPLES
from windsock.sync.session import UNFINISHED


class SyncStateMachine(UnreadableRowRules):
    def teardown(self) -> None:
        if hasattr(self, "deletions"):
            try:
                self.come_to_rest()
            finally:
                self.patch.undo()

    # --- What people decide ----------------------------------------------------------------------------------------

    @precondition(lambda self: self.hidden)
    @rule()
    def accept_a_mass_deletion(self) -> None:
        if ((self.do(self.harness.state()))["quarantine"] or {}).get("kind") == MASS_LOSS:
            self.do(self.harness.accept(MASS_LOSS))
            self.do(self.assert_overlay())

    @precondition(lambda self: self.is_mirrored)
    @rule(kinds=st.lists(SYNCS, min_size=1, max_size=2), number=NUMBERS)
    def another_airflow_responds(self, kinds: list[str], number: int) -> None:
        """Of the same names, and with runs of the same ids, that began at other moments; as staging often has them."""
        mine = self.model
        if self.do(self._is_known()):
            other = make_namesake(mine, number)
            self.api.model = self.fake.model = other
            try:
                self.do(self._refused(kinds))
            finally:
                self.api.model = self.fake.model = mine
            sync = self.do(self._sync("schedule", checks=False, is_calm=False))
            assert sync["status"] == "complete", sync["error"]
            assert (self.do(self.harness.state())["quarantine"] or {}).get("kind") in {None, MASS_LOSS}

    async def _is_known(self) -> bool:
        """By enough runs that are as they were; one that was cleared tells two Airflows no more apart."""
        return self.harness.intact_samples(await self.harness.state()) >= MIN_SAMPLES

    async def _refused(self, kinds: list[str]) -> None:
        before, verified = await self.harness.row_versions(), await self._verified_until()
        for kind in kinds:
            sync = await self.harness.carry_out(await self._queue(kind))
            assert await self.harness.row_versions() == before, "(b) another Airflow changed something"
            # One in which nothing changed gives no reason to ask who it is; what it said counts for nothing later.
            unnoticed = sync["status"] == "complete" and await self._verified_until() == verified
            assert unnoticed or sync["status"] == "failed" or not sync["provider_requests"], sync["status"]

    async def _verified_until(self) -> datetime | None:
        at: datetime | None = (await self.harness.state())["verified_watermark"]
        return at

    # --- Rest ------------------------------------------------------------------------------------------------------

    @precondition(lambda self: hasattr(self, "deletions"))
    @rule()
    def come_to_rest(self) -> None:
        self.do(self._come_to_rest())

    async def _come_to_rest(self) -> None:
        harness = self.harness
        await self.rest_with_unreadable()
        await harness.settle(accepts=True)
        if not self._learns_all():  # then only a reading of everything finds it; what is missing, at the second look
            for _ in range(2):
                sync = await self._watched(harness.carry_out(await self._queue("full")))
                assert sync["status"] == "complete", sync["error"]
            harness.flickered.clear()
            await harness.settle(accepts=True)
        await harness.assert_equal(saw_all_events=self.saw_all_events)
        await self.assert_overlay()
        await harness.assert_believable()
        state = await harness.state()
        self.fake.requests.clear()
        idle = await harness.carry_out(await self._queue("schedule"))
        waits = any(run["status"] in UNFINISHED for run in (await harness.runs()).values())
        expected = idle_sync_requests(state, len(self.model.dags), waits=waits)
        assert idle["provider_requests"] in expected, f"(d) an idle sync asked {self.fake.requests}"

    @precondition(lambda self: self.is_mirrored)
    @rule()
    def responses_become_fast(self) -> None:
        """Whatever it was before, a small and quick Airflow is read in the small mode after a few whole polls."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(polling, "SLOW_SECONDS", 90.0)
            patch.setattr(polling, "QUICK_SECONDS", 60.0)
            self.do(self._become_small())

    async def _become_small(self) -> None:
        syncs = [await self._sync("manual", checks=False, is_calm=False) for _ in range(polling.RECORDED_POLLS)]
        if all(sync["status"] == "complete" for sync in syncs):
            state = await self.harness.state()
            assert state["mode"] == "small", f"(d) the large mode was not left: {state['polling']}"

    def _learns_all(self) -> bool:
        """Notes and deletions are read from the log, of which five pages are looked at; else totals are compared."""
        new, self.logged = len(self.model.events) - self.logged, len(self.model.events)
        is_logged = self.config.shows_events and new <= 5 * self.page
        self.saw_all_events &= is_logged and not self.was_hidden
        return is_logged and not self.config.filters and not self.harness.flickered


def make_namesake(model: Model, number: int) -> Model:
    other = Model(model.api, skew=model.skew, lag=model.lag, has_regions=model.has_regions)
    other.let_pass(model.ahead.total_seconds())
    for dag_id in model.dags:
        other.add_dag(dag_id)
        other.retag(dag_id, model.dags[dag_id].tags)
    for dag_id, run_id in list(model.runs)[number % 2 :: 1 + number % 2]:
        other.start_run(dag_id, run_id, at=model.runs[dag_id, run_id].run_after)
        for _ in range(8):
            other.step((dag_id, run_id))
        started = model.runs[dag_id, run_id].started_at
        if started is not None:  # on the same schedule, so not at the same moment, but about then
            other.runs[dag_id, run_id].started_at = started - timedelta(seconds=1 + number % 90)
    other.start_run(pick(other.dags, number))
    return other


def loop_runner(loop: asyncio.AbstractEventLoop) -> Callable[[Coroutine[Any, Any, Any]], Any]:
    return loop.run_until_complete
