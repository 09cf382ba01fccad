"""How a life begins and what happens in its Airflow; the syncs of it are in state_machine.py."""

from __future__ import annotations

import random
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any, ClassVar

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from fake_airflow.actions import DAGS, EVENTS, apply_action, pick
from fake_airflow.api import Api
from fake_airflow.faults import FakeAirflow, Faults
from fake_airflow.model import Model
from sync.config_strategies import SIMULATION_CONFIGS, SimulationConfig, connector_config
from sync.harness import SyncHarness
from windsock.context import AppContext

NUMBERS = st.integers(0, 2**16)
SECONDS = st.sampled_from([1, 5, 20, 60, 100, 200, 600, 4000, 13_000])


class StateMachineBase(RuleBasedStateMachine):
    """`process` and `run_in_loop` are set by the test: where the process is and how its coroutines are run."""

    process: ClassVar[AppContext]
    run_in_loop: ClassVar[Callable[[Coroutine[Any, Any, Any]], Any]]
    harness: SyncHarness
    config: SimulationConfig

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return type(self).run_in_loop(work)

    def apply_action(self, what: str, number: int) -> None:
        apply_action(self.model, what, number)

    @initialize(config=SIMULATION_CONFIGS)
    def begin(self, config: SimulationConfig) -> None:
        self.config, self.patch = config, pytest.MonkeyPatch()
        config.turn(self.patch)
        has_regions = config.has_regions and config.api == "v2"
        clocks = {"skew": timedelta(seconds=config.skew), "lag": timedelta(seconds=config.lag)}
        self.model = Model(config.api, **clocks, has_regions=has_regions)
        self.model.strange_ids = config.strange_ids
        self.api = Api(self.model, cap=config.cap, cursors=config.cursors)
        self.api.shows_events, self.api.counted_up_to = config.shows_events, config.counts
        self.api.is_scoped = config.is_scoped
        self.fake = FakeAirflow(self.api, Faults())
        self.page = min(config.cap, 100)
        self.harness = SyncHarness(self.process, self.fake, window=config.window)
        self.do(self._connect())
        self.chance = random.Random(0)  # noqa: S311 - repeatable on purpose
        self.hidden: dict[str, int] = {}
        self.was_hidden = False
        if has_regions:
            self.apply_action("add", DAGS.index("refined"))
            self._start("refined", hours=2, steps=40)
        for number in range(3):
            self.apply_action("add", number)
            self.apply_action("retag", number)
            self.apply_action("start", number)
            self._start(DAGS[number], hours=3 + number, steps=20)
        for number in range(2):  # from before the history
            self._start(DAGS[number], hours=480 + number, steps=3 + number * 10)
        self.prepare()

    def _start(self, dag_id: str, *, hours: int, steps: int) -> None:
        run = self.model.start_run(dag_id, at=self.model.now() - timedelta(hours=hours))
        for _ in range(steps):
            self.model.step((dag_id, run.run_id))

    def prepare(self) -> None:
        """What the rest of the life needs."""

    async def _connect(self) -> None:
        await self.harness.connect_to_double(**connector_config(self.config))
        self.harness.retention_days = self.config.retention_days
        await self.harness.execute(
            "UPDATE spaces SET retention_days = %(days)s WHERE id = %(space_id)s", {"days": self.config.retention_days}
        )


class AirflowRules(StateMachineBase):
    @rule(what=st.lists(st.tuples(st.sampled_from(sorted(["step"] * 4 + list(EVENTS))), NUMBERS), max_size=12))
    def life_goes_on(self, what: list[tuple[str, int]]) -> None:
        for letter, number in what:
            self.apply_action(EVENTS.get(letter, "step"), number)

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
        if self.model.dags:
            self.model.commit_later(50, lambda: self.apply_action("start", number))

    @rule(number=NUMBERS)
    def a_permission_is_lost(self, number: int) -> None:
        """For some of the DAGs: lists leave them out without a word."""
        lost = {dag_id for place, dag_id in enumerate(sorted(self.model.dags)) if number >> place & 1}
        if self.leaves_a_dag(lost):
            self.hide(lost)

    def leaves_a_dag(self, lost: set[str]) -> bool:
        """An account that may read no list and can read no DAG is refused, which is right."""
        unreadable = {key[0] for key in self.api.oddities.poisoned if len(key) == 1}
        return not self.config.is_scoped or bool(set(self.model.dags) - lost - self.hidden.keys() - unreadable)

    def hide(self, dag_ids: set[str]) -> None:
        self.was_hidden |= bool(dag_ids)
        self.api.show(set(DAGS) - dag_ids - self.hidden.keys())
        self.hidden |= {dag_id: self.harness.lists for dag_id in dag_ids if dag_id not in self.hidden}

    @precondition(lambda self: self.hidden)
    @rule()
    def the_permissions_are_back(self) -> None:
        self.api.show(None)
        seen = self.harness.lists
        self.harness.flickered |= {dag_id for dag_id, lists in self.hidden.items() if lists == seen}
        self.hidden = {}

    def act_between_responses(self) -> None:
        """While a sync is reading."""
        if self.chance.random() < 0.4:
            what = self.chance.choice([*EVENTS.values(), "step", "step", "start"])
            self.apply_action(what, self.chance.randrange(2**16))
        if self.chance.random() < 0.1:
            self.model.let_pass(self.chance.choice([1, 10, 40]))
