"""The addresses of Airflow's own pages, correctly quoted."""

import pytest

from windsock.providers.airflow import pipeline_url, run_url, task_run_url

WEB = "https://airflow.example.com/team/"
RUN = "manual__2026-11-23T14:32:22+00:00"
QUOTED = "manual__2026-11-23T14%3A32%3A22%2B00%3A00"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (pipeline_url(WEB, "v1", "a b/ü"), "/dags/a%20b%2F%C3%BC/grid"),
        (run_url(WEB, "v1", "d", RUN), f"/dags/d/grid?dag_run_id={QUOTED}"),
        (task_run_url(WEB, "v1", "d", RUN, "g.t"), f"/dags/d/grid?dag_run_id={QUOTED}&task_id=g.t"),
        (task_run_url(WEB, "v1", "d", "r", "t&x", 0), "/dags/d/grid?dag_run_id=r&task_id=t%26x&map_index=0"),
        (pipeline_url(WEB, "v2", "d?#"), "/dags/d%3F%23"),
        (run_url(WEB, "v2", "d", RUN), f"/dags/d/runs/{QUOTED}"),
        (task_run_url(WEB, "v2", "d", "r", "g.t"), "/dags/d/runs/r/tasks/g.t"),
        (task_run_url(WEB, "v2", "d", "r", "t", 3), "/dags/d/runs/r/tasks/t/mapped/3"),
        (run_url(WEB, "v2", "d", "2026/11/23;x=%2F"), "/dags/d/runs/2026%2F11%2F23%3Bx%3D%252F"),
        (run_url(WEB, "v1", "d", "../x"), "/dags/d/grid?dag_run_id=..%2Fx"),
        (run_url(WEB, "v2", "d", ".."), "/dags/d"),
        (task_run_url(WEB, "v2", "d", "..", "t", 3), "/dags/d"),
        (task_run_url(WEB, "v2", "d", "r", "."), "/dags/d/runs/r"),
        (
            task_run_url(WEB, "v2", "d", "r", "g.t", region_id="a-b", region_index=2),
            "/dags/d/runs/r/tasks/g.t?region_id=a-b&region_index=2",
        ),
        (
            task_run_url(WEB, "v2", "d", "r", "g.t", 1, region_id="a-b", region_index=1),
            "/dags/d/runs/r/tasks/g.t/mapped/1?region_id=a-b&region_index=1",
        ),
    ],
)
def test_airflow_ui_urls_are_quoted(url: str, expected: str) -> None:
    assert url == "https://airflow.example.com/team" + expected
