"""The grid of tasks by runs of a pipeline: which task fails when."""

from dataclasses import dataclass

from markupsafe import Markup, escape

from windsock.db.database import Row
from windsock.pipelines.task_history import TaskHistory, TaskState

MAX_TASKS = 200


@dataclass(frozen=True, slots=True)
class TaskRow:
    """`cells` are those of the grid's runs, oldest first."""

    name: str
    failed: int
    cells: Markup


@dataclass(frozen=True, slots=True)
class TaskGrid:
    """`runs` oldest first. `hidden`: tasks beyond MAX_TASKS, none of which failed more often than those shown."""

    runs: list[Row]
    rows: list[TaskRow]
    hidden: int


def build_task_grid(history: TaskHistory) -> TaskGrid:
    """Runs whose task runs were not read, because there are too many, have no column."""
    runs = [run for run in reversed(history.runs) if run["id"] in history.states]
    tasks, failures = history.tasks(), _count_failures(history)
    shown = set(sorted(tasks, key=lambda task: -failures.get(task, 0))[:MAX_TASKS])
    rows = [TaskRow(task, failures.get(task, 0), _cells(task, runs, history)) for task in tasks if task in shown]
    return TaskGrid(runs, rows, len(tasks) - len(rows))


def _count_failures(history: TaskHistory) -> dict[str, int]:
    failures: dict[str, int] = {}
    for states in history.states.values():
        for task, state in states.items():
            if state.status == "failed":
                failures[task] = failures.get(task, 0) + 1
    return failures


def _cells(task: str, runs: list[Row], history: TaskHistory) -> Markup:
    """Not in the template: there are up to 6,000 of them."""
    return Markup("".join(_cell(history.states[run["id"]].get(task)) for run in runs))  # noqa: S704 - escaped below


def _cell(state: TaskState | None) -> str:
    if state is None:
        return "<td></td>"
    status = escape(state.status)
    text = escape(state.status.replace("_", " ") + (f", {state.total} instances" if state.total > 1 else ""))
    return f'<td title="{text}"><span class="cell {status}"><span class="hidden">{text}</span></span></td>'
