"""Credentials: written, encrypted, used, never read."""

from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from cryptography.fernet import Fernet
from fastapi import FastAPI

from factories import PASSWORD, TwoTenants
from validating_client import ValidatingClient
from windsock.connectors.encryption import Encryption
from windsock.connectors.store import load_connector, rotate_secrets
from windsock.context import AppContext
from windsock.db.queries import Query
from windsock.errors import Conflict
from windsock.providers.airflow.config import PasswordCredentials

if TYPE_CHECKING:
    from conftest import RolledBackDatabase

pytestmark = pytest.mark.anyio
CONNECTORS = "/catalog/spaces/finance/connectors"
PLANTED = "planted-secret-0815"
BODY: dict[str, Any] = {"name": "new", "connector_type": "airflow", "config": {"base_url": "http://127.0.0.1:9"}}
KEY = {
    "type": "service_account",
    "client_email": "windsock@example.iam.gserviceaccount.com",
    "private_key": PLANTED,
    "token_uri": "https://oauth2.googleapis.com/token",
}
MWAA = {"auth_type": "mwaa", "environment_name": "prod", "region": "eu-west-1"}
CREDENTIALS: list[dict[str, Any]] = [
    {"auth_type": "password", "username": "me", "password": PLANTED},
    {"auth_type": "api_token", "token": PLANTED},
    {"auth_type": "none"},
    {"auth_type": "astronomer", "token": PLANTED},
    {"auth_type": "composer", "service_account": KEY},
    {"auth_type": "composer", "service_account": None},
    {**MWAA, "access_key_id": "AKIAEXAMPLE", "secret_access_key": PLANTED, "session_token": PLANTED},
    MWAA,
]


async def stored(db: "RolledBackDatabase", space_id: UUID, connector_id: object) -> bytes:
    async with db.tenant_transaction(space_id) as tx:
        row = await tx.fetch_one(Query("SELECT credentials FROM connectors WHERE id = %(id)s"), id=connector_id)
    assert row is not None
    found: bytes = row["credentials"]
    return found


@pytest.mark.parametrize("credentials", CREDENTIALS, ids=lambda item: item["auth_type"])
async def test_credentials_are_encrypted_and_absent_from_responses(
    client: ValidatingClient, tenants: TwoTenants, db: "RolledBackDatabase", app: FastAPI, credentials: dict[str, Any]
) -> None:
    editor = tenants.keys["editor"]
    response = await client.as_(editor, "POST", CONNECTORS, json=BODY | {"credentials": credentials})
    path = f"{CONNECTORS}/{response.json()['id']}"
    responses = [
        response,
        await client.as_(editor, "GET", path),
        await client.as_(editor, "GET", CONNECTORS),
        await client.as_(editor, "PATCH", path, json={"credentials": credentials}),
        await client.as_(editor, "POST", f"{path}/sync"),
        await client.as_(editor, "GET", "/catalog/spaces/finance/sync-history"),
    ]
    for reply in responses:
        assert reply.status_code < 300
        assert PLANTED not in reply.text
        assert '"credentials"' not in reply.text
    assert response.json()["has_credentials"] is True
    token = await stored(db, tenants.finance.id, response.json()["id"])
    assert PLANTED.encode() not in token
    assert app.state.secrets.decrypt(token) == credentials


COMPOSER: dict[str, Any] = {"auth_type": "composer"}
OTHER_KINDS_OF_GOOGLE = (
    "authorized_user", "external_account", "external_account_authorized_user", "impersonated_service_account",
    "gdch_service_account",
)  # fmt: skip
"""They name addresses to ask, files to read or programs to run."""
NOT_THE_TOKEN_SERVER = (
    f"file:///{PLANTED}",
    f"https://{PLANTED}.example.com/token",
    "http://oauth2.googleapis.com/token",
    "https://oauth2.googleapis.com/token?x=1",
    "https://oauth2.googleapis.com/other",
    "https://oauth2.googleapis.com:8443/token",
    "https://oauth2.googleapis.com.example.com/token",
    "https://oauth2.googleapis.com@example.com/token",
    "https://example.com\\@oauth2.googleapis.com/token",
    "http://169.254.169.254/computeMetadata/v1/instance/service-accounts/default/token",
)


@pytest.mark.parametrize(
    ("credentials", "loc"),
    [
        ({}, []),
        ({"auth_type": "kerberos", "password": PLANTED}, []),
        ({"auth_type": "password", "username": "me"}, ["password", "password"]),
        ({"auth_type": "password", "username": "", "password": PLANTED}, ["password", "username"]),
        ({"auth_type": "password", "username": "me", "password": PLANTED, "x": 1}, ["password", "x"]),
        ({"auth_type": "password", "username": "me", "password": [PLANTED]}, ["password", "password"]),
        ({"auth_type": "api_token", "token": ""}, ["api_token", "token"]),
        ({"auth_type": "api_token", "token": "x", "password": PLANTED}, ["api_token", "password"]),
        ({"auth_type": "none", "password": PLANTED}, ["none", "password"]),
        ({"auth_type": "astronomer", "token": ""}, ["astronomer", "token"]),
        ({"auth_type": "composer"}, ["composer", "service_account"]),
        ({"auth_type": "composer", "service_account": PLANTED}, ["composer", "service_account"]),
        *[
            (
                {"auth_type": "composer", "service_account": KEY | {"type": kind}},
                ["composer", "service_account", "type"],
            )
            for kind in OTHER_KINDS_OF_GOOGLE
        ],
        *[
            (
                {"auth_type": "composer", "service_account": KEY | {"token_uri": address}},
                ["composer", "service_account", "token_uri"],
            )
            for address in NOT_THE_TOKEN_SERVER
        ],
        (
            {"auth_type": "composer", "service_account": KEY | {"universe_domain": f"{PLANTED}.example.com"}},
            ["composer", "service_account", "universe_domain"],
        ),
        (
            {
                "auth_type": "composer",
                "service_account": KEY | {"credential_source": {"executable": {"command": PLANTED}}},
            },
            ["composer", "service_account", "credential_source"],
        ),
        (
            {"auth_type": "composer", "service_account": KEY | {"service_account_impersonation_url": PLANTED}},
            ["composer", "service_account", "service_account_impersonation_url"],
        ),
        (MWAA | {"endpoint_url": f"http://{PLANTED}"}, ["mwaa", "endpoint_url"]),
        (MWAA | {"role_arn": PLANTED}, ["mwaa", "role_arn"]),
        (MWAA | {"ca_bundle": f"/etc/{PLANTED}"}, ["mwaa", "ca_bundle"]),
        (MWAA | {"region": f"eu-west-1.{PLANTED}"}, ["mwaa", "region"]),
        (MWAA | {"environment_name": f"../{PLANTED}"}, ["mwaa", "environment_name"]),
        (MWAA | {"secret_access_key": PLANTED}, ["mwaa"]),
        (MWAA | {"session_token": PLANTED}, ["mwaa"]),
    ],
)
async def test_invalid_credentials_are_refused_without_disclosing_them(
    client: ValidatingClient, tenants: TwoTenants, credentials: dict[str, Any], loc: list[str]
) -> None:
    response = await client.as_(tenants.keys["editor"], "POST", CONNECTORS, json=BODY | {"credentials": credentials})
    path = f"{CONNECTORS}/{tenants.finance.connector_id}"
    changed = await client.as_(tenants.keys["editor"], "PATCH", path, json={"credentials": credentials})
    for reply in (response, changed):
        assert reply.status_code == 422
        assert reply.json()["detail"][0]["loc"] == ["body", "credentials", *loc]
        assert PLANTED not in reply.text


async def test_connector_change_without_credentials_retains_them(
    client: ValidatingClient, tenants: TwoTenants, db: "RolledBackDatabase"
) -> None:
    before = await stored(db, tenants.finance.id, tenants.finance.connector_id)
    path = f"{CONNECTORS}/{tenants.finance.connector_id}"
    for body in ({"name": "renamed"}, {"credentials": None}):
        assert (await client.as_(tenants.keys["editor"], "PATCH", path, json=body)).status_code == 200
        assert await stored(db, tenants.finance.id, tenants.finance.connector_id) == before


async def test_credentials_encrypted_with_lost_key_are_reported_as_conflict(
    client: ValidatingClient, tenants: TwoTenants, app: FastAPI
) -> None:
    app.state.secrets = Encryption([Fernet.generate_key().decode()])
    path = f"{CONNECTORS}/{tenants.finance.connector_id}"
    for what in ("test", "sync"):
        response = await client.as_(tenants.keys["editor"], "POST", f"{path}/{what}")
        assert response.status_code == 409
        assert response.json() == {
            "detail": "The credentials were encrypted with a key that is not configured any more. "
            "Enter them again, or add the key to WINDSOCK_SECRET_KEYS."
        }
    # Looking at it and entering them again still works.
    assert (await client.as_(tenants.keys["viewer"], "GET", path)).status_code == 200
    entered = await client.as_(tenants.keys["editor"], "PATCH", path, json={"credentials": CREDENTIALS[0]})
    assert entered.status_code == 200
    assert (await client.as_(tenants.keys["editor"], "POST", f"{path}/sync")).status_code == 202


async def test_rotated_secrets_are_decrypted_by_new_key_only(
    tenants: TwoTenants, db: "RolledBackDatabase", process: AppContext
) -> None:
    old, new = process.secrets, Fernet.generate_key().decode()
    both = Encryption([new, *process.storage.secret_keys])
    space_id, connector_id = tenants.finance.id, tenants.finance.connector_id
    async with db.tenant_transaction(space_id) as tx:
        before = await load_connector(tx, space_id, connector_id, both)
        assert await rotate_secrets(tx, space_id, both) == 1
        after = await load_connector(tx, space_id, connector_id, Encryption([new]))
        assert after == before
        assert isinstance(after.credentials, PasswordCredentials)
        assert after.credentials.password.get_secret_value() == PASSWORD
        assert PASSWORD not in repr(after)
    with pytest.raises(Conflict):
        old.decrypt(await stored(db, space_id, connector_id))
    # The other space was not touched.
    old.decrypt(await stored(db, tenants.marketing.id, tenants.marketing.connector_id))
