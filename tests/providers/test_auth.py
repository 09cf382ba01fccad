"""Signing in: once, kept for the next sync, renewed once when refused."""

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import TypeAdapter

from windsock.errors import ProviderNonsense, ProviderRefused, ProviderRejectedCredentials
from windsock.providers.airflow import Credentials, TokenCache, token_key

if TYPE_CHECKING:
    from providers.conftest import Asked, Lab, Reply
    from windsock.providers.airflow import Airflow

GONE = {"detail": "The DagRun was not found"}
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

    def script(self, asked: "Asked") -> "Reply":
        if asked.path == "/auth/token":
            self.issued += 1
            self.valid = f"jwt-{self.issued}"
            return self.lab.Reply({"access_token": self.valid}, status=201)
        if self.opens and asked.headers.get("authorization") == f"Bearer {self.valid}":
            return self.lab.Reply(GONE, status=404)
        return self.lab.Reply({"detail": self.refusal[1]}, status=self.refusal[0])


def test_user_and_password_of_airflow_2_go_along_with_each_request(lab: "Lab") -> None:
    requests, double = lab.against(lambda _: lab.Reply(GONE, status=404), one_run, "v1", kind="password")
    expected = base64.b64encode(f"windsock:{lab.password}".encode()).decode()
    assert double.asked[0].headers["authorization"] == f"Basic {expected}"
    assert requests == 1


def test_user_and_password_of_airflow_3_are_exchanged_once_for_a_token(lab: "Lab") -> None:
    door = Door(lab)
    requests, double = lab.against(door.script, one_run, kind="password")
    assert double.paths == ["POST /auth/token", "GET /api/v2/dags/d/dagRuns/r"]
    assert json.loads(double.asked[0].body) == {"username": "windsock", "password": lab.password}
    assert requests == 2
    requests, double = lab.against(door.script, one_run, kind="password")
    assert double.paths == ["GET /api/v2/dags/d/dagRuns/r"]


@pytest.mark.parametrize("refusal", [EXPIRED, MALFORMED])
def test_a_token_that_is_refused_is_renewed_once(lab: "Lab", refusal: tuple[int, str]) -> None:
    lab.tokens.put("c", "of yesterday".replace(" ", "-"))
    door = Door(lab, refusal)
    requests, double = lab.against(door.script, one_run, kind="password")
    assert (requests, double.paths.count("POST /auth/token")) == (3, 1)


def test_a_renewed_token_that_is_refused_too_is_the_end(lab: "Lab") -> None:
    lab.tokens.put("c", "of-yesterday")
    door = Door(lab, opens=False)
    with pytest.raises(ProviderRejectedCredentials) as caught:
        lab.against(door.script, one_run, kind="password")
    assert (caught.value.status, caught.value.is_transient, door.issued) == (401, False, 1)
    assert "password" in caught.value.hints[0]


def test_a_token_just_given_is_not_renewed(lab: "Lab") -> None:
    door = Door(lab, opens=False)
    with pytest.raises(ProviderRejectedCredentials):
        lab.against(door.script, one_run, kind="password")
    assert door.issued == 1


def test_a_permission_that_is_missing_is_no_reason_to_sign_in_again(lab: "Lab") -> None:
    lab.tokens.put("c", "jwt-1")
    door = Door(lab, (403, "Forbidden"), opens=False)
    with pytest.raises(ProviderRefused, match="Forbidden") as caught:
        lab.against(door.script, one_run, kind="password")
    assert door.issued == 0
    assert not isinstance(caught.value, ProviderRejectedCredentials)


def test_a_wrong_password_is_tried_once(lab: "Lab") -> None:
    with pytest.raises(ProviderRejectedCredentials, match="POST /auth/token with 401: Invalid credentials"):
        lab.against(lambda _: lab.Reply({"detail": "Invalid credentials"}, status=401), one_run, kind="password")
    assert lab.slept == []


@pytest.mark.parametrize(("api", "status"), [("v1", 401), ("v1", 403), ("v2", 401)])
def test_a_fixed_token_that_is_refused_is_the_end(lab: "Lab", api: str, status: int) -> None:
    with pytest.raises(ProviderRejectedCredentials) as caught:
        lab.against(lambda _: lab.Reply({"title": "Forbidden"}, status=status), one_run, api)
    assert caught.value.status == status


def test_an_airflow_where_all_are_admins_gives_everybody_a_token(lab: "Lab") -> None:
    door = Door(lab, (401, "Not authenticated"))
    _, double = lab.against(door.script, one_run, kind="none")
    assert double.paths[1] == "GET /auth/token"
    requests, _ = lab.against(door.script, one_run, kind="none")
    assert requests == 1


def test_an_airflow_that_wants_credentials_says_so_to_who_has_none(lab: "Lab") -> None:
    def script(asked: "Asked") -> "Reply":
        return lab.Reply({"detail": "no"}, status=403 if asked.path == "/auth/token" else 401)

    with pytest.raises(ProviderRejectedCredentials, match="nobody in without credentials"):
        lab.against(script, one_run, kind="none")


@pytest.mark.parametrize("body", [{}, [], {"access_token": 3}, {"access_token": ""}])
def test_a_sign_in_without_a_token_is_nonsense(lab: "Lab", body: Any) -> None:
    with pytest.raises(ProviderNonsense, match="without a token"):
        lab.against(lambda _: lab.Reply(body, status=201), one_run, kind="password")


def test_the_cache_is_bounded_and_shows_nothing() -> None:
    tokens = TokenCache(largest=2)
    for key in "abc":
        tokens.put(key, f"secret-{key}")
    assert [tokens.get(key) for key in "abc"] == [None, "secret-b", "secret-c"]
    assert "secret" not in repr(tokens)


def test_another_password_or_address_is_another_key(lab: "Lab") -> None:
    keys = {
        token_key(connector, url, lab.credentials(kind))
        for connector in (1, 2)
        for url in ("http://a", "http://b")
        for kind in ("password", "api_token", "none", "astronomer")
    }
    assert len(keys) == 16
    assert not [key for key in keys if lab.password in key]


def test_each_part_of_the_credentials_of_a_cloud_is_in_the_key() -> None:
    account = {"type": "service_account", "client_email": "a@b", "private_key": "k", "token_uri": "https://t"}
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
