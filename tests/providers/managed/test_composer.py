"""Cloud Composer, on documented exchanges: the real google-auth asks a loopback socket for its token."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import parse_qs

import httpx2
import pytest
from google.auth import jwt

from windsock import log
from windsock.errors import ProviderFailed, ProviderHTTPError, ProviderRejectedCredentials, ProviderUnreachable
from windsock.providers.airflow import composer, optional_deps

if TYPE_CHECKING:
    from providers.conftest import Lab
    from providers.managed.conftest import Cloud
    from windsock.providers.airflow import Airflow

TOKEN = "planted-ya29-token-6066"


async def one_run(airflow: "Airflow") -> Any:
    return await airflow.run("d", "r")


def is_let_in(request: httpx2.Request) -> bool:
    return request.headers.get("authorization") == f"Bearer {TOKEN}"


@pytest.fixture
def google(cloud: "Cloud") -> "Cloud":
    cloud.responses = ["google_token"]
    cloud.web = cloud.airflow(is_let_in)
    return cloud


@pytest.fixture
def of_the_machine(google: "Cloud", monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Application default credentials: a key in a file that the environment names."""

    def credentials() -> dict[str, Any]:
        path = tmp_path / "key.json"
        path.write_text(json.dumps(google.service_account()), encoding="utf-8")
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
        return {"auth_type": "composer", "service_account": None}

    return credentials


def key_of(cloud: "Cloud", **other: Any) -> Any:
    return lambda: {"auth_type": "composer", "service_account": cloud.service_account(**other)}


@pytest.mark.parametrize(("version", "number"), [("v1", "2.10.5"), ("v2", "3.1.0")])
def test_service_account_key_is_exchanged_for_token_sent_with_request(
    google: "Cloud", version: Literal["v1", "v2"], number: str
) -> None:
    google.web = google.airflow(is_let_in, number)
    assert google.use(key_of(google), one_run, google.COMPOSER_URL, version) is None
    assert google.paths == [f"GET /api/{version}/dags/d/dagRuns/r"]
    assert google.api.paths == ["POST /token"]
    form = parse_qs(google.api.requests[0].body.decode())
    assert form["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
    claims = jwt.decode(  # type: ignore[no-untyped-call]
        form["assertion"][0], certs=google.public_key, clock_skew_in_seconds=10
    )
    assert claims["iss"] == "windsock@example.iam.gserviceaccount.com"
    assert claims["scope"] == "https://www.googleapis.com/auth/cloud-platform"


@pytest.mark.parametrize(("version", "number"), [("v1", "2.10.5"), ("v2", "3.1.0")])
def test_version_request_carries_token(google: "Cloud", version: str, number: str) -> None:
    google.web = google.airflow(is_let_in, number)
    identity = google.use(key_of(google), lambda airflow: airflow.detect_version(), google.COMPOSER_URL, None)
    assert (identity.version, identity.api_version) == (number, version)


def test_token_is_cached_until_shortly_before_expiry(google: "Cloud", monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(2):
        google.use(key_of(google), one_run, google.COMPOSER_URL)
    assert len(google.api.requests) == 1
    _, until = google.tokens._tokens["c"]
    assert until is not None
    monkeypatch.setattr("windsock.providers.airflow.tokens.time.monotonic", lambda: until)
    google.use(key_of(google), one_run, google.COMPOSER_URL)
    assert len(google.api.requests) == 2


@pytest.mark.parametrize(("seconds", "least", "most"), [(3600, 3370, 3376), (300, 148, 151), (60, 28, 31), (-5, 0, 0)])
def test_token_cache_lifetime_leaves_margin_before_expiry(seconds: int, least: float, most: float) -> None:
    expiry = datetime.now(UTC).replace(tzinfo=None) + timedelta(seconds=seconds)
    good_for = composer._good_for(expiry)
    assert good_for is not None
    assert least <= good_for <= most


def test_token_without_expiry_is_cached_until_refused() -> None:
    assert composer._good_for(None) is None


def test_refused_token_is_renewed_once(google: "Cloud") -> None:
    google.tokens.put("c", "of-yesterday")
    google.use(key_of(google), one_run, google.COMPOSER_URL)
    assert (len(google.api.requests), len(google.requests)) == (1, 2)
    google.web = google.refuses(401)
    with pytest.raises(ProviderRejectedCredentials) as caught:
        google.use(key_of(google), one_run, google.COMPOSER_URL)
    assert "Composer" in caught.value.hints[0]
    assert (len(google.api.requests), len(google.requests)) == (2, 4)


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_missing_google_permission_is_reported_with_required_permission(
    google: "Cloud", version: Literal["v1", "v2"]
) -> None:
    google.web = google.refuses(403, "Forbidden")

    async def thrice(airflow: "Airflow") -> None:
        for _ in range(3):
            with pytest.raises(ProviderHTTPError, match="Forbidden") as caught:
                await airflow.run("d", "r")
            assert "composer.environments.get" in caught.value.hints[0]

    google.use(key_of(google), thrice, google.COMPOSER_URL, version)
    assert len(google.api.requests) == 1


@pytest.mark.parametrize(
    ("response", "kind", "message", "times"),
    [
        ("google_invalid_grant", ProviderRejectedCredentials, "refused the service account: invalid_grant", 1),
        ("google_internal", ProviderUnreachable, "in trouble", 3),
    ],
)
def test_google_refusal_is_reported_by_code(
    google: "Cloud",
    monkeypatch: pytest.MonkeyPatch,
    response: str,
    kind: type[ProviderFailed],
    message: str,
    times: int,
) -> None:
    monkeypatch.setattr("google.auth._exponential_backoff.time.sleep", lambda _: None)
    google.responses = [response]
    with pytest.raises(kind, match=message) as caught:
        google.use(key_of(google), one_run, google.COMPOSER_URL)
    assert len(google.api.requests) == times
    assert google.requests == []
    assert caught.value.is_transient is (kind is ProviderUnreachable)


def test_redirect_of_token_server_is_not_followed(google: "Cloud", lab: "Lab", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("google.auth._exponential_backoff.time.sleep", lambda _: None)
    google.responses = [lab.Reply({}, status=302, headers={"Location": "/internal"}), "google_token"]
    with pytest.raises(ProviderFailed) as caught:
        google.use(key_of(google), one_run, google.COMPOSER_URL)
    assert (google.api.paths, google.requests) == (["POST /token"], [])
    assert_no_secret(caught.value, google)


def test_credentials_echoed_by_server_are_redacted(google: "Cloud", lab: "Lab") -> None:
    for body in ({"error": "planted assertion"}, {"error": ["planted"]}, b"planted", {"access_token": 3}, {}):
        google.responses = [lab.Reply(body, status=400 if body != {"access_token": 3} else 200)]
        with pytest.raises(ProviderRejectedCredentials) as caught:
            google.use(key_of(google), one_run, google.COMPOSER_URL)
        assert_no_secret(caught.value, google)


@pytest.mark.parametrize(
    "other",
    [
        {"private_key": "planted, but no key"},
        {"private_key": "-----BEGIN PRIVATE KEY-----\nplanted\n-----END PRIVATE KEY-----\n"},
    ],
)
def test_invalid_service_account_key_is_refused_without_disclosing_it(google: "Cloud", other: dict[str, str]) -> None:
    with pytest.raises(ProviderRejectedCredentials, match="key cannot be used") as caught:
        google.use(key_of(google, **other), one_run, google.COMPOSER_URL)
    assert_no_secret(caught.value, google)
    assert google.api.requests == []


@pytest.mark.parametrize("address", ["http://127.0.0.1:9/token", "http://[::/token", "http://127.0.0.1:99999/"])
def test_unreachable_token_server_is_reported(google: "Cloud", monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setattr("google.auth._exponential_backoff.time.sleep", lambda _: None)
    google.token_uris.add(address)
    with pytest.raises(ProviderFailed) as caught:
        google.use(key_of(google, token_uri=address), one_run, google.COMPOSER_URL)
    assert_no_secret(caught.value, google)


def test_machine_identity_is_used_only_if_operator_allows_it(google: "Cloud", of_the_machine: Any) -> None:
    with pytest.raises(ProviderRejectedCredentials, match="may not sign in as the machine"):
        google.use(of_the_machine, one_run, google.COMPOSER_URL)
    assert (google.api.requests, google.requests) == ([], [])
    google.use(of_the_machine, one_run, google.COMPOSER_URL, as_machine=True)
    assert len(google.requests) == 1


@pytest.mark.parametrize(
    "url",
    [
        "https://elsewhere.example.com",
        "http://0123abcd-dot-europe-west1.composer.googleusercontent.com",
        "https://composer.googleusercontent.com.example.com",
        "https://acomposer.googleusercontent.com",
    ],
)
def test_machine_identity_token_is_sent_to_composer_only(google: "Cloud", of_the_machine: Any, url: str) -> None:
    with pytest.raises(ProviderRejectedCredentials, match="sent to Cloud Composer only"):
        google.use(of_the_machine, one_run, url, as_machine=True)
    assert (google.api.requests, google.requests) == ([], [])


def test_machine_without_identity_is_reported(google: "Cloud") -> None:
    with pytest.raises(ProviderRejectedCredentials, match="no usable application default credentials"):
        google.use(
            lambda: {"auth_type": "composer", "service_account": None}, one_run, google.COMPOSER_URL, as_machine=True
        )


def test_missing_library_error_names_extra_to_install(google: "Cloud", monkeypatch: pytest.MonkeyPatch) -> None:
    def not_there(name: str) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(optional_deps, "import_module", not_there)
    with pytest.raises(ProviderFailed, match="needs google-auth, which is not installed here") as caught:
        google.use(key_of(google), one_run, google.COMPOSER_URL)
    assert caught.value.hints[0].endswith("pip install 'windsock[composer]'")


def test_login_secrets_are_not_logged_at_debug_level(
    google: "Cloud", capsys: pytest.CaptureFixture[str], logging_as_before: None
) -> None:
    assert logging_as_before is None
    log.configure("json", "debug")
    google.use(key_of(google), one_run, google.COMPOSER_URL)
    assertion = parse_qs(google.api.requests[0].body.decode())["assertion"][0]
    text = capsys.readouterr().err
    assert not [secret for secret in (TOKEN, assertion, google.private_key[30:60]) if secret in text]


def assert_no_secret(failure: BaseException, cloud: "Cloud") -> None:
    chain = [failure, failure.__cause__, failure.__context__]
    text = " ".join(f"{error} {error!r} {error.args} {vars(error)}" for error in chain if error is not None)
    assert not [secret for secret in ("planted", TOKEN, cloud.private_key[30:60]) if secret in text]
