"""The test of a connection asks what a sync asks, and says which list fails and which permission it takes."""

import asyncio
from typing import TYPE_CHECKING

import pytest

from providers.diagnosis_helpers import airflow_of, diagnosing, trying
from windsock import egress
from windsock.providers.airflow import AirflowConfig, Diagnosis, TokenCache, diagnose

if TYPE_CHECKING:
    from providers.conftest import Lab, Reply, Request, Script

FORBIDDEN = {"v1": {"title": "Forbidden", "detail": "Forbidden"}, "v2": {"detail": "Forbidden"}}


def forbidding(lab: "Lab", api: str, *parts: str) -> "Script":
    """An Airflow with three DAGs that answers 403 to every path that ends with one of the `parts`."""
    good = airflow_of(lab, api)

    def script(request: "Request") -> "Reply":
        if request.path.endswith(parts):
            return lab.Reply(FORBIDDEN[api], status=403)
        return good(request)

    return script


@pytest.mark.parametrize("api", ["v1", "v2"])
@pytest.mark.parametrize(
    ("part", "what", "permission"),
    [
        ("/dagRuns", "DAG runs cannot be read", "can read on DAG Runs (role Viewer)"),
        ("/taskInstances", "task instances cannot be read", "can read on Task Instances (role Viewer)"),
    ],
)
def test_refused_list_fails_connection_test_and_names_permission(
    lab: "Lab", api: str, part: str, what: str, permission: str
) -> None:
    """Before, the test said Connected, and every sync failed."""
    found, paths = diagnosing(lab, forbidding(lab, api, part))
    assert not found.success
    assert f"the account sees 3 DAGs, but {what}: " in found.message
    assert "403: Forbidden" in found.message
    assert permission in " ".join(found.hints)
    assert f"GET /api/{api}/dags/dag-00000{'/dagRuns' if part == '/dagRuns' else '/dagRuns/~/taskInstances'}" in paths


@pytest.mark.parametrize("api", ["v1", "v2"])
@pytest.mark.parametrize("parts", [("~/dagRuns",), ("~/dagRuns/~/taskInstances",), ("~/dagRuns", "~/taskInstances")])
def test_account_with_rights_on_single_dags_passes_connection_test(
    lab: "Lab", api: str, parts: tuple[str, ...]
) -> None:
    def script(request: "Request") -> "Reply":
        if "/dags/~/" in request.path and request.path.endswith(parts):
            return lab.Reply(FORBIDDEN[api], status=403)
        return airflow_of(lab, api)(request)

    found, _ = diagnosing(lab, script)
    assert found.success
    assert found.message.endswith("the account sees 3 DAGs and may read runs DAG by DAG only.")
    assert "about 6 requests" in found.hints[0]


@pytest.mark.parametrize("api", ["v1", "v2"])
@pytest.mark.parametrize(
    ("part", "message", "permission"),
    [
        ("/eventLogs", "audit log cannot be read", "can read on Audit Logs (role Admin"),
        ("/importErrors", "Import errors cannot be read", "can read on ImportError"),
    ],
)
def test_refused_optional_list_is_reported_as_hint(
    lab: "Lab", api: str, part: str, message: str, permission: str
) -> None:
    found, _ = diagnosing(lab, forbidding(lab, api, part))
    assert found.success
    hint = next(hint for hint in found.hints if message in hint)
    assert permission in hint


@pytest.mark.parametrize("status", [500, 502, 504])
def test_failing_list_fails_connection_test(lab: "Lab", status: int) -> None:
    found, _ = diagnosing(lab, airflow_of(lab, "v2", taskInstances=lab.Reply({"detail": "x"}, status=status)))
    assert not found.success
    assert "task instances cannot be read: Airflow answered" in found.message
    assert str(status) in found.message


def test_connection_test_caches_token_for_next_sync(lab: "Lab") -> None:
    tokens, scripted = TokenCache(), lab.Server(airflow_of(lab, "v2"))
    tokens.put("c", "of-yesterday")

    async def run() -> Diagnosis:
        async with scripted.serving():
            config, policy = AirflowConfig(base_url=scripted.base_url), egress.Policy.of(loopback=True)
            return await diagnose(config, lab.credentials("password"), policy=policy, tokens=tokens, key="c")

    assert asyncio.run(run()).success
    assert tokens.get("c") == "jwt"


@pytest.mark.parametrize("kind", ["password", "api_token", "none"])
def test_connection_test_reports_address_forbidden_by_egress_policy(lab: "Lab", kind: str) -> None:
    config = AirflowConfig(base_url="http://169.254.169.254")
    found = asyncio.run(trying(config, lab.credentials(kind)))
    assert found.message == (
        "GET /api/v2/version was not sent: the egress policy of this Windsock does not allow connections to "
        "169.254.0.0/16 (WINDSOCK_EGRESS_ALLOW)."
    )
    assert not found.success
