"""Signing in: once, kept for the next sync, renewed once when refused."""

import asyncio
import base64
import json
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import TypeAdapter

from windsock.errors import ProviderBadResponse, ProviderFailed, ProviderHTTPError, ProviderRejectedCredentials
from windsock.providers.airflow import Credentials, TokenCache, token_key

if TYPE_CHECKING:
    from providers.conftest import Lab, Reply, Request
    from windsock.providers.airflow import Airflow

NOT_FOUND = {"detail": "The DagRun with dag_id: `d` and run_id: `r` was not found"}
EXPIRED = (401, "Token Expired")
MALFORMED = (403, "Invalid JWT token")


async def one_run(airflow: "Airflow") -> int:
    await airflow.run("d", "r")
    return airflow.requests


class Door:
    """An Airflow 3 that lets in who brings the newest token."""

    def __init__(self, lab: "Lab", refusal: tuple[int, str] = EXPIRED, *, opens: bool = True) -> None:
        self.lab, self.refusal, self.opens = lab, refusal, opens
        self.issued = 0
        self.valid = "jwt-1"

    def script(self, request: "Request") -> "Reply":
        if request.path == "/auth/token":
            self.issued += 1
            self.valid = f"jwt-{self.issued}"
            return self.lab.Reply({"access_token": self.valid}, status=201)
        if self.opens and request.headers.get("authorization") == f"Bearer {self.valid}":
            return self.lab.Reply(NOT_FOUND, status=404)
        return self.lab.Reply({"detail": self.refusal[1]}, status=self.refusal[0])


def test_airflow_2_password_is_sent_with_each_request(lab: "Lab") -> None:
    requests, scripted = lab.against(lambda _: lab.Reply(NOT_FOUND, status=404), one_run, "v1", kind="password")
    expected = base64.b64encode(f"windsock:{lab.password}".encode()).decode()
    assert scripted.requests[0].headers["authorization"] == f"Basic {expected}"
    assert requests == 1


def test_airflow_3_password_is_exchanged_once_for_token(lab: "Lab") -> None:
    door = Door(lab)
    requests, scripted = lab.against(door.script, one_run, kind="password")
    assert scripted.paths == ["POST /auth/token", "GET /api/v2/dags/d/dagRuns/r"]
    assert json.loads(scripted.requests[0].body) == {"username": "windsock", "password": lab.password}
    assert requests == 2
    requests, scripted = lab.against(door.script, one_run, kind="password")
    assert scripted.paths == ["GET /api/v2/dags/d/dagRuns/r"]


@pytest.mark.parametrize("refusal", [EXPIRED, MALFORMED])
def test_refused_token_is_renewed_once(lab: "Lab", refusal: tuple[int, str]) -> None:
    lab.tokens.put("c", "of yesterday".replace(" ", "-"))
    door = Door(lab, refusal)
    requests, scripted = lab.against(door.script, one_run, kind="password")
    assert (requests, scripted.paths.count("POST /auth/token")) == (3, 1)


def test_renewed_token_that_is_refused_fails_permanently(lab: "Lab") -> None:
    lab.tokens.put("c", "of-yesterday")
    door = Door(lab, opens=False)
    with pytest.raises(ProviderRejectedCredentials) as caught:
        lab.against(door.script, one_run, kind="password")
    assert (caught.value.status, caught.value.is_transient, door.issued) == (401, False, 1)
    assert "password" in caught.value.hints[0]


def test_fresh_token_is_not_refreshed(lab: "Lab") -> None:
    door = Door(lab, opens=False)
    with pytest.raises(ProviderRejectedCredentials):
        lab.against(door.script, one_run, kind="password")
    assert door.issued == 1


def test_missing_permission_renews_cached_token_once_and_not_for_each_sync(
    lab: "Lab", monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.tokens.put("c", "jwt-1")
    door = Door(lab, (403, "Forbidden"), opens=False)
    for _ in range(3):
        with pytest.raises(ProviderHTTPError, match="Forbidden") as caught:
            lab.against(door.script, one_run, kind="password")
        assert not isinstance(caught.value, ProviderRejectedCredentials)
    assert door.issued == 1
    now = time.monotonic() + 1000
    monkeypatch.setattr("windsock.providers.airflow.tokens.time.monotonic", lambda: now)
    with pytest.raises(ProviderHTTPError, match="Forbidden"):
        lab.against(door.script, one_run, kind="password")
    assert door.issued == 2


UNCLEAR: dict[str, dict[str, Any]] = {
    "500": {"body": {"detail": "Internal Server Error"}, "status": 500},
    "400": {"body": {"detail": "Bad Request"}, "status": 400},
    "plain 403": {"body": {"detail": "Forbidden"}, "status": 403},
    "418": {"body": {"detail": "no"}, "status": 418},
    "redirect": {"status": 302, "headers": {"Location": "/login?next=/api"}},
    "307 to another host": {"status": 307, "headers": {"Location": "https://sso.example.com/"}},
    "login page": {"body": b"<html>Sign in</html>", "content_type": "text/html; charset=utf-8"},
    "403 page": {"body": b"<html>Forbidden</html>", "status": 403, "content_type": "text/html"},
}


@pytest.mark.parametrize("refusal", UNCLEAR)
def test_cached_token_is_renewed_once_on_any_refusal(lab: "Lab", refusal: str) -> None:
    """Only a new sign-in helps such a server; before, each sync failed until the process was started again."""

    def script(request: "Request") -> "Reply":
        if request.headers.get("authorization") == "Bearer of-yesterday":
            return lab.Reply(**UNCLEAR[refusal])
        return door.script(request)

    door = Door(lab)
    lab.tokens.put("c", "of-yesterday")
    _, scripted = lab.against(script, one_run, kind="password")
    assert door.issued == 1
    assert lab.tokens.get("c") == "jwt-1"
    assert scripted.paths.count("GET /api/v2/dags/d/dagRuns/r") == 2


@pytest.mark.parametrize("refusal", [*UNCLEAR, "404"])
def test_token_of_this_sync_is_not_renewed_on_an_unclear_refusal(lab: "Lab", refusal: str) -> None:
    replies = {**UNCLEAR, "404": {"body": {"detail": "The Dag with ID: `d` was not found"}, "status": 404}}

    async def thrice(airflow: "Airflow") -> None:
        for _ in range(3):
            with suppress(ProviderFailed):
                await airflow.run("d", "r")

    door = Door(lab)
    lab.against(
        lambda parameters: (
            door.script(parameters) if parameters.path == "/auth/token" else lab.Reply(**replies[refusal])
        ),
        thrice,
        kind="password",
    )
    assert door.issued == 1


@pytest.mark.parametrize(
    ("refusal", "posts"),
    [("500", 1), ("400", 1), ("418", 1), ("plain 403", 2), ("redirect", 2), ("login page", 2), ("403 page", 2)],
)
def test_trigger_is_sent_again_only_if_the_caller_was_refused(lab: "Lab", refusal: str, posts: int) -> None:
    def script(request: "Request") -> "Reply":
        if request.headers.get("authorization") == "Bearer of-yesterday" and request.method == "POST":
            return lab.Reply(**UNCLEAR[refusal])
        if request.method == "GET":
            return lab.Reply(NOT_FOUND, status=404)
        if request.path == "/auth/token":
            return lab.Reply({"access_token": "jwt-1"}, status=201)
        return lab.Reply({**lab.runs(1)[0], "dag_run_id": "ours"})

    async def start(airflow: "Airflow") -> Any:
        return await airflow._session.post_once("/api/v2/dags/d/dagRuns", {"dag_run_id": "ours"})

    lab.tokens.put("c", "of-yesterday")
    scripted = lab.Server(script)

    async def run() -> None:
        async with scripted.serving():
            airflow = lab.airflow(scripted.base_url, kind="password")
            with suppress(ProviderFailed):
                await start(airflow)
            await airflow.aclose()

    asyncio.run(run())
    assert scripted.paths.count("POST /api/v2/dags/d/dagRuns") == posts


def test_failed_renewal_shows_the_first_refusal_unless_the_password_is_wrong(lab: "Lab") -> None:
    for status, message in ((503, "with 500"), (401, "refused the credentials")):

        def script(request: "Request", status: int = status) -> "Reply":
            return lab.Reply({"detail": "no"}, status=status if request.path == "/auth/token" else 500)

        lab.tokens.put("c", "of-yesterday")
        with pytest.raises(ProviderFailed, match=message):
            lab.against(script, one_run, kind="password")


def test_wrong_password_is_tried_once(lab: "Lab") -> None:
    with pytest.raises(ProviderRejectedCredentials, match="POST /auth/token with 401: Invalid credentials"):
        lab.against(lambda _: lab.Reply({"detail": "Invalid credentials"}, status=401), one_run, kind="password")
    assert lab.slept == []


@pytest.mark.parametrize(("api", "status"), [("v1", 401), ("v1", 403), ("v2", 401)])
def test_refused_static_token_is_reported_as_rejected_credentials(lab: "Lab", api: str, status: int) -> None:
    with pytest.raises(ProviderRejectedCredentials) as caught:
        lab.against(lambda _: lab.Reply({"title": "Forbidden"}, status=status), one_run, api)
    assert caught.value.status == status


def test_airflow_with_all_admins_issues_token_without_credentials(lab: "Lab") -> None:
    door = Door(lab, (401, "Not authenticated"))
    _, scripted = lab.against(door.script, one_run, kind="none")
    assert scripted.paths[1] == "GET /auth/token"
    requests, _ = lab.against(door.script, one_run, kind="none")
    assert requests == 1


def test_airflow_requiring_credentials_refuses_connector_without_them(lab: "Lab") -> None:
    def script(request: "Request") -> "Reply":
        return lab.Reply({"detail": "no"}, status=403 if request.path == "/auth/token" else 401)

    with pytest.raises(ProviderRejectedCredentials, match="nobody in without credentials"):
        lab.against(script, one_run, kind="none")


@pytest.mark.parametrize("body", [{}, [], {"access_token": 3}, {"access_token": ""}])
def test_login_response_without_token_is_bad_response(lab: "Lab", body: Any) -> None:
    with pytest.raises(ProviderBadResponse, match="without a token"):
        lab.against(lambda _: lab.Reply(body, status=201), one_run, kind="password")


def test_token_cache_is_bounded_and_hides_tokens_in_repr() -> None:
    tokens = TokenCache(largest=2)
    for key in "abc":
        tokens.put(key, f"secret-{key}")
    assert [tokens.get(key) for key in "abc"] == [None, "secret-b", "secret-c"]
    assert "secret" not in repr(tokens)


def test_token_cache_key_depends_on_connector_url_and_credentials(lab: "Lab") -> None:
    keys = {
        token_key(connector, url, lab.credentials(kind))
        for connector in (1, 2)
        for url in ("http://a", "http://b")
        for kind in ("password", "api_token", "none", "astronomer")
    }
    assert len(keys) == 16
    assert not [key for key in keys if lab.password in key]


def test_token_cache_key_depends_on_every_part_of_cloud_credentials() -> None:
    account = {
        "type": "service_account",
        "client_email": "a@b",
        "private_key": "k",
        "token_uri": "https://oauth2.googleapis.com/token",
    }
    mwaa = {"auth_type": "mwaa", "environment_name": "e", "region": "eu-west-1"}
    kinds: list[dict[str, Any]] = [
        {"auth_type": "composer", "service_account": None},
        {"auth_type": "composer", "service_account": account},
        {"auth_type": "composer", "service_account": account | {"private_key": "other"}},
        mwaa,
        mwaa | {"region": "eu-west-2"},
        mwaa | {"access_key_id": "a", "secret_access_key": "b"},
        mwaa | {"access_key_id": "a", "secret_access_key": "c"},
    ]
    read = TypeAdapter[Credentials](Credentials).validate_python
    assert len({token_key(1, "https://a", read(kind)) for kind in kinds}) == len(kinds)
