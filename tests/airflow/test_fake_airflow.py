"""The double answers as real Airflows do: the same requests give the same keys, types, statuses and orders."""

from datetime import timedelta
from typing import Any

import pytest

from airflow.harness import quiet
from airflow_lab import AirflowLab
from fake_airflow.api import Api
from fake_airflow.model import Model
from fake_airflow.regions import LOOPED

PATHS: dict[str, list[tuple[str, dict[str, str]]]] = {
    "v2": [
        ("/dags", {"exclude_stale": "false", "order_by": "dag_id", "limit": "100", "offset": "0"}),
        ("/importErrors", {"limit": "1"}),
        ("/dags/~/dagRuns", {"order_by": "id", "limit": "3", "cursor": ""}),
        ("/dags/~/dagRuns", {"order_by": "id", "limit": "3", "offset": "1"}),
        ("/dags/~/dagRuns", {"limit": "0", "order_by": "id"}),
        ("/dags/~/dagRuns/~/taskInstances", {"order_by": "id", "limit": "3", "cursor": ""}),
        ("/dags/~/dagRuns/~/taskInstances", {"limit": "0", "order_by": "id"}),
        ("/dags/newsletter/dagRuns", {"order_by": "id"}),
        ("/dags/newsletter/tasks", {}),
        ("/eventLogs", {"order_by": "-event_log_id", "limit": "3", "offset": "0", "after": "2026-01-01T00:00:00Z"}),
        ("/dags/nope", {}),
        ("/dags/nope/dagRuns", {}),
        ("/dags/newsletter/dagRuns/nope", {}),
        ("/dags/newsletter/dagRuns/nope/taskInstances", {}),
        ("/dags/~/dagRuns", {"cursor": "garbage"}),
    ],
    "v1": [
        ("/dags", {"only_active": "false", "order_by": "dag_id", "limit": "100", "offset": "0"}),
        ("/importErrors", {"limit": "1"}),
        ("/dags/~/dagRuns", {"order_by": "id", "limit": "3", "offset": "1"}),
        ("/dags/~/dagRuns", {"limit": "0"}),
        ("/dags/~/dagRuns/~/taskInstances", {"limit": "1"}),
        ("/dags/newsletter/tasks", {}),
        ("/eventLogs", {"order_by": "-event_log_id", "limit": "3", "offset": "0", "after": "2026-01-01T00:00:00Z"}),
        ("/dags/newsletter/dagRuns/nope", {}),
        ("/dags/nope", {}),
        ("/dags/~/dagRuns", {"unheard_of": "1"}),
    ],
}
OURS_ALONE = {"tasks", "next_dagrun", "import_errors"}
"""Lists of which the double shows less than there is; what is read of them is compared by the tests of the mirror."""


LOOPS = [
    ("/dags", {"exclude_stale": "false", "order_by": "dag_id", "limit": "100", "offset": "0"}),
    ("/dags/~/dagRuns", {"order_by": "id", "limit": "3", "cursor": ""}),
    ("/dags/stock_batches/dagRuns/~/taskInstances", {"order_by": "id", "limit": "9", "cursor": ""}),
    ("/dags/stock_batches/dagRuns/nope/taskInstances", {}),
]


def make_fake_airflow(api: str) -> Api:
    model = Model(api)
    model.add_dag("newsletter", {"collect": ["send"], "send": []})
    for number in range(4):
        run = model.start_run("newsletter", at=model.now() - timedelta(hours=number))
        for _ in range(9):
            model.step(("newsletter", run.run_id))
    model.note_run(("newsletter", run.run_id), "noted")
    return Api(model)


def a_double_with_loops() -> Api:
    model = Model("v2", has_regions=True)
    model.add_dag("stock_batches", LOOPED, mapped=frozenset({"repeat.work"}), loops=frozenset({"repeat"}))
    run = model.start_run("stock_batches")
    for _ in range(60):
        model.step(("stock_batches", run.run_id))
    return Api(model)


def test_fake_airflow_responds_like_airflow(airflow: AirflowLab) -> None:
    for _ in range(4):
        airflow.trigger("newsletter")
    quiet(airflow)
    api = "v2" if airflow.major == "3" else "v1"
    _assert_same_responses(airflow, make_fake_airflow(api), PATHS[api])


def test_fake_airflow_responds_like_airflow_with_loops(airflow34: AirflowLab) -> None:
    airflow34.trigger("stock_batches")
    airflow34.wait_quiet()
    _assert_same_responses(airflow34, a_double_with_loops(), LOOPS)


def _assert_same_responses(airflow: AirflowLab, fake: Api, paths: list[tuple[str, dict[str, str]]]) -> None:
    api = fake.model.api
    headers = {"authorization": "Bearer token.0" if api == "v2" else "Basic YTpi"}
    for path, params in paths:
        real = airflow._request("GET", path, params=params)
        mine = fake.handle("GET", f"/api/{api}{path}", params, headers)
        request_text = f"{path} {params}"
        assert mine.status == real.status_code, request_text
        assert mine.content_type == real.headers["content-type"].partition(";")[0], request_text
        assert isinstance(mine.body, dict)
        theirs = real.json()
        assert mine.body.keys() == theirs.keys(), request_text
        for name, value in theirs.items():
            if isinstance(value, list) and name not in OURS_ALONE and value:
                _same_rows(value, mine.body[name], f"{request_text}: {name}")


def _same_rows(real: list[Any], mine: list[Any], where: str) -> None:
    if isinstance(real[0], dict) and mine:
        # Those of a region are left out of some rows.
        keys = [set().union(*rows) for rows in (mine, real)]
        assert keys[0] == keys[1], f"{where}: {keys[0] ^ keys[1]}"
        for field, value in mine[0].items():
            kinds = {type(row.get(field)) for row in real} | {type(None)}
            if kinds == {type(None)}:  # none of the real rows has one to compare with
                continue
            assert type(value) in kinds or (isinstance(value, int | float) and kinds & {int, float}), f"{where}.{field}"


@pytest.mark.parametrize("path", ["/dags/~/dagRuns", "/dags/~/dagRuns/~/taskInstances"])
def test_rows_are_listed_in_order_of_id(airflow3: AirflowLab, path: str) -> None:
    """What the double assumes of the order, and of a row that was not touched: it keeps its place."""
    for _ in range(3):
        airflow3.trigger("newsletter")
    quiet(airflow3)
    name = "dag_runs" if path.endswith("dagRuns") else "task_instances"
    whole = airflow3.api("GET", path, params={"order_by": "id", "limit": 100})[name]
    cursor, paged = "", []
    while cursor is not None:
        page = airflow3.api("GET", path, params={"order_by": "id", "limit": 7, "cursor": cursor})
        paged += page[name]
        cursor = page["next_cursor"]
    key = ("dag_id", "dag_run_id", *(("task_id", "map_index") if name == "task_instances" else ()))
    assert [[row[k] for k in key] for row in paged[:100]] == [[row[k] for k in key] for row in whole]
