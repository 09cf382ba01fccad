"""A DAG that waits for a person twice: for an approval, and for a choice with a value. Only Airflow 3 has these."""

from datetime import datetime, timedelta, timezone

from airflow.providers.standard.operators.hitl import ApprovalOperator, HITLOperator
from airflow.sdk import Param, dag, task


@dag(schedule=None, start_date=datetime(2026, 1, 1, tzinfo=timezone.utc), catchup=False)  # noqa: UP017
def payment():
    approve = ApprovalOperator(task_id="approve", subject="Pay 1,000 EUR?", body="To the supplier **Acme**.")
    choose = HITLOperator(
        task_id="choose",
        subject="From which account?",
        options=["DE-44", "DE-45"],
        params={"days": Param(3, type="integer", minimum=1)},
    )

    @task(retries=2, retry_delay=timedelta(seconds=1))
    def pay(response):
        print("Paid from", response)

    approve >> choose
    pay(choose.output)


payment()
