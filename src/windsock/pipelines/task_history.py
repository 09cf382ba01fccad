"""The tasks of a pipeline: their graph, and their states in its newest runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson

from windsock.auth.authenticator import Space
from windsock.db.database import Reader, Row, Statement
from windsock.db.queries import load

QUERIES = load(__package__, "task_history.sql")

MAX_RUNS, MAX_TASK_RUNS = 30, 20_000
WORST_FIRST = (
    *("failed", "upstream_failed", "up_for_retry", "restarting", "running", "queued", "scheduled", "deferred"),
    *("up_for_reschedule", "success", "skipped", "removed"),
)


@dataclass(frozen=True, slots=True)
class TaskState:
    """Of all instances of a task in a run: the worst state, and how many there are."""

    status: str
    total: int


@dataclass(frozen=True, slots=True)
class TaskHistory:
    """`runs` newest first; `states` by run id and task. `successors` is empty while the graph is unknown."""

    runs: Sequence[Row]
    states: Mapping[UUID, Mapping[str, TaskState]]
    successors: Mapping[str, Sequence[str]]
    depths: Mapping[str, int]

    def tasks(self) -> list[str]:
        """In the order of the graph; tasks that it lacks come last."""
        found = {task for states in self.states.values() for task in states} | self.successors.keys()
        return sorted(found, key=lambda task: (self.depths.get(task, len(self.depths)), task))

    def newest(self) -> Mapping[str, TaskState]:
        return self.states.get(self.runs[0]["id"], {}) if self.runs else {}


async def get_task_history(reader: Reader, space: Space, pipeline_id: UUID) -> TaskHistory:
    which = {"space_id": space.id, "pipeline_id": pipeline_id, "runs": MAX_RUNS, "task_runs": MAX_TASK_RUNS}
    runs, counts, graphs = await reader.fetch_batch(
        *(Statement(QUERIES[name], which) for name in ("list_newest_runs", "count_task_states", "get_task_graph"))
    )
    states: dict[UUID, dict[str, TaskState]] = {}
    for row in sorted(counts, key=lambda row: _severity(row["status"])):
        of_run = states.setdefault(row["run_id"], {})
        worse = of_run.get(row["external_id"])
        total = row["total"] + (worse.total if worse else 0)
        of_run[row["external_id"]] = TaskState(worse.status if worse else row["status"], total)
    graph: dict[str, Any] = graphs[0] if graphs else {"task_successors": b"{}", "task_depths": b"{}"}
    return TaskHistory(runs, states, orjson.loads(graph["task_successors"]), orjson.loads(graph["task_depths"]))


def _severity(status: str) -> int:
    return WORST_FIRST.index(status) if status in WORST_FIRST else len(WORST_FIRST)
