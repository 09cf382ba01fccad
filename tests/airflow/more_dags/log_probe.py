"""A task that writes a line each second, to be followed: `lines` in the run's conf, or 5."""

import time
from datetime import datetime, timezone

try:  # Airflow 3
    from airflow.sdk import dag, get_current_context, task
except ImportError:  # Airflow 2
    from airflow.decorators import dag, task
    from airflow.operators.python import get_current_context


@dag(schedule=None, start_date=datetime(2026, 1, 1, tzinfo=timezone.utc), catchup=False)  # noqa: UP017
def log_probe():
    @task
    def count():
        conf = get_current_context()["dag_run"].conf or {}
        for number in range(conf.get("lines", 5)):
            print(f"counted {number}", flush=True)
            time.sleep(1)

    count()


log_probe()
