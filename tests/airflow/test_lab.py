"""The lab itself: what the other tests here rely on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from airflow.extremes import CATALOGUE
from sample_runs import BROKEN_FILES, EXPECTED_DAGS, PAUSED

if TYPE_CHECKING:
    from airflow_lab import AirflowLab


def test_lab_contains_sample_dags_and_broken_files(airflow: AirflowLab) -> None:
    dags = airflow.api("GET", "/dags")["dags"]
    errors = airflow.api("GET", "/importErrors")["import_errors"]
    assert {dag["dag_id"] for dag in dags} == EXPECTED_DAGS | {CATALOGUE}
    # Other tests pause the one with a schedule of minutes, so that nothing moves while they compare.
    assert {dag["dag_id"] for dag in dags if dag["is_paused"]} - {"heartbeat"} == PAUSED
    assert [Path(error["filename"]).name for error in errors] == sorted(BROKEN_FILES)
    assert airflow.version.startswith(f"{airflow.major}.")
