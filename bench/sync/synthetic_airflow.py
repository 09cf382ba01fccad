"""An Airflow 3 of any size: the double, whose rows are computed when they are asked for and not kept."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from fake_airflow.api import Api
from fake_airflow.model import Model
from fake_airflow.responses import Params, Refused, Reply
from fake_airflow.rows import Dag, Run, RunKey, Task

TASKS = ("extract", "load")
Shape = Callable[[int], dict[str, Any]]
ENDS_AFTER = timedelta(seconds=9)


class SyntheticAirflow(Api):
    """`runs` runs of `dags` DAGs, evenly over the last `days` days, each of two tasks; all have ended."""

    def __init__(self, *, dags: int, runs: int, days: int) -> None:
        super().__init__(Model("v2"))
        self._dags_there, self._runs_there = dags, runs
        self._step = timedelta(days=days) / runs
        self._first = datetime.now(UTC) - timedelta(minutes=10) - self._step * runs

    def run_of(self, number: int) -> Run:
        at = self._first + self._step * number
        begins, ends = at + timedelta(seconds=1), at + ENDS_AFTER
        run_id = f"scheduled__{number:09}"
        return Run(
            number + 1, self._name(number), run_id, "scheduled", at, at, at, ends, "success", begins, ends
        )  # fmt: skip

    def _name(self, number: int) -> str:
        return f"dag_{number % self._dags_there:05}"

    def _task_of(self, number: int) -> tuple[Task, Run]:
        run = self.run_of(number // len(TASKS))
        name = TASKS[number % len(TASKS)]
        task = Task(
            number + 1, run.dag_id, run.run_id, name, -1, run.updated_at, "success", 1, 0,
            run.queued_at, run.started_at, run.ended_at,
        )  # fmt: skip
        return task, run

    def _dag(self, dag_id: str) -> Dag:
        return Dag(dag_id, {"extract": ["load"], "load": []}, tags=["computed"])

    def _run(self, key: RunKey) -> Run:
        number = int(key[1].removeprefix("scheduled__"))
        if number >= self._runs_there or self._name(number) != key[0]:
            raise Refused(404, f"The DagRun with dag_id: `{key[0]}` and run_id: `{key[1]}` was not found")
        return self.run_of(number)

    def _dags(self, params: Params) -> Reply:
        offset, limit = int(params.get("offset", 0)), min(int(params.get("limit", 50)), self.cap)
        names = (self._name(number) for number in range(offset, min(offset + limit, self._dags_there)))
        rows = [self._shape("dag")(self._dag(name), 0) for name in names]
        return Reply({"dags": rows, "total_entries": self._dags_there})

    def _runs(self, dag_id: str, params: Params) -> Reply:  # noqa: ARG002 - only ~ is asked for
        first, last = self._range(params)
        return self._computed("dag_runs", first, last, params, lambda number: self._shape("run")(self.run_of(number)))

    def _tasks(self, dag_id: str, run_id: str, params: Params) -> Reply:
        if run_id != "~":
            first = self._run((dag_id, run_id)).id - 1
            last = first + 1
        else:
            first, last = self._range(params)
        each = len(TASKS)
        return self._computed(
            "task_instances", first * each, last * each, params, lambda n: self._shape("task")(*self._task_of(n))
        )

    def _range(self, params: Params) -> tuple[int, int]:
        """The runs of a window, from the first to before the last: both times grow with the number."""
        first, last = 0, self._runs_there
        for name, later in (("run_after", timedelta(0)), ("updated_at", ENDS_AFTER)):
            if lower := params.get(f"{name}_gte"):
                first = max(first, -((self._first + later - datetime.fromisoformat(lower)) // self._step))
            if upper := params.get(f"{name}_lte"):
                last = min(last, (datetime.fromisoformat(upper) - later - self._first) // self._step + 1)
        return first, max(first, last)

    def _computed(self, name: str, first: int, last: int, params: Params, shape: Shape) -> Reply:
        total, limit = last - first, min(int(params.get("limit", 50)), self.cap)
        counted: dict[str, int | None] = {
            "total_entries": min(total, self.counted_up_to),
            "total_entries_limit": self.counted_up_to,
        }
        if "cursor" not in params:
            start = first + int(params.get("offset", 0))
            counted = {"total_entries": total, "total_entries_limit": None}
        else:
            start = int(params["cursor"]) if params["cursor"] else first
        end = min(start + limit, last)
        return Reply(
            {
                name: [shape(number) for number in range(start, end)],
                "next_cursor": str(end) if "cursor" in params and end < last else None,
                "previous_cursor": None,
                **counted,
            }
        )
