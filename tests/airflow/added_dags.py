"""DAGs that some tests add to the running Airflow and delete again: other tests compare all DAGs and runs."""

from __future__ import annotations

import shutil
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from airflow_lab import AirflowLab

MORE_DAGS: Final = Path(__file__).parent / "more_dags"
SECONDS = 180


@contextmanager
def added_dags(airflow: AirflowLab, file_name: str, dag_ids: Collection[str]) -> Iterator[None]:
    """`dag_ids`: those that the file of `more_dags` declares."""
    place = airflow.dags / file_name
    shutil.copy(MORE_DAGS / file_name, place)
    try:
        _wait(lambda: _listed(airflow, dag_ids) == set(dag_ids))
        yield
    finally:
        place.unlink()
        _wait(lambda: not _delete(airflow, dag_ids))


def _listed(airflow: AirflowLab, dag_ids: Collection[str]) -> set[str]:
    found = airflow.api("GET", "/dags", params={"limit": 100})["dags"]
    return {dag["dag_id"] for dag in found}.intersection(dag_ids)


def _delete(airflow: AirflowLab, dag_ids: Collection[str]) -> set[str]:
    """Those that were there: a file that is being parsed may bring some back."""
    found = _listed(airflow, dag_ids)
    for dag_id in found:
        airflow.api("DELETE", f"/dags/{dag_id}")
    return found


def _wait(is_done: Callable[[], bool]) -> None:
    until = time.monotonic() + SECONDS
    while not is_done():
        assert time.monotonic() < until
        time.sleep(1)
