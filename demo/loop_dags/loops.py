"""Loops of Airflow 3.4: until a condition holds, around mapped tasks, with a retry; and mapped tasks without one."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import ExceptionRetryPolicy, LoopDecision, RetryAction, RetryRule, dag, task, task_group

OUT_OF_STOCK = ExceptionRetryPolicy(
    rules=[RetryRule(exception=ValueError, action=RetryAction.RETRY, retry_delay=timedelta(seconds=1), reason="busy")]
)
NO_HOPE = ExceptionRetryPolicy(rules=[RetryRule(exception=ValueError, action=RetryAction.FAIL, reason="no such shop")])


@dag(schedule=None, catchup=False)
def price_search():
    @task_group
    def halve():
        @task
        def compute(*, loop):
            return 8 if loop.index == 0 else loop.previous // 2

        @task
        def check(price):
            return price

        check(compute())

    def low_enough(*, loop):
        return LoopDecision(stop=loop.result < 3, reason=f"{loop.result} is asked for")

    @task
    def publish():
        print("published")

    halve.loop(max_iterations=6, until=low_enough) >> publish()


@dag(schedule=None, catchup=False)
def stock_batches():
    @task_group
    def batch():
        @task
        def choose(*, loop):
            return [1, 2] if loop.index == 0 else [1, 2, 3]

        @task(map_index_template="{{ 'shelf ' ~ task.op_kwargs['number'] }}")
        def count(number, *, loop):
            return number + loop.index

        count.expand(number=choose())

    batch.loop(max_iterations=2)


@dag(schedule=None, catchup=False, default_args={"retry_delay": timedelta(seconds=1)})
def shop_calls():
    """The delay is that of failures without a rule, as of a conf that is too deep for a task: else five minutes."""

    @task_group
    def calls():
        @task(retries=1, retry_policy=OUT_OF_STOCK)
        def call(*, loop, ti=None):
            if loop.index == 1 and ti.try_number == 1:
                raise ValueError("busy")
            return loop.index

        call()

    @task(retries=3, retry_policy=NO_HOPE)
    def visit():
        raise ValueError("there is no such shop")

    calls.loop(max_iterations=2)
    visit()


@dag(schedule=None, catchup=False)
def shelves():
    """Fewer of them after a clear, and some of those that were none."""

    @task
    def known(ti=None):
        return list(range(3 if ti.try_number == 1 else 1))

    @task
    def new(ti=None):
        return list(range(0 if ti.try_number == 1 else 2))

    @task
    def count(number):
        return number

    @task
    def label(number):
        return number

    count.expand(number=known())
    label.expand(number=new())


price_search()
stock_batches()
shop_calls()
shelves()
