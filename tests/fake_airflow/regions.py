"""What Airflow 3.4 has besides: regions of loops and of mapped tasks, iterations, and the fields that tell of them.

As measured on 3.4.0b2: the expansion of a mapped task is a region from its placeholder on, a loop is one with the
iteration as index. A gate that succeeds begins the next iteration. Whoever clears a gate takes away the later ones;
they come anew in another region, while those before keep theirs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from uuid import UUID

from fake_airflow.rows import Dag, Run, Task

if TYPE_CHECKING:
    from fake_airflow.model import Model

ITERATIONS = 3
GATE = "gate"
LOOP = "repeat"
LOOPED = {"repeat.choose": ["repeat.work"], "repeat.work": ["repeat.gate"], "repeat.gate": []}
"""The tasks of a DAG that is a loop around a mapped task."""


class Regions:
    """Which regions there are in the runs of `model`."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._of_loop: dict[tuple[int, str], str] = {}
        self.cleared: set[tuple[str, str]] = set()
        """Runs of which something in a loop was cleared, or that began anew under their id: in other regions."""

    def instances(self, run: Run, dag: Dag) -> Iterator[Task]:
        """Of a run that begins: the tasks without a loop, and the first iteration of each loop."""
        if (run.dag_id, run.run_id) in self._model.dropped:
            self.cleared.add((run.dag_id, run.run_id))
        for task_id in dag.tasks:
            loop = loop_of(task_id, dag) if self._model.has_regions else None
            yield self._instance(run, dag, task_id, (loop, 0) if loop else None)

    def next_iteration(self, run: Run, dag: Dag, gate: Task) -> Iterator[Task]:
        """What stands behind a gate that has succeeded."""
        if gate.loop is None or not is_gate(gate) or gate.loop[1] + 1 >= ITERATIONS:
            return
        loop, iteration = gate.loop
        for task_id in dag.tasks:
            if loop_of(task_id, dag) == loop:
                yield self._instance(run, dag, task_id, (loop, iteration + 1))

    def others(self, first: Task) -> Iterator[Task]:
        """The instances of a mapped task behind the one that its placeholder has become."""
        for index in (1, 2):
            task = self._plain(first.dag_id, first.run_id, first.task_id)
            task.region_id, task.loop = first.region_id, first.loop
            task.become(index)
            yield task

    def clear(self, task: Task) -> None:
        """Later iterations than that of a gate go without a trace in any list, and those to come have a new region."""
        if task.loop is None:
            return
        model, key, (loop, iteration) = self._model, (task.dag_id, task.run_id), task.loop
        self.cleared.add(key)
        if not is_gate(task):
            return
        for other in model.tasks_of(key):
            if other.loop and other.loop[0] == loop and other.loop[1] > iteration:
                del model.tasks[other.key]
        self._of_loop[model.runs[key].id, loop] = self._new()

    def _instance(self, run: Run, dag: Dag, task_id: str, loop: tuple[str, int] | None) -> Task:
        if not self._model.has_regions:
            return self._plain(run.dag_id, run.run_id, task_id)
        if task_id in dag.mapped:
            region_id, region_index = self._new(), -1
        elif loop is not None:
            region_id, region_index = self._of_loop.setdefault((run.id, loop[0]), self._new()), loop[1]
        else:
            region_id, region_index = "", -1
        task = self._plain(run.dag_id, run.run_id, task_id)
        task.region_id, task.region_index, task.loop = region_id, region_index, loop
        return task

    def _plain(self, dag_id: str, run_id: str, task_id: str) -> Task:
        return Task(self._model._id(), dag_id, run_id, task_id, -1, updated_at=self._model._now())

    def _new(self) -> str:
        return str(UUID(int=0x01A2_2600 << 96 | self._model._id()))


def loop_of(task_id: str, dag: Dag) -> str | None:
    group, dot, _ = task_id.rpartition(".")
    return group if dot and group in dag.loops else None


def is_gate(task: Task) -> bool:
    return task.loop is not None and task.task_id == f"{task.loop[0]}.{GATE}"


def added(kind: str, row: Any) -> dict[str, Any]:
    """The fields of 3.4 that 3.3.2 does not have."""
    if kind == "dag":
        state = "paused" if row.is_paused else "draining" if row.is_draining else "active"
        return {"scheduling_state": state}
    if kind == "run":
        return {"team_name": None}
    region = {"region_id": row.region_id, "region_index": row.region_index} if row.region_id else {}
    loop = None if row.loop is None else {"loop_id": row.loop[0], "iteration": row.loop[1]}
    return {**region, "in_loop": loop is not None, "loop_iteration": loop, "team_name": None, "state_reason": None}
