"""Rows that an Airflow has and that are trouble: some break every list, some hold odd values, some are only counted."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeVar

from fake_airflow.rows import Dag, Run, Task

T = TypeVar("T")
Key = tuple[Any, ...]
"""(dag_id,), (dag_id, run_id), (dag_id, run_id, task_id, map_index), or ("event", event_log_id)."""


def nested(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels - 1):
        value = {"a": value}
    return value


ODD_VALUES: Final[dict[str, tuple[dict[str, Any], ...]]] = {
    "dag": ({"next_dagrun_create_after": "soon", "next_dagrun_run_after": "soon"}, {"tags": "a"}, {"owners": 7}),
    "run": (
        {"start_date": "yesterday"}, {"end_date": 5}, {"conf": nested(253)}, {"conf": nested(254)},
        {"conf": nested(400)}, {"conf": "text"}, {"conf": [1, {"a": None}]}, {"note": {"a": 1}}, {"state": []},
    ),
    "task": (
        {"try_number": 2**40}, {"max_tries": -(2**31)}, {"end_date": "2026-13-01T00:00:00Z"}, {"hostname": ["a"]},
        {"trigger": {"kwargs": nested(260)}}, {"trigger": {"kwargs": nested(250)}}, {"map_index": 2**31},
    ),
}  # fmt: skip
"""Each is stored without those fields, or as it is; only the last one of the tasks cannot be."""
ODD_FIELDS: Final[dict[str, tuple[dict[str, Any], ...]]] = {
    "run": ({"start_date": "yesterday"}, {"conf": nested(400)}, {"end_date": 5}, {"state": []}),
    "task": ({"try_number": 2**40}, {"max_tries": -(2**70)}, {"end_date": "2026-13-01T00:00:00Z"}, {"state": {}}),
}
"""Of ODD_VALUES those that no column takes: the row is stored without them."""


POISONED: Final = "Unexpected error"
"""In the answer that would hold a poisoned row."""


@dataclass
class Oddities:
    """`poisoned`: whatever answer holds such a row is a 500, also its own, or fails as `poisoned_by` says.

    `odd`: fields in place of the true ones.

    `hidden`: counted in totals, and in no list. `has_no_order`: task instances of 2.x are shuffled in each answer.
    `most_rows`: a list with more rows fails as `too_many` says.
    """

    poisoned: set[Key] = field(default_factory=set)
    poisoned_by: Literal["500", "slow", "drop", "cut", "504", "large"] = "500"
    odd: dict[Key, dict[str, Any]] = field(default_factory=dict)
    hidden: set[Key] = field(default_factory=set)
    has_no_order: bool = False
    chooser: random.Random = field(default_factory=lambda: random.Random(7))  # noqa: S311 - repeatable on purpose
    most_rows: int | None = None
    too_many: Literal["slow", "drop", "cut", "504", "large"] = "504"

    def poisons(self, rows: Sequence[Any]) -> bool:
        return bool(self.poisoned) and any(key_of(row) in self.poisoned for row in rows)

    def dressed(self, shape: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
        return lambda row, *more: shape(row, *more) | self.odd.get(key_of(row), {})

    def listed(self, rows: list[T]) -> list[T]:
        return [row for row in rows if key_of(row) not in self.hidden] if self.hidden else rows

    def unordered(self, rows: list[T]) -> list[T]:
        return self.chooser.sample(rows, len(rows)) if self.has_no_order else rows

    def fault(self, body: object) -> str | None:
        if self.poisoned_by != "500" and isinstance(body, dict) and body.get("detail") == POISONED:
            return self.poisoned_by
        if self.most_rows is None or not isinstance(body, dict):
            return None
        most = max((len(value) for value in body.values() if isinstance(value, list)), default=0)
        return self.too_many if most > self.most_rows and "total_entries" in body else None


def key_of(row: object) -> Key:
    match row:
        case Dag():
            return (row.dag_id,)
        case Run():
            return (row.dag_id, row.run_id)
        case Task():
            return (row.dag_id, row.run_id, row.task_id, row.map_index)
        case dict():
            return ("event", row.get("event_log_id"))
    return ()
