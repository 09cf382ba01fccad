"""Rows that cannot be read for a while, in a life: those that break every answer they are part of, and odd values."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from fake_airflow.actions import pick
from fake_airflow.oddities import ODD_FIELDS, Key, key_of
from sync.airflow_rules import NUMBERS
from sync.oracle import Mirrored
from sync.request_budget import idle_sync_requests
from sync.sync_rules import SyncRules
from windsock.db.database import Row
from windsock.sync.session import UNFINISHED

MAX_SHARE = 4
"""Of so many rows of a kind at most one is unreadable: where nothing can be read a sync fails, which is right."""
MAX_LISTINGS = 12
"""After so many listings a row that became readable has been read again."""


class UnreadableRowRules(SyncRules):
    def prepare(self) -> None:
        self.unreadable: set[Key] = set()
        """Since the last rest, whether it still is or not: until then it may be as it was, or missing."""
        self.was_here: dict[Key, object] = {}
        """Those that were mirrored when they became unreadable, with what tells whether they are still the same."""
        super().prepare()

    def _rows(self, kind: str) -> dict[Any, Any]:
        model = self.model
        events = dict(enumerate(model.events))
        kinds: dict[str, dict[Any, Any]] = {
            "dag": model.dags, "run": model.runs, "task": model.tasks, "event": events
        }  # fmt: skip
        return kinds[kind]

    @rule(
        kind=st.sampled_from(["dag", "run", "run", "task", "task", "event"]),
        number=NUMBERS,
        cause=st.sampled_from(["500", "500", "500", "504", "slow", "drop"]),
    )
    def break_responses_of_a_row(self, kind: str, number: int, cause: Any) -> None:
        """As a row does that Airflow itself cannot serialize, or not in time, or at the cost of the process."""
        self.api.oddities.poisoned_by = cause
        rows, oddities = self._rows(kind), self.api.oddities
        key = pick(rows, number)
        poisoned = sum(key_of(row) in oddities.poisoned for row in rows.values())
        is_last = kind == "dag" and not self.leaves_a_dag({str(key)})
        if key is not None and not is_last and (poisoned + 1) * MAX_SHARE <= len(rows):
            self._note_unreadable(key_of(rows[key]))
            oddities.poisoned.add(key_of(rows[key]))

    @rule(kind=st.sampled_from(sorted(ODD_FIELDS)), number=NUMBERS)
    def a_row_gets_an_odd_value(self, kind: str, number: int) -> None:
        """With the change of the row that brought it."""
        key = pick(self._rows(kind), number)
        if key is not None:
            row = self._rows(kind)[key]
            self._note_unreadable(key_of(row))
            values = ODD_FIELDS[kind]
            self.api.oddities.odd[key_of(row)] = values[number % len(values)]
            self.model.touch(row)

    @precondition(lambda self: self.unreadable)
    @rule()
    def make_all_readable(self) -> None:
        """As after an upgrade: nothing says that the rows have changed."""
        self.api.oddities.poisoned.clear()
        self.api.oddities.odd.clear()

    def _note_unreadable(self, key: Key) -> None:
        self.unreadable.add(key)
        self.harness.unreadable = self.unreadable
        mirrored = self.do(self.harness.mirrored())
        here = {(dag_id,) for dag_id in mirrored.pipelines} | mirrored.runs.keys() | mirrored.tasks.keys()
        if key in here and not self._is_another_run(key, mirrored):
            self.was_here[key] = self._is_still(key)

    def _is_another_run(self, key: Key, mirrored: Mirrored) -> bool:
        """The mirror has the run that had this id before."""
        run = self.model.runs.get((key[0], key[1])) if len(key) > 1 else None
        return run is not None and mirrored.runs[run.dag_id, run.run_id]["run_at"] != run.run_after

    def _is_still(self, key: Key) -> object:
        """Since when Airflow has had the DAG of this row, and the time and the id of its run; None where it is gone."""
        model = self.model
        if key[0] not in model.dags or (len(key) > 1 and key[:2] not in model.runs):
            return None
        if len(key) > 2 and key not in model.tasks:
            return None
        run = model.runs.get((key[0], key[1])) if len(key) > 1 else None
        return model.appeared[key[0]], run and (run.run_after, run.id)

    def _assert_still_here(self, mirrored: Mirrored) -> None:
        if self.was_hidden or self.config.filters or self.config.retention_days:
            return
        here = {(dag_id,) for dag_id in mirrored.pipelines} | mirrored.runs.keys() | mirrored.tasks.keys()
        same = {key for key, was in self.was_here.items() if was is not None and was == self._is_still(key)}
        assert same <= here, f"(b) rows that could not be read were taken for gone: {same - here}"

    async def rest_with_unreadable(self) -> None:
        """(a) All else is here, and what is not is counted and warned of; then all is readable, and soon here too."""
        if not self.unreadable:
            return
        self._let_others_be_read()
        harness, oddities = self.harness, self.api.oddities
        if oddities.poisoned or oddities.odd:
            await harness.settle(accepts=True)
            before = await harness.mirrored()
            sync = await self._full()
            await harness.settle(accepts=True)
            await harness.assert_equal(saw_all_events=False)
            self._assert_counted(sync, before)
            self._assert_still_here(await harness.mirrored())
            await self._assert_idle()
        self.make_all_readable()
        for _ in range(MAX_LISTINGS):
            await harness.force_full_check()
            sync = await self._watched(harness.carry_out(await self._queue("schedule")))
            if await harness.accepted_without_samples(await harness.state()):
                continue
            assert sync["status"] == "complete", sync["error"]
            if not sync["coverage"]["skipped"]:
                break
        assert not sync["coverage"]["skipped"], f"(a) what can be read again is skipped: {sync['warnings']}"
        self.unreadable.clear()
        self.was_here.clear()

    def _let_others_be_read(self) -> None:
        """Where of a kind nothing else is left: those that are listed beside it have gone."""
        for kind in ("dag", "run", "task", "event"):
            keys = [key_of(row) for row in self._rows(kind).values()]
            poisoned = [key for key in keys if key in self.api.oddities.poisoned]
            if len(poisoned) * 3 > len(keys):
                self.api.oddities.poisoned.difference_update(poisoned)

    async def _full(self) -> Row:
        sync = await self._watched(self.harness.carry_out(await self._queue("full")))
        assert sync["status"] == "complete", sync["error"]
        return sync

    def _assert_counted(self, sync: Row, before: Mirrored) -> None:
        model, poisoned = self.model, self.api.oddities.poisoned
        oracle = self.harness.oracle()
        dags = oracle.wanted().keys() & before.pipelines.keys()
        runs = {key for key in poisoned & model.runs.keys() if key[0] in dags and oracle.is_surely_read(key, before)}
        tasks = {
            key
            for key in poisoned
            if len(key) == 4
            and any(task[:4] == key for task in model.tasks)
            and key[:2] not in poisoned
            and key[0] in dags
            and oracle.is_surely_read(key[:2], before)
        }
        odd = {key for key in self.api.oddities.odd.keys() & model.runs.keys() - poisoned if key[0] in dags}
        lost = {key for key in odd - before.runs.keys() if oracle.is_surely_read(key, before)}
        assert not lost, f"(a) runs with odd values are not here: {lost}"
        listed = {(dag_id,) for dag_id in dags} & poisoned
        least = len(runs) + len(tasks) + len(listed)
        assert sync["coverage"]["skipped"] >= least, f"(a) skipped silently: {runs | tasks | listed}"
        assert len(sync["warnings"]) >= min(least, 1), "(a) skipped without a warning"

    async def _assert_idle(self) -> None:
        harness, model, poisoned = self.harness, self.model, self.api.oddities.poisoned
        if any(run.state in UNFINISHED for key, run in model.runs.items() if key in poisoned):
            return  # each list of what has not ended holds it
        model.let_pass(1_000)
        for _ in range(2):
            self.fake.requests.clear()
            state = await harness.state()
            idle = await self._watched(harness.carry_out(await self._queue("schedule")))
        odd = self.api.oddities.odd  # read again by themselves
        waits = any(run["status"] in UNFINISHED for key, run in (await harness.runs()).items() if key not in odd)
        expected = idle_sync_requests(state, len(self.model.dags), waits=waits)
        assert idle["provider_requests"] in expected, f"(d) an idle sync with skipped rows asked {self.fake.requests}"
