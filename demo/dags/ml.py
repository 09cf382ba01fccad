"""The models: eight mapped folds, mapped regions of which one fails, and a training that takes minutes."""

from __future__ import annotations

import random
import time
from datetime import datetime, timezone

try:  # Airflow 3
    from airflow.sdk import dag, task
except ImportError:  # Airflow 2
    from airflow.decorators import dag, task

START = datetime(2026, 1, 1, tzinfo=timezone.utc)  # noqa: UP017 - older Airflows run on Pythons without datetime.UTC


@dag(
    schedule="0 3 * * 0",
    start_date=START,
    catchup=False,
    tags=["ml", "churn"],
    default_args={"owner": "ml-team"},
    description="Trains the churn model on eight folds and keeps the best.",
)
def churn_training():
    @task
    def make_folds():
        return list(range(8))

    @task
    def train_fold(fold):
        time.sleep(random.uniform(0.1, 0.5))
        return {"fold": fold, "score": 0.7 + fold / 100}

    @task
    def keep_best(results):
        print(max(results, key=lambda result: result["score"]))

    keep_best(train_fold.expand(fold=make_folds()))


@dag(
    schedule=None,
    start_date=START,
    catchup=False,
    tags=["ml", "churn", "scoring"],
    default_args={"owner": "ml-team"},
    description="Scores customers by region. One region always fails; the run still succeeds, as its last task does.",
)
def churn_scoring():
    @task
    def list_regions():
        return ["north", "east", "south", "west"]

    @task
    def score_region(region):
        if region == "south":
            raise LookupError("No features for region 'south': its table is empty since the migration.")
        return region

    @task(trigger_rule="all_done")
    def report():
        print("Reported, with or without every region.")

    score_region.expand(region=list_regions()) >> report()


@dag(
    schedule=None,
    start_date=START,
    catchup=False,
    tags=["ml", "slow"],
    default_args={"owner": "ml-team"},
    description="Trains the large model: four minutes of sleep, to have something that runs.",
)
def nightly_training():
    @task
    def prepare():
        return 240

    @task
    def train_large_model(seconds):
        for _ in range(seconds):
            time.sleep(1)

    train_large_model(prepare())


churn_training()
churn_scoring()
nightly_training()
