"""Amazon MWAA, on documented exchanges: the real botocore asks a loopback socket, the web server is a double."""

import logging
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import parse_qs

import httpx2
import pytest

from windsock import log
from windsock.errors import (
    ProviderBadResponse,
    ProviderFailed,
    ProviderHTTPError,
    ProviderRejectedCredentials,
    ProviderTimedOut,
    ProviderUnreachable,
)
from windsock.providers.airflow import mwaa, optional_deps

if TYPE_CHECKING:
    from providers.conftest import Lab
    from providers.managed.conftest import Cloud
    from windsock.providers.airflow import Airflow

KEYS = {"access_key_id": "AKIAEXAMPLEEXAMPLE01", "secret_access_key": "planted-secret-key-9911"}
SECRETS = (KEYS["secret_access_key"], "planted-session-token-8822", "planted-web-token-4711", "planted-session-")
LOGINS = {"v1": "/aws_mwaa/login", "v2": "/pluginsv2/aws_mwaa/login"}


def credentials(**more: Any) -> dict[str, Any]:
    return {"auth_type": "mwaa", "environment_name": "prod", "region": "eu-west-1", **KEYS, **more}


def without_keys() -> dict[str, Any]:
    return {"auth_type": "mwaa", "environment_name": "prod", "region": "eu-west-1"}


async def one_run(airflow: "Airflow") -> Any:
    return await airflow.run("d", "r")


class WebServer:
    """Of an environment with 2.x or 3.x: lets in who brings the session that it gave last."""

    def __init__(self, cloud: "Cloud", version: Literal["v1", "v2"], refusal: tuple[int, str] = (401, "no")) -> None:
        self.logins, self.version, self.is_open = 0, version, True
        self._cloud = cloud
        self._airflow = cloud.airflow(self._is_let_in, "3.3.2" if version == "v2" else "2.11.2", refusal)

    def _is_let_in(self, request: httpx2.Request) -> bool:
        is_bearer = request.headers.get("authorization") == "Bearer planted-session-3x-5151"
        is_cookie = request.headers.get("cookie") == "session=planted-session-2x-5150"
        return self.is_open and (is_bearer if self.version == "v2" else is_cookie)

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        if request.url.path == LOGINS[self.version] and request.method == "POST":
            assert parse_qs(request.content.decode()) == {"token": ["planted-web-token-4711"]}
            self.logins += 1
            return self._cloud.page(f"mwaa_login_{self.version}")
        if "aws_mwaa" in request.url.path:
            return httpx2.Response(404, html="<html>nothing here</html>")
        return self._airflow(request)


@pytest.fixture
def aws(cloud: "Cloud") -> "Cloud":
    cloud.responses = ["aws_web_login_token"]
    return cloud


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_web_login_token_is_exchanged_for_session(aws: "Cloud", version: Literal["v1", "v2"]) -> None:
    aws.web = WebServer(aws, version)
    assert aws.use(credentials, one_run, aws.MWAA_URL, version) is None
    assert aws.api.paths == ["POST /webtoken/prod"]
    signed = aws.api.requests[0].headers["authorization"]
    assert signed.startswith(f"AWS4-HMAC-SHA256 Credential={KEYS['access_key_id']}/")
    assert "/eu-west-1/airflow/aws4_request" in signed
    assert aws.paths == [f"POST {LOGINS[version]}", f"GET /api/{version}/dags/d/dagRuns/r"]


def test_temporary_keys_are_sent_with_session_token(aws: "Cloud") -> None:
    aws.web = WebServer(aws, "v2")
    aws.use(lambda: credentials(session_token="planted-session-token-8822"), one_run, aws.MWAA_URL)
    assert aws.api.requests[0].headers["x-amz-security-token"] == "planted-session-token-8822"


@pytest.mark.parametrize(("version", "number"), [("v1", "2.11.2"), ("v2", "3.3.2")])
def test_airflow_version_of_environment_is_detected_by_login_endpoint(
    aws: "Cloud", version: Literal["v1", "v2"], number: str
) -> None:
    aws.web = WebServer(aws, version)

    async def identify(airflow: "Airflow") -> Any:
        return await airflow.detect_version(), await airflow.probe_dags()

    identity, dags = aws.use(credentials, identify, aws.MWAA_URL, None)
    assert (identity.version, identity.api_version, dags.visible) == (number, version, 0)


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_provider_session_is_reused_by_next_sync(aws: "Cloud", version: Literal["v1", "v2"]) -> None:
    aws.web = WebServer(aws, version)
    for _ in range(2):
        aws.use(credentials, one_run, aws.MWAA_URL, version)
    assert (len(aws.api.requests), len(aws.requests)) == (1, 3)


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_refused_cached_session_is_renewed_once(aws: "Cloud", version: Literal["v1", "v2"], status: int) -> None:
    aws.tokens.put("c" if version == "v2" else "c:v1", "of-yesterday")
    aws.web = server = WebServer(aws, version, (status, "no"))
    aws.use(credentials, one_run, aws.MWAA_URL, version)
    assert (server.logins, len(aws.requests)) == (1, 3)


def test_missing_permission_renews_session_once_and_not_for_each_request(aws: "Cloud") -> None:
    aws.tokens.put("c", "of-yesterday")
    aws.web = server = WebServer(aws, "v2", (403, "Forbidden"))
    server.is_open = False

    async def twice(airflow: "Airflow") -> None:
        for _ in range(2):
            with pytest.raises(ProviderHTTPError, match="Forbidden") as caught:
                await airflow.run("d", "r")
            assert "airflow:CreateWebLoginToken" in caught.value.hints[0]

    aws.use(credentials, twice, aws.MWAA_URL)
    assert server.logins == 1


@pytest.mark.parametrize(
    "url",
    ["https://elsewhere.example.com", "http://0a1b2c3d-vpce.c2.airflow.eu-west-1.on.aws", "https://a.on.aws:8443"],
)
def test_web_login_token_is_not_sent_to_another_server(aws: "Cloud", url: str) -> None:
    with pytest.raises(ProviderRejectedCredentials, match="is not the web server of the MWAA environment") as caught:
        aws.use(credentials, one_run, url)
    assert caught.value.hints == (f"Set base_url to {aws.MWAA_URL}",)
    assert aws.requests == []


def test_machine_identity_without_keys_is_used_only_if_operator_allows_it(
    aws: "Cloud", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAOFTHEMACHINE0001")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "planted-secret-of-the-machine")
    aws.web = WebServer(aws, "v2")
    with pytest.raises(ProviderRejectedCredentials, match="may not sign in as the machine") as caught:
        aws.use(without_keys, one_run, aws.MWAA_URL)
    assert "WINDSOCK_MACHINE_IDENTITY" in caught.value.hints[0]
    assert (aws.api.requests, aws.requests) == ([], [])
    aws.use(without_keys, one_run, aws.MWAA_URL, as_machine=True)
    assert "Credential=AKIAOFTHEMACHINE0001/" in aws.api.requests[0].headers["authorization"]


def test_machine_without_identity_is_reported(aws: "Cloud") -> None:
    with pytest.raises(ProviderRejectedCredentials, match="default chain found no credentials"):
        aws.use(without_keys, one_run, aws.MWAA_URL, as_machine=True)


@pytest.mark.parametrize(
    ("response", "kind", "message", "hint"),
    [
        ("aws_access_denied", ProviderRejectedCredentials, "not authorized to perform", "airflow:CreateWebLoginToken"),
        ("aws_not_found", ProviderRejectedCredentials, "ResourceNotFoundException", "named prod in eu-west-1"),
        ("aws_signature", ProviderRejectedCredentials, "InvalidSignatureException", "access key"),
        ("aws_expired", ProviderRejectedCredentials, "ExpiredTokenException", "expired"),
        ("aws_internal", ProviderUnreachable, "is in trouble", "amazonaws.com"),
        ("aws_throttled", ProviderUnreachable, "asks for patience", "amazonaws.com"),
    ],
)
def test_aws_refusal_is_reported_without_secret(
    aws: "Cloud", response: str, kind: type[ProviderFailed], message: str, hint: str
) -> None:
    aws.responses = [response]
    with pytest.raises(kind, match=message) as caught:
        aws.use(lambda: credentials(session_token="planted-session-token-8822"), one_run, aws.MWAA_URL)
    assert hint in caught.value.hints[0]
    assert caught.value.is_transient is (kind is ProviderUnreachable)
    assert_no_secret(caught.value)
    assert aws.requests == []


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize(("status", "kind"), [(403, ProviderRejectedCredentials), (500, ProviderHTTPError)])
def test_login_refused_by_web_server_is_not_retried(
    aws: "Cloud", version: Literal["v1", "v2"], status: int, kind: type[ProviderFailed]
) -> None:
    aws.web = aws.refuses(status, "planted-web-token-4711")
    with pytest.raises(kind) as caught:
        aws.use(credentials, one_run, aws.MWAA_URL, version)
    assert caught.value.status == status
    assert len(aws.requests) == 1
    assert_no_secret(caught.value)


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_redirect_of_web_server_is_not_followed(aws: "Cloud", version: Literal["v1", "v2"]) -> None:
    aws.web = lambda _: httpx2.Response(302, headers={"Location": "https://elsewhere.example.com/internal"})
    with pytest.raises(ProviderFailed) as caught:
        aws.use(credentials, one_run, aws.MWAA_URL, version)
    assert [request.url.path for request in aws.requests] == [LOGINS[version]]
    assert_no_secret(caught.value)


def test_redirect_of_aws_is_not_followed(aws: "Cloud", lab: "Lab") -> None:
    aws.responses = [lab.Reply({}, status=307, headers={"Location": f"{aws.api.base_url}/internal"})]
    with pytest.raises(ProviderFailed) as caught:
        aws.use(credentials, one_run, aws.MWAA_URL)
    assert {path.rpartition("/")[2] for path in aws.api.paths} == {"prod"}
    assert aws.requests == []
    assert_no_secret(caught.value)


@pytest.mark.parametrize("status", [400, 404, 405])
def test_missing_login_endpoint_is_not_mistaken_for_missing_run(aws: "Cloud", status: int) -> None:
    aws.web = aws.refuses(status)
    with pytest.raises(ProviderBadResponse):
        aws.use(credentials, one_run, aws.MWAA_URL)


def test_login_response_without_cookie_is_bad_response(aws: "Cloud") -> None:
    aws.web = lambda _: httpx2.Response(200, html="<html>welcome</html>")
    with pytest.raises(ProviderBadResponse, match="without the cookie _token"):
        aws.use(credentials, one_run, aws.MWAA_URL)


def test_aws_response_without_token_is_bad_response(aws: "Cloud", lab: "Lab") -> None:
    aws.responses = [lab.Reply({"WebServerHostname": "a.on.aws"})]
    with pytest.raises(ProviderBadResponse, match="without a host or a token"):
        aws.use(credentials, one_run, aws.MWAA_URL)


def test_unresponsive_aws_fails_within_timeout_without_sent_request(
    aws: "Cloud", lab: "Lab", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mwaa, "CONNECT_SECONDS", 0.1)
    monkeypatch.setattr(mwaa, "READ_SECONDS", 0.1)
    monkeypatch.setattr(mwaa, "ATTEMPTS", 1)
    aws.responses = [lab.Reply({}, delay=0.8)]
    with pytest.raises(ProviderUnreachable, match="could not be reached") as caught:
        aws.use(credentials, one_run, aws.MWAA_URL)
    assert caught.value.request_sent is False
    monkeypatch.setattr(mwaa, "READ_SECONDS", 2)
    monkeypatch.setattr(optional_deps.run, "__kwdefaults__", {"seconds": 0.1})
    with pytest.raises(ProviderTimedOut, match=r"within 0\.1 s") as late:
        aws.use(credentials, one_run, aws.MWAA_URL)
    assert late.value.request_sent is False


def test_missing_library_error_names_extra_to_install(aws: "Cloud", monkeypatch: pytest.MonkeyPatch) -> None:
    def not_there(name: str) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(optional_deps, "import_module", not_there)
    with pytest.raises(ProviderFailed, match="needs boto3, which is not installed here") as caught:
        aws.use(credentials, one_run, aws.MWAA_URL)
    assert caught.value.hints[0].endswith("pip install 'windsock[mwaa]'")
    assert (caught.value.is_transient, caught.value.request_sent) == (False, False)


def test_login_secrets_are_not_logged_at_debug_level(
    aws: "Cloud", capsys: pytest.CaptureFixture[str], logging_as_before: None
) -> None:
    assert logging_as_before is None
    log.configure("json", "debug")
    logging.getLogger("windsock").debug("a line of ours")
    aws.web = WebServer(aws, "v2")
    aws.use(lambda: credentials(session_token="planted-session-token-8822"), one_run, aws.MWAA_URL)
    text = capsys.readouterr().err
    assert "a line of ours" in text
    assert not [secret for secret in SECRETS if secret in text]


def assert_no_secret(failure: BaseException) -> None:
    chain = [failure, failure.__cause__, failure.__context__]
    text = " ".join(f"{error} {error!r} {error.args} {vars(error)}" for error in chain if error is not None)
    assert not [secret for secret in SECRETS if secret in text]
