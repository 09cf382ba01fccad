"""What the sample DAGs are called, and a good first set of runs of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from airflow_lab import AirflowLab

LONG_RUNNING: Final = frozenset({"nightly_training"})  # sleeps for minutes
PAUSED: Final = frozenset({"legacy_backup"})
BROKEN_FILES: Final = frozenset({"vendor_feed.py"})  # the only import error

# How often seed_runs triggers each DAG; it is triggered in any case by hand, whatever its schedule.
SEEDS: Final[dict[str, int]] = {
    "ledger_close": 3,
    "invoice_export": 3,
    "exchange_rates": 2,
    "newsletter": 2,
    "web_sessions": 1,
    "churn_training": 1,
    "churn_scoring": 2,
    "orders_load": 2,  # and by its data orders_dashboard
    "supplier_file": 1,
    "heartbeat": 1,
    "nightly_training": 1,
}
CAMPAIGNS: Final[tuple[dict[str, Any], ...]] = (
    {"campaign": "spring-sale"},
    {"campaign": "new-shop", "country": "FR", "days": 30, "send_mail": True, "cost_centre": "4711"},
)

EXPECTED_DAGS: Final = frozenset(SEEDS) | PAUSED | {"campaign_report", "orders_dashboard"}


def seed_runs(lab: AirflowLab, *, long_running: bool = True) -> list[tuple[str, str]]:
    """Trigger every DAG that is not paused one to three times; (dag_id, run_id) of each.

    The long-running one stays running for four minutes; wait_quiet() does not wait for it.
    """
    runs = [("campaign_report", lab.trigger("campaign_report", conf)) for conf in CAMPAIGNS]
    # Round by round and not DAG by DAG, so that the first finished runs show some of everything.
    for round_ in range(max(SEEDS.values())):
        for dag_id, times in SEEDS.items():
            if round_ < times and (long_running or dag_id not in LONG_RUNNING):
                runs.append((dag_id, lab.trigger(dag_id)))
    return runs
