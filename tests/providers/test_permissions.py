"""A missing permission is told in Airflow's words, with what the account needs for it."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from windsock.errors import ProviderHTTPError
from windsock.providers.airflow.permissions import permission_hint
from windsock.providers.scopes import RunRange, RunRequest, SingleRun

if TYPE_CHECKING:
    from providers.conftest import Lab
    from windsock.providers.airflow import Airflow

START = datetime(2026, 11, 23, tzinfo=UTC)
REQUEST = RunRequest(pipeline_external_id="d", external_id="ours", conf={}, logical_date=None, note="")


async def runs(airflow: "Airflow") -> Any:
    return [page async for page in airflow.runs(RunRange(START, None))]


async def task_runs(airflow: "Airflow") -> Any:
    return [page async for page in airflow.task_runs(SingleRun("d", "r"))]


OPERATIONS: dict[str, tuple[Any, str]] = {
    "pipelines": (lambda airflow: airflow.list_pipelines(), "To read DAGs the account needs"),
    "runs": (runs, "can read on DAGs, can read on DAG Runs (role Viewer)"),
    "task runs": (task_runs, "can read on DAG Runs, can read on Task Instances (role Viewer)"),
    "task graph": (lambda airflow: airflow.task_graph("d"), "To read the tasks of a DAG"),
    "one run": (lambda airflow: airflow.run("d", "r"), "can read on DAG Runs"),
    "trigger": (
        lambda airflow: airflow.trigger(REQUEST, may_exist=False),
        "can edit on DAGs and can create on DAG Runs (role User)",
    ),
}


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("api", ["v1", "v2"])
def test_refusal_reports_airflow_message_and_missing_permission(lab: "Lab", api: str, operation: str) -> None:
    use, permission = OPERATIONS[operation]
    body = {"detail": "Forbidden"} if api == "v2" else {"title": "Forbidden", "status": 403}
    with pytest.raises(ProviderHTTPError, match="with 403: Forbidden") as caught:
        lab.against(lambda _: lab.Reply(body, status=403), use, api)
    assert permission in " ".join(caught.value.hints)
    if operation == "trigger" or api == "v2":
        assert permission in caught.value.hints[0], "the first is stored with a sync, and relayed with a trigger"


@pytest.mark.parametrize(
    ("method", "path", "message"),
    [
        ("GET", "/api/v2/eventLogs", "Audit Logs"),
        ("GET", "/api/v1/importErrors", "ImportError"),
        ("GET", "/api/v2/dags/d/details", "can read on DAGs (role Viewer)"),
        ("GET", "/api/v2/monitor/health", None),
        ("GET", "/api/v2/version", None),
        ("POST", "/auth/token", None),
    ],
)
def test_permission_hint_matches_operation(method: str, path: str, message: str | None) -> None:
    hint = permission_hint(method, path)
    assert (hint is None) if message is None else (message in (hint or ""))
