"""The books: a close that works, a bank that refuses an account, and a rate feed that needs a second chance."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone

try:  # Airflow 3
    from airflow.sdk import dag, task
except ImportError:  # Airflow 2
    from airflow.decorators import dag, task

START = datetime(2026, 1, 1, tzinfo=timezone.utc)  # noqa: UP017 - older Airflows run on Pythons without datetime.UTC


class BankRefused(Exception):
    pass


@dag(
    schedule="0 6 * * *",
    start_date=START,
    catchup=False,
    tags=["finance", "daily", "gold"],
    default_args={"owner": "finance"},
    description="Closes yesterday's books and posts the balance to the warehouse.",
    doc_md="### Ledger close\nReads every booking of the day, checks that both sides agree and posts the balance.",
)
def ledger_close():
    @task
    def read_bookings():
        time.sleep(0.3)
        return [120, -45, -75]

    @task
    def check_balance(bookings):
        total = sum(bookings)
        if total != 0:
            raise ValueError(f"The books do not balance: {total} left over.")
        return len(bookings)

    @task
    def post_balance(count):
        time.sleep(0.2)
        print(f"Posted {count} bookings.")

    post_balance(check_balance(read_bookings()))


@dag(
    schedule=None,
    start_date=START,
    catchup=False,
    tags=["finance", "bank"],
    default_args={"owner": "finance"},
    description="Sends the day's invoices to the bank. Fails unless conf names an account that is open: DE-45.",
)
def invoice_export():
    @task
    def collect_invoices():
        return ["INV-1041", "INV-1042", "INV-1043"]

    @task
    def send_to_bank(invoices, dag_run=None):
        account = (dag_run.conf or {}).get("account", "DE-44")
        if account == "DE-44":
            raise BankRefused(f"The bank refused {len(invoices)} invoices: account DE-44 is closed (code 403).")
        return f"{len(invoices)} invoices accepted for {account}"

    @task
    def archive(receipt):
        print(receipt)

    @task
    def confirm():
        print("Reached only when the bank has accepted.")

    archive(send_to_bank(collect_invoices())) >> confirm()


@dag(
    schedule="30 5 * * 1-5",
    start_date=START,
    catchup=False,
    tags=["finance", "rates"],
    default_args={"owner": "treasury"},
    description="Fetches exchange rates from a feed that answers at the third try only.",
)
def exchange_rates():
    @task(retries=3, retry_delay=timedelta(seconds=2))
    def fetch_rates(ti=None):
        if ti.try_number < 3:
            raise TimeoutError(f"The rate feed did not answer (try {ti.try_number}).")
        return {"EUR/USD": 1.09, "EUR/GBP": 0.85}

    @task
    def store_rates(rates):
        print(f"Stored {len(rates)} rates.")

    store_rates(fetch_rates())


ledger_close()
invoice_export()
exchange_rates()
