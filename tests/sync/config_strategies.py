"""What differs from life to life: how Airflow and the connector are set up, and constants made small.

Rare code (a split window, a step of a long way, a run that waits to be followed) is then reached by small Airflows.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import strategies as st

from fake_airflow.api import Cursors
from windsock.sync import backfill, incremental, polling, reconcile, sync_pass


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulationConfig:
    """`is_new`: nothing has been mirrored yet when the life begins.

    `has_regions`: it is an Airflow 3.4, where the API is that of 3: loops and mapped tasks have regions.

    `is_slow`: each look at the clock of a pass finds that 20 s have passed, so that a long reading polls between.
    `is_scoped`: the account has rights on single DAGs, so that lists over all of them answer 403.
    `lag`: how far the clock that stamps rows is behind the one that answers. `strange_ids`: of so many runs one has an
    id without an address. `is_dear`: a poll costs this Airflow too much to be asked for everything each time.
    """

    api: str
    has_regions: bool
    cursors: Cursors
    cap: int
    skew: int
    lag: int
    strange_ids: int
    shows_events: bool
    is_scoped: bool
    counts: int
    window: int
    step: timedelta
    is_slow_to_poll: bool
    is_slow: bool
    few_rows: int
    most_hinted: int
    max_tracked_runs: int
    history_seconds: float
    filters: dict[str, list[str]]
    retention_days: int | None
    history_days: int
    is_new: bool

    def turn(self, patch: pytest.MonkeyPatch) -> None:
        patch.setattr(incremental, "MAX_CATCH_UP", self.step)
        patch.setattr(incremental, "MAX_HINTED_RUNS", self.most_hinted)
        patch.setattr(polling, "MAX_RECORDED_RUNS", self.max_tracked_runs)
        patch.setattr(reconcile, "FEW_ROWS", self.few_rows)
        patch.setattr(backfill, "FIRST_WINDOW", timedelta(hours=12))  # fewer of them, so that a life is shorter
        patch.setattr(sync_pass, "HISTORY_SECONDS", self.history_seconds)
        if self.is_slow_to_poll:
            make_large(patch)
        if self.is_slow:
            patch.setattr(sync_pass, "clocks", Clock())


def make_large(patch: pytest.MonkeyPatch) -> None:
    """Every answer counts as slow, and every number of task instances as large."""
    patch.setattr(polling, "SLOW_SECONDS", 0.0)
    patch.setattr(polling, "QUICK_SECONDS", 0.0)
    patch.setattr(polling, "LARGE_TASK_RUNS", 0)


class Clock:
    """In the place of the module `time`."""

    def __init__(self) -> None:
        self._now = 0.0

    def monotonic(self) -> float:
        self._now += 20
        return self._now


SIMULATION_CONFIGS: st.SearchStrategy[SimulationConfig] = st.builds(
    SimulationConfig,
    api=st.sampled_from(["v1", "v2"]),
    has_regions=st.booleans(),
    cursors=st.sampled_from(["none", "uncounted", "capped"]),
    cap=st.sampled_from([3, 10, 50, 100]),
    skew=st.sampled_from([-300, -7, 0, 7, 300]),
    lag=st.sampled_from([0, 0, 0, 7, 300, 9_000, -300]),
    strange_ids=st.sampled_from([0, 0, 1, 2, 5]),
    shows_events=st.booleans(),
    is_scoped=st.sampled_from([False, False, False, True]),
    counts=st.sampled_from([2, 50_000]),
    window=st.sampled_from([4, 20, 10_000]),
    step=st.sampled_from([timedelta(hours=1), timedelta(hours=3)]),
    is_slow_to_poll=st.sampled_from([False, False, True]),
    is_slow=st.sampled_from([False, False, True]),
    few_rows=st.sampled_from([30, 1_000]),
    most_hinted=st.sampled_from([2, 100]),
    max_tracked_runs=st.sampled_from([3, 1_000]),
    history_seconds=st.sampled_from([0.0, 15.0]),
    filters=st.sampled_from(
        [
            {},
            {},
            {},
            {},
            {"include_tags": ["prod*"]},
            {"exclude_dags": ["m*"]},
            {"include_dags": ["*s"], "include_tags": ["*"]},
        ]
    ),
    retention_days=st.sampled_from([None, None, None, 2]),
    history_days=st.sampled_from([2, 2, 14]),
    is_new=st.sampled_from([False, False, False, True]),
)


def connector_config(config: SimulationConfig) -> dict[str, Any]:
    return {**config.filters, "sync_interval_seconds": 10, "history_days": config.history_days}
