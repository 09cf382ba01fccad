"""The campaigns: a branch that skips, a report with parameters, and nested task groups of two owners."""

# ruff: noqa: AIR311 - Airflow 2 has Param where Airflow 3 no longer wants it

from __future__ import annotations

import time
from datetime import datetime, timezone

try:  # Airflow 3
    from airflow.sdk import Param, dag, task, task_group
except ImportError:  # Airflow 2
    from airflow.decorators import dag, task, task_group
    from airflow.models.param import Param

START = datetime(2026, 1, 1, tzinfo=timezone.utc)  # noqa: UP017 - older Airflows run on Pythons without datetime.UTC


@dag(
    schedule="@weekly",
    start_date=START,
    catchup=False,
    tags=["marketing", "mail"],
    default_args={"owner": "marketing"},
    description="Sends the newsletter to subscribers; the branch for a holiday week is skipped.",
)
def newsletter():
    @task
    def count_subscribers():
        return 4211

    @task.branch
    def choose_edition(subscribers):
        return "send_edition" if subscribers > 0 else "hold_back"

    @task
    def send_edition():
        time.sleep(0.3)

    @task
    def hold_back():
        print("Nobody to write to.")

    @task
    def tell_support():
        print("Skipped with its branch.")

    @task(trigger_rule="none_failed_min_one_success")
    def write_summary():
        print("Done.")

    send, hold = send_edition(), hold_back()
    choose_edition(count_subscribers()) >> [send, hold]
    hold >> tell_support()
    [send, hold] >> write_summary()


@dag(
    schedule=None,
    start_date=START,
    catchup=False,
    tags=["marketing", "report", "on-demand"],
    default_args={"owner": "marketing"},
    description="A campaign's numbers for one country. Triggered by hand, with parameters.",
    params={
        "campaign": Param(type="string", minLength=3, maxLength=40, description="The campaign's short name. Required."),
        "country": Param("DE", type="string", enum=["DE", "FR", "GB", "US"], title="Country"),
        "days": Param(7, type="integer", minimum=1, maximum=90, description="How many days back to look."),
        "send_mail": Param(False, type="boolean", title="Mail the result"),  # noqa: FBT003 - a parameter's default
        "cost_centre": Param(None, type=["null", "string"], pattern="^[0-9]{4}$", description="Four digits, or none."),
    },
)
def campaign_report():
    @task
    def read_clicks(params=None):
        return params["days"] * 100

    @task
    def render_report(clicks, params=None):
        print(f"{params['campaign']} in {params['country']}: {clicks} clicks.")

    render_report(read_clicks())


@dag(
    schedule="15 */4 * * *",
    start_date=START,
    catchup=False,
    tags=["marketing", "web", "gold"],
    default_args={"owner": "marketing"},
    description="Turns web events into sessions. Marketing owns the reports, the data platform owns the loading.",
)
def web_sessions():
    @task(owner="data-platform")
    def load(source):
        time.sleep(0.2)
        return source

    @task
    def enrich(source):
        return source

    @task
    def publish():
        print("Sessions are ready.")

    @task_group
    def europe():
        @task_group
        def shops():
            enrich(load("shops-eu"))

        @task_group
        def apps():
            enrich(load("apps-eu"))

        shops() >> apps()

    @task_group
    def america():
        enrich(load("shops-us"))

    [europe(), america()] >> publish()


newsletter()
campaign_report()
web_sessions()
