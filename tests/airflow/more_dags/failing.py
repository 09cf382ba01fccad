"""Forty DAGs whose task `work` fails in a known way, the same for Airflow 2 and 3.

A run chooses by its conf: `fault` is "first" or "second", two faults that a person would tell apart; `number` varies
what differs from run to run of the same fault (ids, addresses, paths).
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import time
import uuid
from datetime import timedelta
from pathlib import Path
from urllib.error import HTTPError

IS_AIRFLOW_2 = False
LOST = Path(os.environ.get("AIRFLOW_HOME", ".")) / "lost"
"""Has a file, named by its run, for each task of which the machine is lost; the test takes it away."""

try:  # Airflow 3
    from airflow.providers.standard.operators.bash import BashOperator
    from airflow.sdk import dag, get_current_context, task, task_group
    from airflow.sdk.exceptions import AirflowException
except ImportError:  # Airflow 2
    from airflow.decorators import dag, task, task_group
    from airflow.exceptions import AirflowException
    from airflow.operators.bash import BashOperator
    from airflow.operators.python import get_current_context

    IS_AIRFLOW_2 = True


class OrderRejected(Exception):
    """The own exception of a pipeline."""


class StockUnknown(Exception):
    """Another own exception."""


class ReportFailed(Exception):
    """Raised from another exception."""


def own_exception(fault, number):
    if fault == "first":
        raise OrderRejected(f"order {number} of customer {uuid.UUID(int=number)} was rejected")
    raise StockUnknown(f"article {number} has no stock in warehouse {number % 7}")


def chained(fault, number):
    try:
        if fault == "first":
            {}[f"rate_{number}"]
        else:
            int(f"{number}x")
    except (KeyError, ValueError) as cause:
        raise ReportFailed(f"report {number} could not be made") from cause


def sql_error(fault, number):
    database = sqlite3.connect(":memory:")
    database.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, total REAL NOT NULL)")
    if fault == "first":
        for _ in range(2):
            database.execute("INSERT INTO orders VALUES (?, 1)", [number])
    else:
        database.execute(f"SELECT total FROM invoices WHERE id = {number}")


def http_error(fault, number):
    address = f"http://api-{number % 5}.internal:8080/orders/{number}?token={uuid.uuid4()}"
    if fault == "first":
        raise HTTPError(address, 503, "Service Unavailable", None, None)
    raise HTTPError(address, 404, "Not Found", None, None)


def timeout(fault, number):
    if fault == "first":
        time.sleep(60)  # longer than execution_timeout
    raise TimeoutError(f"no answer from 10.0.{number % 250}.17:5432 within {number % 60} s")


def killed(fault, number):
    if fault == "first":
        os.kill(os.getpid(), signal.SIGKILL)
    raise MemoryError(f"cannot allocate {number} bytes")


def zombie(fault, _number):
    """The machine of the task is lost: Airflow hears nothing more of it. Or the interpreter crashes."""
    supervisor = os.getppid()
    if fault == "second":
        if not IS_AIRFLOW_2:  # its reader of DAG files leaves a handler that goes on
            signal.signal(signal.SIGSEGV, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGSEGV)
    if IS_AIRFLOW_2:  # its executor notices a supervisor that ends
        os.kill(supervisor, signal.SIGSTOP)
    marker = LOST / get_current_context()["run_id"]
    LOST.mkdir(exist_ok=True)
    marker.touch()
    while IS_AIRFLOW_2 and marker.exists():
        time.sleep(0.5)
    os.kill(supervisor, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


def import_error(fault, _number):
    if fault == "first":
        import pandas_of_another_team
    from json import parse_everything


def pod(fault, number):
    name = f"load-{number:x}-{random.choice('abcdef')}{number % 1000}"
    if fault == "first":
        raise AirflowException(f"Pod {name} returned a failure.\nremote_pod: {name}, exit code 137, reason OOMKilled")
    raise AirflowException(f"Pod {name} returned a failure.\nremote_pod: {name}, exit code 2, reason Error")


def deep(function, levels):
    """The function called through some frames of this file."""
    if levels == 0:
        return function

    def call(fault, number):
        return function(fault, number)

    return deep(call, levels - 1)


BASH = """
echo "loading part {{ dag_run.conf['number'] }}"
{% if dag_run.conf['fault'] == 'first' %}
echo "ERROR: disk quota of /data/{{ dag_run.conf['number'] }} exceeded" >&2; exit 1
{% else %}echo "psql: error: connection to server at 10.1.{{ dag_run.conf['number'] }}.4 failed" >&2; exit 1{% endif %}
"""


def conf():
    values = get_current_context()["dag_run"].conf or {}
    return values.get("fault", "first"), int(values.get("number", 1))


def python_dag(kind, place, function, **options):
    @dag(dag_id=f"fails_{kind}_{place}", schedule=None, catchup=False, tags=["fails", kind])
    def failing():
        @task(**options)
        def work():
            deep(function, place)(*conf())

        work()

    failing()


def mapped_dag(kind, place, function):
    @dag(dag_id=f"fails_{kind}_{place}", schedule=None, catchup=False, tags=["fails", kind])
    def failing():
        @task
        def work(part):
            if part == 2:
                deep(function, place)(*conf())

        work.expand(part=[1, 2, 3])

    failing()


def group_dag(kind, place, function):
    @dag(dag_id=f"fails_{kind}_{place}", schedule=None, catchup=False, tags=["fails", kind])
    def failing():
        @task_group
        def load():
            @task
            def work():
                deep(function, place)(*conf())

            work()

        load()

    failing()


def bash_dag(kind, place):
    @dag(dag_id=f"fails_{kind}_{place}", schedule=None, catchup=False, tags=["fails", kind])
    def failing():
        BashOperator(task_id="work", bash_command=BASH)

    failing()


PYTHON = {
    "own_exception": (own_exception, 3),
    "chained": (chained, 3),
    "sql_error": (sql_error, 4),
    "http_error": (http_error, 4),
    "import_error": (import_error, 3),
    "killed": (killed, 3),
    "zombie": (zombie, 2),
    "pod": (pod, 4),
}
for kind_, (function_, count_) in PYTHON.items():
    for place_ in range(count_):
        python_dag(kind_, place_, function_)
for place_ in range(3):
    python_dag("timeout", place_, timeout, execution_timeout=timedelta(seconds=2))
    mapped_dag("mapped", place_, own_exception)
    group_dag("group", place_, sql_error)
for place_ in range(3):
    bash_dag("bash", place_)
for place_ in range(2):
    python_dag("retried", place_, own_exception, retries=1, retry_delay=timedelta(seconds=1))
