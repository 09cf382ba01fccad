"""What people do whose entry in the log is committed first, and only then what it tells of, as Airflow does it."""

from __future__ import annotations

from fake_airflow.model import Model
from fake_airflow.rows import RunKey


def note_run_later(model: Model, key: RunKey, note: str, seconds: float) -> None:
    _act_later(model, "patch_dag_run" if model.api == "v2" else "set_dag_run_note", key, seconds, note=note)


def delete_run_later(model: Model, key: RunKey, seconds: float) -> None:
    _act_later(model, "delete_dag_run", key, seconds)


def _act_later(model: Model, event: str, key: RunKey, seconds: float, note: str | None = None) -> None:
    run = model.runs[key]

    def act() -> None:
        if model.runs.get(key) is not run:  # deleted meanwhile, maybe started again
            return
        if note is None:
            model._drop_run(key)
        else:
            run.note = note

    model._log(event, *key)
    model.commit_later(seconds, act)
