"""What can happen in an Airflow, by a word and a number that says to which of its things."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from fake_airflow.delayed_actions import delete_run_later, note_run_later
from fake_airflow.model import Model
from fake_airflow.regions import LOOP, LOOPED, is_gate

DAGS = ("bills", "ledger", "mapped", "news", "reports", "stock", "refined")
MAPPED = {"mapped": frozenset({"load"}), "refined": frozenset({"repeat.work"})}
TAGS: tuple[list[str], ...] = ([], ["prod"], ["test"], ["prod", "daily"])
EVENTS = dict(
    zip(
        "abcdefghijklmnopqrstuvwx",
        ("add", "start", "again", "lose", "delete dag", "own", "pause", "clear", "mark", "note", "delete run",
         "clear task", "mark task", "note task", "delete task", "return", "move", "reset",
         "retag", "reschedule", "note later", "delete run later", "drain", "clear loop"),
        strict=True,
    )
)  # fmt: skip


def pick(things: dict[Any, Any], number: int) -> Any:
    """One of them, None where there are none."""
    return list(things)[number % len(things)] if things else None


def apply_action(model: Model, what: str, number: int) -> None:  # noqa: C901, PLR0912, PLR0915 - a table of events
    """One change, of whatever there is to change."""
    dag_id, run, task = (pick(kind, number) for kind in (model.dags, model.runs, model.tasks))
    name = DAGS[number % len(DAGS)]
    match what:
        case "add":
            loops = frozenset({LOOP}) if name == "refined" else frozenset[str]()
            model.add_dag(name, dict(LOOPED) if loops else None, mapped=MAPPED.get(name, frozenset()), loops=loops)
        case "start" if dag_id is not None:
            model.start_run(dag_id, at=model._now() - timedelta(minutes=number % 5000))
        case "again" if run is not None and (run[0] in model.dags):  # the run id is used again
            at = model.runs[run].run_after
            model.delete_run(run)
            model.start_run(*run, at=at)
        case "move" if run is not None and (run[0] in model.dags):  # the run id is used again, for another time
            model.delete_run(run)
            model.start_run(*run, at=model._now() - timedelta(minutes=number % 5000))
        case "reset" if dag_id is not None:  # deleted, and made anew from its file: how people reset a DAG
            dag = model.dags[dag_id]
            model.delete_dag(dag_id)
            model.add_dag(dag_id, dag.tasks, mapped=dag.mapped, loops=dag.loops)
        case "retag" if dag_id is not None:
            model.retag(dag_id, TAGS[number % len(TAGS)])
        case "reschedule" if dag_id is not None:
            model.reschedule(dag_id, (None, "@daily", "0 6 * * *")[number % 3], f"described {number % 4}")
        case "return" if model.dropped:  # once more, long after it was deleted
            back = pick(model.dropped, number)
            if back[0] in model.dags and back not in model.runs:
                model.start_run(*back, at=model.dropped[back])
        case "lose" if dag_id is not None:
            model.lose_file(dag_id)
        case "delete dag" if dag_id is not None and len(model.dags) > 1:
            model.delete_dag(dag_id)
        case "own" if dag_id is not None:
            model.rename_owner(dag_id, [f"team {number % 3}", "airflow"])
        case "pause" if dag_id is not None:
            model.pause(dag_id, is_paused=bool(number % 2))
        case "drain" if dag_id is not None and model.has_regions:
            model.drain(dag_id)
        case "clear loop" if gates := {key: item for key, item in model.tasks.items() if is_gate(item)}:
            model.clear_task(pick(gates, number))
        case "clear" if run is not None:
            model.clear_run(run)
        case "mark" if run is not None:
            model.mark_run(run, "failed")
        case "note" if run is not None:
            model.note_run(run, f"note {number % 7}")
        case "delete run" if run is not None:
            model.delete_run(run)
        case "note later" if run is not None:  # later than its entry in the log
            note_run_later(model, run, f"note {number % 7}", 1 + number % 15)
        case "delete run later" if run is not None:
            delete_run_later(model, run, 1 + number % 15)
        case "clear task" if task is not None:
            model.clear_task(task)
        case "mark task" if task is not None:
            model.mark_task(task, "success")
        case "note task" if task is not None:
            model.note_task(task, f"note {number % 7}")
        case "delete task" if task is not None:
            model.delete_task(task)
        case "step" if run is not None:
            for _ in range(1 + number % 4):
                model.step(run, fails=number % 5 == 0)
