"""The same requests straight at Airflow, to compare what it says with what Windsock relays."""

from collections.abc import Iterator
from typing import Any

import httpx2

from airflow_lab import AirflowLab


def ask_airflow(lab: AirflowLab, dag_id: str, body: Any, user: str = "admin") -> httpx2.Response:
    """The same trigger straight at Airflow."""
    more = {"logical_date": None} if lab.major == "3" else {}
    return request_airflow(lab, "POST", f"/dags/{dag_id}/dagRuns", more | body, user)


def request_airflow(lab: AirflowLab, method: str, path: str, body: Any, user: str = "admin") -> httpx2.Response:
    with httpx2.Client(base_url=lab.url, timeout=30, trust_env=False) as client:
        if lab.major == "2":
            return client.request(method, f"/api/v1{path}", json=body, auth=(user, user))
        token = client.post("/auth/token", json={"username": user, "password": user}).json()["access_token"]
        return client.request(method, f"/api/v2{path}", json=body, headers={"Authorization": f"Bearer {token}"})


def words_of(body: Any) -> Iterator[str]:
    """Every text in Airflow's answer, its line breaks as blanks."""
    if isinstance(body, dict | list):
        for inner in body.values() if isinstance(body, dict) else body:
            yield from words_of(inner)
    elif isinstance(body, str):
        yield " ".join(body.split())


def assert_relayed(ours: httpx2.Response, theirs: httpx2.Response) -> None:
    assert theirs.status_code >= 400
    assert ours.status_code == theirs.status_code, (ours.text, theirs.text)
    assert ours.headers["X-Provider"] == "airflow"
    assert ours.json()["detail"] in set(words_of(theirs.json())), (ours.text, theirs.text)


def runs_of(lab: AirflowLab, dag_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while True:
        page = lab.api("GET", f"/dags/{dag_id}/dagRuns", params={"limit": 100, "offset": len(found)})
        found += page["dag_runs"]
        if not page["dag_runs"] or len(found) >= page["total_entries"]:
            return [run for run in found if run["dag_run_id"].startswith("windsock__")]
