"""Four DAGs whose task fails at its first try and succeeds at the next: after a clear."""

from datetime import datetime, timezone

try:  # Airflow 3
    from airflow.sdk import dag, get_current_context, task
except ImportError:  # Airflow 2
    from airflow.decorators import dag, task
    from airflow.operators.python import get_current_context


class SourceUnavailable(Exception):
    pass


def failing_dag(name):
    @dag(dag_id=name, schedule=None, start_date=datetime(2026, 1, 1, tzinfo=timezone.utc), catchup=False)  # noqa: UP017
    def load():
        @task
        def read_source():
            if get_current_context()["ti"].try_number == 1:
                raise SourceUnavailable(f"the source of {name} does not answer")

        read_source()

    load()


for name_ in ("load_customers", "load_orders", "load_rates", "load_stock"):
    failing_dag(name_)
