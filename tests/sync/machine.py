"""A life of an Airflow and of a Windsock that mirrors it, drawn by hypothesis: what happens, what goes wrong, when.

Its five properties hold after every step: (a) after quiet and good passes the mirror equals the source; (b) a pass that
was not complete took nothing away; (c) what people added is still there; (d) a sync asked no more than what changed
explains; (e) the watermark has not passed anything that is not stored.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from datetime import timedelta
from math import ceil
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from airflow_double.api import Api
from airflow_double.faults import FAULTS, Double, Faults
from airflow_double.happenings import EVENTS, happen, pick
from airflow_double.model import Model
from sync.doubled import Doubled
from windsock.db import Row
from windsock.process import Process

NUMBERS = st.integers(0, 2**16)
OVERLAP = timedelta(seconds=120)
SECONDS = st.sampled_from([1, 5, 20, 60, 100, 200, 600, 4000])


class Life(RuleBasedStateMachine):
    """`environment` is set by the test: where the process is and how its coroutines are run."""

    process: ClassVar[Process]
    run_in_loop: ClassVar[Callable[[Coroutine[Any, Any, Any]], Any]]

    # --- Beginning and end -----------------------------------------------------------------------------------------

    @initialize(
        api=st.sampled_from(["v1", "v2"]),
        cursors=st.sampled_from(["none", "uncounted", "capped"]),
        cap=st.sampled_from([3, 10, 100]),
        skew=st.sampled_from([-300, -7, 0, 7, 300]),
        shows_events=st.booleans(),
        counts=st.sampled_from([2, 50_000]),
    )
    def begin(self, api: str, cursors: Any, cap: int, skew: int, *, shows_events: bool, counts: int) -> None:
        self.model = Model(api, skew=timedelta(seconds=skew))
        served = Api(self.model, cap=cap, cursors=cursors)
        served.shows_events, served.counted_up_to = shows_events, counts
        self.double = Double(served, Faults())
        self.page = min(cap, 100)
        self.doubled = Doubled(self.process, self.double)
        self.do(self.doubled.connect_to_double())
        self.overlay: dict[str, set[Any]] = {"comments": set(), "critical": set(), "watches": set()}
        self.chance = random.Random(0)  # noqa: S311 - repeatable on purpose
        for number in range(3):
            self.happen("add", number)
            self.happen("start", number)

    def teardown(self) -> None:
        if hasattr(self, "doubled"):
            self.come_to_rest()

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return type(self).run_in_loop(work)

    # --- What happens ----------------------------------------------------------------------------------------------

    @rule(what=st.lists(st.tuples(st.sampled_from(sorted(["step"] * 4 + list(EVENTS))), NUMBERS), max_size=12))
    def life_goes_on(self, what: list[tuple[str, int]]) -> None:
        for letter, number in what:
            self.happen(EVENTS.get(letter, "step"), number)

    @rule(seconds=SECONDS)
    def time_passes(self, seconds: int) -> None:
        self.model.let_pass(seconds)

    @rule(number=NUMBERS, seconds=st.sampled_from([1, 10, 60, 100]))
    def a_change_is_committed_late(self, number: int, seconds: int) -> None:
        key = pick(self.model.runs, number)
        if key is not None:
            self.model.commit_later(seconds, lambda: self.model.step(key))
            self.model.let_pass(seconds / 2)

    @rule(number=NUMBERS)
    def a_run_starts_that_is_committed_late(self, number: int) -> None:
        dag_id = pick(self.model.dags, number)
        if dag_id is not None:
            self.model.commit_later(50, lambda: self.happen("start", number))

    def happen(self, what: str, number: int) -> None:
        happen(self.model, what, number)

    # --- What people add -------------------------------------------------------------------------------------------

    @rule(number=NUMBERS)
    def people_add_something(self, number: int) -> None:
        self.do(self._add(number))

    async def _add(self, number: int) -> None:
        runs = await self.doubled.rows("SELECT id, pipeline_id FROM runs ORDER BY id")
        if not runs:
            return
        run = runs[number % len(runs)]
        text = f"comment {number}"
        await self.doubled.execute(
            "INSERT INTO comments (space_id, run_id, content) VALUES (%(space_id)s, %(run_id)s, %(text)s)",
            {"run_id": run["id"], "text": text},
        )
        self.overlay["comments"].add((run["id"], text))
        await self.doubled.execute(
            "UPDATE pipelines SET criticality = 'critical' WHERE space_id = %(space_id)s AND id = %(id)s",
            {"id": run["pipeline_id"]},
        )
        self.overlay["critical"].add(run["pipeline_id"])

    async def _assert_overlay(self) -> None:
        said = {(r["run_id"], r["content"]) for r in await self.doubled.rows("SELECT run_id, content FROM comments")}
        assert said >= self.overlay["comments"], "(c) a comment was lost"
        rows = await self.doubled.rows("SELECT id FROM pipelines WHERE criticality = 'critical'")
        assert {row["id"] for row in rows} >= self.overlay["critical"], "(c) a criticality was lost"

    # --- Syncs -----------------------------------------------------------------------------------------------------

    @rule(is_full=st.booleans(), looks=st.booleans())
    def a_sync_without_trouble(self, *, is_full: bool, looks: bool) -> None:
        self.do(self._sync(is_full=is_full and looks, looks=looks))

    @rule(
        seed=NUMBERS,
        chance=st.sampled_from([0.0, 0.05, 0.2, 0.6]),
        kinds=st.lists(st.sampled_from(FAULTS), min_size=1, max_size=4, unique=True),
        is_full=st.booleans(),
        lives=st.booleans(),
    )
    def a_sync_with_trouble(self, seed: int, chance: float, kinds: list[str], *, is_full: bool, lives: bool) -> None:
        self.chance = random.Random(seed)  # noqa: S311
        faults = self.double.faults
        faults.chance, faults.kinds, faults.chooser = chance, tuple(kinds), random.Random(seed + 1)  # noqa: S311
        self.double.between = self._live if lives else None
        try:
            self.do(self._sync(is_full=is_full, looks=seed % 3 == 0, is_calm=not lives and not chance))
        finally:
            faults.chance, self.double.between = 0.0, None

    @rule(number=NUMBERS, after=st.integers(0, 5), kind=st.sampled_from(["empty", "empty", "cut", "drop", "503"]))
    def a_page_goes_wrong_long_after_a_change(self, number: int, after: int, kind: str) -> None:
        """So that what this sync does not store lies before what the next one reads."""
        for what in ("step", "start", "mark task", "step"):
            self.happen(what, number)
        self.model.let_pass(200)
        self.double.faults.plan = [None] * after + [kind] * 3
        self.do(self._sync(is_full=False, looks=False, is_calm=False))
        self.double.faults.plan = []
        self.model.let_pass(200)
        self.do(self._sync(is_full=False, looks=False, is_calm=False))

    def _live(self) -> None:
        """Between two answers of a sync."""
        if self.chance.random() < 0.4:
            what = self.chance.choice([*EVENTS.values(), "step", "step", "start"])
            self.happen(what, self.chance.randrange(2**16))
        if self.chance.random() < 0.1:
            self.model.let_pass(self.chance.choice([1, 10, 40]))

    @rule(seed=NUMBERS)
    def a_sync_is_killed(self, seed: int) -> None:
        """Its process dies at a request; the dispatcher gives it up when its lease has run out."""
        self.do(self._killed(seed))

    async def _killed(self, seed: int) -> None:
        left = seed % 12

        def die() -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise Died

        self.double.between = die
        try:
            await self.doubled.sync(is_full=seed % 2 == 0)
        except Died:
            await self.doubled.execute(
                "UPDATE sync_runs SET status = 'partial', finished_at = now(), lease_holder = NULL"
                " WHERE space_id = %(space_id)s AND status = 'running'"
            )
        finally:
            self.double.between = None
        await self._assert_after()

    async def _sync(self, *, is_full: bool, looks: bool, is_calm: bool = True) -> None:
        if looks:
            await self.doubled.look_closely()
        before, state = await self._gone(), await self.doubled.state()
        budget = self._budget(state) if is_calm and not is_full and not looks else None
        sync = await self.doubled.sync(is_full=is_full, trigger="manual" if is_full else "schedule")
        assert "fault of Windsock" not in (sync["error"] or ""), sync["error"]
        if sync["status"] != "complete":
            assert await self._gone() <= before, "(b) a pass that was not complete took something away"
        if budget is not None and state["failures"] == 0 and not state["looks_again"] and state["watermark"]:
            assert sync["provider_requests"] <= budget, f"(d) {sync['provider_requests']} requests, not {budget}"
        await self._assert_after()

    async def _assert_after(self) -> None:
        await self._assert_overlay()
        await self.doubled.assert_watermark_is_true(OVERLAP)

    async def _gone(self) -> set[Any]:
        gone: set[Any] = set()
        for table in ("pipelines", "runs", "task_runs"):
            rows = await self.doubled.rows(f"SELECT id FROM {table} WHERE removed_at IS NOT NULL")  # noqa: S608
            gone |= {row["id"] for row in rows}
        return gone

    def _budget(self, state: Row) -> int:
        """What a scheduled sync of changes may ask: the events, the two lists, and what changed or was done to."""
        if state["watermark"] is None or state["checkpoint"] or not (state["history"] or {}).get("is_complete"):
            return 10_000
        since = state["watermark"] - OVERLAP
        per_page = max(1, self.page - 1)
        model = self.model
        runs = sum(run.updated_at >= since for run in model.runs.values())
        tasks = sum(task.updated_at >= since for task in model.tasks.values())
        events = [one for one in model.events if one["when"] >= since]
        followed = {(one["dag_id"], one["run_id"]) for one in events if one["run_id"]}
        most_tasks = max((sum(1 for _ in model.tasks_of(key)) for key in followed), default=0)
        listing = ceil(len(model.dags) / self.page) + 1 + len(model.dags)
        pages = ceil(runs / per_page) + ceil(tasks / per_page) + ceil(len(events) / self.page)
        return int(5 + pages + len(followed) * (3 + ceil(most_tasks / per_page)) + listing)

    @precondition(lambda self: hasattr(self, "doubled"))
    @rule()
    def come_to_rest(self) -> None:
        self.do(self._come_to_rest())

    async def _come_to_rest(self) -> None:
        await self.doubled.settle()
        if not self.double.api.shows_events:  # then only a reading of everything finds notes
            sync = await self.doubled.sync(is_full=True)
            assert sync["status"] == "complete", sync["error"]
            await self.doubled.settle()
        await self.doubled.assert_equal()
        await self._assert_after()


class Died(BaseException):
    """As kill -9: nothing of ours is carried out any more."""


def loop_runner(loop: asyncio.AbstractEventLoop) -> Callable[[Coroutine[Any, Any, Any]], Any]:
    return loop.run_until_complete
