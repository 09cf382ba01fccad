"""The machinery: data that triggers data, a sensor, a heartbeat every few minutes, and something switched off."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone

try:  # Airflow 3
    from airflow.providers.standard.operators.empty import EmptyOperator
    from airflow.sdk import Asset, dag, task
except ImportError:  # Airflow 2
    from airflow.datasets import Dataset as Asset
    from airflow.decorators import dag, task
    from airflow.operators.empty import EmptyOperator

START = datetime(2026, 1, 1, tzinfo=timezone.utc)  # noqa: UP017 - older Airflows run on Pythons without datetime.UTC
ORDERS = Asset("demo://warehouse/orders")


@dag(
    schedule=None,
    start_date=START,
    catchup=False,
    tags=["ops", "orders"],
    default_args={"owner": "data-platform"},
    description="Loads the shop's orders into the warehouse. The dashboard runs whenever it has.",
)
def orders_load():
    @task(outlets=[ORDERS])
    def load_orders():
        time.sleep(0.3)

    EmptyOperator(task_id="start") >> load_orders()


@dag(
    schedule=[ORDERS],
    start_date=START,
    catchup=False,
    tags=["ops", "orders", "dashboard"],
    default_args={"owner": "analytics"},
    description="Rebuilds the orders dashboard, triggered by its data and not by the clock.",
)
def orders_dashboard():
    @task
    def rebuild():
        time.sleep(0.2)

    rebuild()


@dag(
    schedule=None,
    start_date=START,
    catchup=False,
    tags=["ops", "files"],
    default_args={"owner": "data-platform"},
    description="Waits for a supplier's file without holding a worker, then imports it.",
)
def supplier_file():
    @task.sensor(poke_interval=3, timeout=120, mode="reschedule")
    def wait_for_file(dag_run=None):
        return datetime.now(dag_run.start_date.tzinfo) - dag_run.start_date > timedelta(seconds=4)

    @task
    def import_file():
        time.sleep(0.2)

    wait_for_file() >> import_file()


@dag(
    schedule="*/3 * * * *",
    start_date=START,
    catchup=False,
    max_active_runs=1,
    tags=["ops", "heartbeat"],
    default_args={"owner": "ops"},
    description="Every three minutes: proves that the scheduler lives.",
)
def heartbeat():
    @task
    def beat():
        print("Alive.")

    beat()


@dag(
    schedule="0 1 * * *",
    start_date=START,
    catchup=False,
    is_paused_upon_creation=True,
    tags=["ops", "backup", "legacy"],
    default_args={"owner": "ops"},
    description="The old backup, switched off since the new one runs elsewhere.",
)
def legacy_backup():
    EmptyOperator(task_id="dump") >> EmptyOperator(task_id="upload")


orders_load()
orders_dashboard()
supplier_file()
heartbeat()
legacy_backup()
