"""A DAG whose task fails at its first try and succeeds at the next: after a clear."""

from datetime import datetime, timezone

try:  # Airflow 3
    from airflow.sdk import dag, get_current_context, task
except ImportError:  # Airflow 2
    from airflow.decorators import dag, task
    from airflow.operators.python import get_current_context


class RatesUnavailable(Exception):
    pass


@dag(schedule=None, start_date=datetime(2026, 1, 1, tzinfo=timezone.utc), catchup=False)  # noqa: UP017
def rates_import():
    @task
    def fetch_rates():
        print("Fetching the rates of 3 currencies")
        if get_current_context()["ti"].try_number == 1:
            raise RatesUnavailable("the rates service answered 503 Service Unavailable for EUR/USD")

    @task
    def store_rates():
        print("Stored.")

    fetch_rates() >> store_rates()


rates_import()
