"""Testing a connection: what is wrong, in a sentence, and what to try."""

import asyncio
import ssl
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from providers.diagnosis_helpers import HTML, airflow_of, diagnosing, trying
from windsock.errors import ProviderBadResponse
from windsock.providers.airflow import AirflowConfig, Diagnosis

if TYPE_CHECKING:
    from providers.conftest import Lab, Reply, Request
    from windsock.providers.airflow import Airflow


@pytest.mark.parametrize(("api", "version", "requests"), [("v2", "3.3.2", 7), ("v1", "2.11.2", 8)])
def test_successful_connection_reports_version_and_dag_count(lab: "Lab", api: str, version: str, requests: int) -> None:
    found, paths = diagnosing(lab, airflow_of(lab, api))
    assert (found.success, found.provider_version, found.api_version) == (True, version, api)
    assert found.message == f"Connected to Airflow {version}; the account sees 3 DAGs."
    assert (found.hints, len(paths)) == ([], requests)
    assert found.latency_ms > 0


def test_password_is_exchanged_for_token_by_connection_test(lab: "Lab") -> None:
    found, paths = diagnosing(lab, airflow_of(lab, "v2"), "password")
    assert found.success
    assert paths[:2] == ["GET /api/v2/version", "POST /auth/token"]


def test_unhealthy_scheduler_is_reported_as_hint(lab: "Lab") -> None:
    health = lab.sample("v2_health")
    health["scheduler"]["status"] = "unhealthy"
    found, _ = diagnosing(lab, airflow_of(lab, "v2", health=lab.Reply(health)))
    assert found.success
    assert found.hints == ["Airflow says that its scheduler is unhealthy: runs that are triggered stay queued."]
    found, _ = diagnosing(lab, airflow_of(lab, "v2", health=lab.Reply({}, status=500)))
    assert found.success
    assert "health" in found.hints[0]


def test_account_without_visible_dags_is_reported_as_hint(lab: "Lab") -> None:
    found, _ = diagnosing(lab, airflow_of(lab, "v1", dags=lab.Reply({"dags": [], "total_entries": 0})))
    assert found.success
    assert "0 DAGs" in found.message
    assert "permission" in found.hints[0]


@pytest.mark.parametrize(
    ("api", "reply", "message", "hint"),
    [
        ("v1", (403, {"title": "Forbidden"}), "GET /api/v1/dags with 403: Forbidden", "basic_auth"),
        ("v1", (401, {"title": "Unauthorized"}), "with 401", "username and password"),
        ("v2", (401, {"detail": "Token Expired"}), "401: Token Expired", "expired"),
        ("v2", (403, {"detail": "Invalid JWT token"}), "403: Invalid JWT token", "another Airflow"),
        ("v2", (403, {"detail": "Forbidden"}), "403: Forbidden", "permission"),
        ("v2", (500, {"detail": "x"}), "with 500", ""),
        ("v2", (200, {"dags": []}), "does not say how many dags", ""),
    ],
)
def test_refusal_reports_detected_version(
    lab: "Lab", api: str, reply: tuple[int, Any], message: str, hint: str
) -> None:
    found, _ = diagnosing(lab, airflow_of(lab, api, dags=lab.Reply(reply[1], status=reply[0])))
    assert (found.success, found.api_version) == (False, api)
    assert message in found.message
    assert hint in " ".join(found.hints)


@pytest.mark.parametrize(("forced", "api", "version"), [("v1", "v2", "3.3.2"), ("v2", "v1", "2.11.2")])
def test_wrong_api_version_is_reported(lab: "Lab", forced: str, api: str, version: str) -> None:
    found, _ = diagnosing(lab, airflow_of(lab, api), api_version=forced)
    assert found.message == f"This is Airflow {version}, which has /api/{api} and no /api/{forced}."
    assert found.hints == [f"Set api_version to auto or {api}."]


@pytest.mark.parametrize("version", ["2.5.3", "1.10.15", "2.0.0rc1"])
@pytest.mark.parametrize("forced", ["auto", "v1"])
def test_too_old_airflow_is_refused(lab: "Lab", version: str, forced: str) -> None:
    reply = lab.Reply({"version": version})
    found, _ = diagnosing(lab, airflow_of(lab, "v1", version=reply), api_version=forced)
    assert found.message == f"This is Airflow {version}; Windsock needs 2.6 or newer."


def test_oldest_supported_airflow_is_accepted(lab: "Lab") -> None:
    assert diagnosing(lab, airflow_of(lab, "v1", version=lab.Reply({"version": "2.6.0+composer"})))[0].success


@pytest.mark.parametrize("body", [{}, [], {"version": 3}, {"version": "main"}, "x"])
def test_other_product_is_distinguished_from_airflow(lab: "Lab", body: object) -> None:
    found, _ = diagnosing(lab, lambda _: lab.Reply(body))
    assert not found.success
    assert "Another program" in found.hints[0]


def test_wrong_path_is_reported(lab: "Lab") -> None:
    def script(_: "Request") -> "Reply":
        return lab.Reply(HTML, status=404, content_type="text/html")

    found, paths = diagnosing(lab, script, path="/wrong")
    assert "404" in found.message
    assert "path of base_url" in found.hints[0]
    assert paths == ["GET /wrong/api/v2/version", "GET /wrong/api/v1/version"]


def test_login_page_in_front_of_airflow_is_reported(lab: "Lab") -> None:
    for reply in (
        lab.Reply(HTML, content_type="text/html"),
        lab.Reply(b"", status=302, headers={"Location": "/oauth2/start"}),
        lab.Reply(HTML, status=403, content_type="text/html"),
    ):
        found, _ = diagnosing(lab, lambda _, reply=reply: reply)  # type: ignore[misc]
        assert "sign in" in found.hints[-1]


def test_hanging_or_failing_server_is_reported(lab: "Lab") -> None:
    found, _ = diagnosing(lab, lambda _: lab.Reply({}, delay=3), timeout_seconds=1)
    assert "within 1 s" in found.message
    assert "timeout_seconds" in found.hints[0]
    found, paths = diagnosing(lab, lambda _: lab.Reply({}, status=503))
    assert "503" in found.message
    assert len(paths) == 1


def failing_with(error: Exception, lab: "Lab") -> Diagnosis:
    def handler(_: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("could not") from error

    config = AirflowConfig(base_url="https://airflow.example.com")
    return asyncio.run(trying(config, lab.credentials(), transport=httpx2.MockTransport(handler)))


def test_tls_and_connection_errors_are_reported(lab: "Lab") -> None:
    untrusted = ssl.SSLCertVerificationError(1, "self-signed")
    untrusted.verify_message = "self-signed certificate"
    assert "verify_tls" in failing_with(untrusted, lab).hints[0]
    assert "http://" in failing_with(ssl.SSLError(1, "wrong version number"), lab).hints[0]
    assert "dropped" in failing_with(OSError(113, "no route"), lab).message
    assert "refused" in failing_with(ConnectionRefusedError(111, "x"), lab).message


def test_unknown_host_is_reported(lab: "Lab") -> None:
    found = asyncio.run(trying(AirflowConfig(base_url="http://airflow.invalid"), lab.credentials()))
    assert not found.success
    assert "host" in found.hints[0]


@pytest.mark.parametrize("api", ["v1", "v2"])
def test_version_is_detected_once_and_only_if_not_configured(lab: "Lab", api: str) -> None:
    async def twice(airflow: "Airflow") -> int:
        await airflow.list_pipelines()
        await airflow.list_pipelines()
        return airflow.requests

    replies = {"importErrors": lab.Reply({"import_errors": [], "total_entries": 0})}
    requests, _ = lab.against(airflow_of(lab, api, **replies), twice, None)
    assert requests == 4 + (1 if api == "v2" else 2)
    requests, _ = lab.against(airflow_of(lab, api, **replies), twice, api)
    assert requests == 4


def test_error_during_version_detection_is_raised_unchanged(lab: "Lab") -> None:
    async def identify(airflow: "Airflow") -> object:
        return await airflow.detect_version()

    with pytest.raises(ProviderBadResponse, match="404"):
        lab.against(lambda _: lab.Reply(HTML, status=404, content_type="text/html"), identify, api_version=None)
