"""The syncs of a life: those that end by themselves, those that are ended, and what is looked at after each."""

from __future__ import annotations

import random
from collections.abc import Callable, Coroutine
from typing import Any, Literal

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from fake_airflow.actions import pick
from fake_airflow.faults import FAULTS
from sync.airflow_rules import NUMBERS, AirflowRules
from sync.deletion_oracle import DeletionOracle, Marks
from sync.request_budget import max_requests
from sync.user_data_oracle import UserDataRules
from windsock.db.database import Row
from windsock.sync.jobs import expire_sync

SYNCS = st.sampled_from(["schedule", "schedule", "manual", "full"])
Trigger = Literal["manual", "schedule"]


class SyncRules(AirflowRules, UserDataRules):
    def prepare(self) -> None:
        self.prepare_people()
        self.deletions = DeletionOracle(self.harness)
        self.logged, self.saw_all_events = 0, True
        self.harness.watched = self._watched
        self.is_mirrored = False
        if not self.config.is_new:
            self.do(self._sync("schedule", checks=False))

    # --- Syncs that end --------------------------------------------------------------------------------------------

    @rule(kind=SYNCS, checks=st.booleans())
    def a_sync_without_trouble(self, kind: str, *, checks: bool) -> None:
        self.do(self._sync(kind, checks=checks))

    @rule(
        seed=NUMBERS,
        chance=st.sampled_from([0.0, 0.05, 0.2, 0.6]),
        kinds=st.lists(st.sampled_from(FAULTS), min_size=1, max_size=4, unique=True),
        kind=SYNCS,
        is_changing=st.booleans(),
    )
    def a_sync_with_trouble(self, seed: int, chance: float, kinds: list[str], kind: str, *, is_changing: bool) -> None:
        self.chance = random.Random(seed)  # noqa: S311
        faults = self.fake.faults
        faults.chance, faults.kinds, faults.chooser = chance, tuple(kinds), random.Random(seed + 1)  # noqa: S311
        self.fake.between = self.act_between_responses if is_changing else None
        try:
            self.do(self._sync(kind, checks=seed % 3 == 0, is_calm=not is_changing and not chance))
        finally:
            faults.chance, self.fake.between = 0.0, None

    @rule(
        number=NUMBERS,
        after=st.integers(0, 5),
        kind=st.sampled_from(["empty", "empty", "cut", "drop", "503"]),
        is_later=st.booleans(),
    )
    def a_page_goes_wrong_long_after_a_change(self, number: int, after: int, kind: str, *, is_later: bool) -> None:
        """So that what this sync does not store lies before what the next one reads.

        `is_later`: not the first page of a list, so that the next sync goes on at a page.
        """
        for what in ("step", "start", "mark task", "step"):
            self.apply_action(what, number)
        self.model.let_pass(200)
        faults = self.fake.faults
        faults.plan = [None] * (after // 3 if is_later else after) + [kind] * 3
        faults.only_later, faults.where = is_later, "/~/" if is_later else ""
        self.do(self._sync("schedule", checks=False, is_calm=False))
        faults.plan, faults.only_later, faults.where = [], False, ""
        for more in range(3):  # also of what lies before the page where the next one goes on
            self.apply_action("clear", number + more)
        self.model.let_pass(200)
        self.do(self._sync("schedule", checks=False, is_calm=False))

    @precondition(lambda self: self.is_mirrored)
    @rule(number=NUMBERS)
    def interrupt_a_check(self, number: int) -> None:
        """After the list of DAGs, which lacks one: that it was missing then proves nothing later."""
        self.apply_action("delete dag", number)
        faults = self.fake.faults
        faults.chance, faults.kinds, faults.where = 1.0, ("503",), "taskInstances"
        self.do(self._sync("schedule", checks=True, is_calm=False))
        faults.chance, faults.where = 0.0, ""
        self.do(self._sync("schedule", checks=True, is_calm=False))

    @precondition(lambda self: self.is_mirrored)
    @rule(number=NUMBERS)
    def interrupt_a_sync_that_saw_a_note(self, number: int) -> None:
        """Nothing but the log tells of it, which the next sync must still take to be new."""
        self.model.let_pass(200)
        self.do(self._sync("schedule", checks=False))
        key = pick(self.model.runs, number)
        if key is None:
            return
        self.model.note_run(key, f"heard of by {number}")
        self.model.let_pass(60)
        faults = self.fake.faults
        faults.chance, faults.kinds, faults.where = 1.0, ("503",), "taskInstances"
        self.do(self._sync("schedule", checks=False, is_calm=False))
        faults.chance, faults.where = 0.0, ""

    @precondition(lambda self: self.is_mirrored)
    @rule(number=NUMBERS)
    def a_run_that_was_taken_away_is_there_again(self, number: int) -> None:
        """Under its id, and not the same: it was removed here, and is to be seen again."""
        key = pick(self.model.runs, number)
        if key is None:
            return
        run_at = self.model.runs[key].run_after
        self.model.delete_run(key)
        for _ in range(3):
            self.model.let_pass(700)
            self.do(self._sync("schedule", checks=True, is_calm=False))
        if key[0] in self.model.dags and key not in self.model.runs:
            self.model.start_run(*key, at=run_at)

    @precondition(lambda self: self.is_mirrored)
    @rule(number=NUMBERS)
    def change_a_hidden_run(self, number: int) -> None:
        """While the account may not read a DAG, and its absence has been noticed."""
        key = pick(self.model.runs, number)
        if key is None:
            return
        self.hide({key[0]})
        self.do(self._sync("schedule", checks=True, is_calm=False))
        self.model.clear_run(key)
        self.model.let_pass(400)
        self.do(self._sync("schedule", checks=False, is_calm=False))
        self.the_permissions_are_back()
        self.do(self._sync("schedule", checks=True, is_calm=False))

    async def _sync(self, kind: str, *, checks: bool, is_calm: bool = True) -> Row:
        if checks:
            await self.harness.force_full_check()
        mirrored = await self.harness.mirrored()
        most = (
            max_requests(self.harness, self.config, mirrored, kind, checks=checks)
            if is_calm and not self.harness.unreadable
            else None
        )
        sync = await self._watched(self.harness.carry_out(await self._queue(kind)))
        if most is not None and sync["status"] == "complete":
            assert sync["provider_requests"] <= most, f"(d) {sync['provider_requests']} requests, not {most}"
        return sync

    async def _queue(self, kind: str) -> Any:
        trigger: Trigger = "schedule" if kind == "schedule" else "manual"
        return await self.harness.queue(is_full=kind == "full", trigger=trigger)

    async def _watched(self, work: Coroutine[Any, Any, Row], before: Marks | None = None) -> Row:
        """The sync that `work` carries out, or a part of it, took away what it may; and all else is true after it.

        `before`: as it was before the first part.
        """
        before = before or await self.deletions.snapshot()
        sync = await work
        assert "fault of Windsock" not in (sync["error"] or ""), sync["error"]
        await self.deletions.assert_proven(before, sync)
        await self.assert_overlay()
        await self.harness.assert_believable()
        self.is_mirrored |= sync["status"] == "complete"
        if sync["is_full"] and sync["status"] == "complete":
            self.harness.flickered.clear()
        return sync

    # --- Syncs that are ended --------------------------------------------------------------------------------------

    @rule(seed=NUMBERS, kind=SYNCS)
    def a_sync_is_killed(self, seed: int, kind: str) -> None:
        """Its process dies at a request; the dispatcher gives it up when its lease has run out."""
        self.do(self._killed(seed, kind))

    async def _killed(self, seed: int, kind: str) -> None:
        self.fake.between = after(seed % 12, die)
        sync_id = await self._queue(kind)

        async def work() -> Row:
            try:
                return await self.harness.carry_out(sync_id)
            except Died:
                lapse = "UPDATE sync_runs SET lease_until = now() - interval '1 second' WHERE space_id = %(space_id)s"
                await self.harness.execute(lapse + " AND status = 'running'")
                await expire_sync(self.harness.db, self.harness.space_id, sync_id)
                (row,) = await self.harness.rows("SELECT * FROM sync_runs WHERE id = %(id)s", {"id": sync_id})
                return row
            finally:
                self.fake.between = None

        sync = await self._watched(work())
        assert sync["status"] != "running"

    @rule(seed=NUMBERS, kind=SYNCS, is_changing=st.booleans())
    def a_sync_is_handed_over(self, seed: int, kind: str, *, is_changing: bool) -> None:
        """Its process is told to stop, once or twice; another one goes on, perhaps after a while."""
        self.chance = random.Random(seed)  # noqa: S311
        self.do(self._handed_over(seed, kind, is_changing=is_changing))

    async def _handed_over(self, seed: int, kind: str, *, is_changing: bool) -> None:
        sync_id, before = await self._queue(kind), await self.deletions.snapshot()
        for number in (seed % 11, seed // 11 % 11):
            worker = self.harness.execution
            self.fake.between = after(number, worker.stopping.set)
            sync = await self._watched(self.harness.carry_out(sync_id), before)
            self.fake.between = self.act_between_responses if is_changing else None
            self.harness.execution = self.harness.make_worker()
            if sync["status"] != "queued":
                break
            if is_changing:
                self.act_between_responses()
        else:
            sync = await self._watched(self.harness.carry_out(sync_id), before)
        self.fake.between = None
        assert sync["status"] not in {"queued", "running"}, sync["status"]

    @rule(seed=NUMBERS, kind=SYNCS)
    def a_sync_is_cancelled(self, seed: int, kind: str) -> None:
        self.do(self._cancelled(seed, kind))

    async def _cancelled(self, seed: int, kind: str) -> None:
        left = seed % 12
        was = (await self.harness.state())["checkpoint"] or {}

        async def cancel() -> None:
            nonlocal left
            left -= 1
            if left == -1:
                await self.harness.execute(
                    "UPDATE sync_runs SET cancel_requested_at = now()"
                    " WHERE space_id = %(space_id)s AND status = 'running'"
                )

        self.fake.meanwhile = cancel
        sync = await self._watched(self.harness.carry_out(await self._queue(kind)))
        self.fake.meanwhile = None
        if sync["status"] == "cancelled" and was.get("kind") != "history":
            again = await self._sync("schedule", checks=False, is_calm=False)
            assert not again["is_full"], "(d) the sync after a cancelled full one is full"


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
