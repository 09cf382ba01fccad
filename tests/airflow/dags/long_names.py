"""DAGs of Chinese ids, with display names of 1,000 Chinese characters; on Airflow 3.4 also one with a loop.

No task returns anything: what a task returns is an XCom, which Airflow 3 cannot store of a run with a `/` in its id.
"""

from __future__ import annotations

import random

try:  # Airflow 3
    from airflow.sdk import dag, task, task_group
except ImportError:  # Airflow 2
    from airflow.decorators import dag, task, task_group
try:
    from airflow.sdk import LoopDecision
except ImportError:  # before 3.4
    LoopDecision = None


def display_name(seed):
    """Text that cannot be compressed, the same at every parse."""
    chooser = random.Random(seed)  # noqa: S311 - repeatable on purpose
    return "".join(chr(chooser.randrange(0x4E00, 0x9FA0)) for _ in range(1000))


@dag(dag_id="目録", dag_display_name=display_name(1), schedule=None, catchup=False, tags=["図書館"])
def catalogue():
    @task(task_id="棚", task_display_name=display_name(2))
    def count(shelf):
        print(shelf)

    @task(task_display_name=display_name(3), trigger_rule="all_done")
    def report():
        print("counted")

    count.expand(shelf=[1, 2]) >> report()


@dag(dag_id="反復", dag_display_name=display_name(4), schedule=None, catchup=False)
def repetition():
    @task_group
    def rounds():
        @task(task_display_name=display_name(5))
        def check(number):
            print(number)

        check.expand(number=[1, 2])

    def twice(*, loop):
        return LoopDecision(stop=loop.index >= 1, reason="that was the second round")

    rounds.loop(max_iterations=4, until=twice)


catalogue()
if LoopDecision is not None:
    repetition()
