"""What looks like a secret is refused in a config, and is not shown where it came before that."""

from typing import TYPE_CHECKING, Any

import pytest
from psycopg.types.json import Jsonb

from factories import TwoTenants
from validating_client import ValidatingClient

if TYPE_CHECKING:
    from conftest import RolledBackDatabase

pytestmark = pytest.mark.anyio
CONNECTORS = "/catalog/spaces/finance/connectors"
PLANTED = "planted-7741"

SECRETS: list[tuple[dict[str, Any], list[str | int]]] = [
    ({"password": PLANTED}, ["password"]),
    ({"PASSWORD": PLANTED}, ["PASSWORD"]),
    ({"dbPassword": PLANTED}, ["dbPassword"]),
    ({"db": {"user": "a", "pwd": PLANTED}}, ["db", "pwd"]),
    ({"hosts": [{"url": "https://a"}, {"authToken": PLANTED}]}, ["hosts", 1, "authToken"]),
    ({"api_key": PLANTED}, ["api_key"]),
    ({"apiKey": PLANTED}, ["apiKey"]),
    ({"key": PLANTED}, ["key"]),
    ({"secret_id": PLANTED}, ["secret_id"]),
    ({"client-secret": PLANTED}, ["client-secret"]),
    ({"credentials": {"user": "a", "x": PLANTED}}, ["credentials"]),
    ({"tokens": [PLANTED]}, ["tokens"]),
    ({"pin_token": 7741}, ["pin_token"]),
    ({"headers": {"Authorization": f"Bearer {PLANTED}"}}, ["headers", "Authorization"]),
    ({"env": [{"name": "DB_PASSWORD", "value": PLANTED}]}, ["env", 0, "value"]),
    ({"broker": f"amqp://guest:{PLANTED}@mq.example.com/"}, ["broker"]),
    ({"hook": f"https://a.example.com/x?token={PLANTED}&b=1"}, ["hook"]),
    ({"dsn": f"host=db user=a password={PLANTED}"}, ["dsn"]),
    ({"azure": f"AccountName=a;AccountKey={PLANTED};"}, ["azure"]),
    ({"pem": f"-----BEGIN RSA PRIVATE KEY-----\n{PLANTED}\n-----END RSA PRIVATE KEY-----"}, ["pem"]),
]
HARMLESS: dict[str, Any] = {
    "host": "db.example.com",
    "user": "a",
    "partition_key": "day",
    "primaryKey": "id",
    "access_key_id": "AKIA",
    "token_url": "https://sso.example.com/token",
    "password_file": "/run/secrets/db",
    "secret_name": "prod/db",
    "use_token": True,
    "password": None,
    "url": "https://a.example.com:8443/x?page=2",
    "keyspace": "k",
    "monkey": "m",
    "author": "a",
    "passive": 1,
    "ports": [1, 2.5],
}


def other(config: dict[str, Any]) -> dict[str, Any]:
    return {"name": "dbt", "connector_type": "dbt", "config": config}


@pytest.mark.parametrize(("config", "place"), SECRETS, ids=[str(place) for _, place in SECRETS])
async def test_secret_in_config_is_refused_with_its_location(
    client: ValidatingClient, tenants: TwoTenants, config: dict[str, Any], place: list[str | int]
) -> None:
    response = await client.as_(tenants.keys["editor"], "POST", CONNECTORS, json=other(config))
    assert response.status_code == 422
    assert response.json()["detail"][0]["loc"] == ["body", "config", *place]
    assert "credentials" in response.json()["detail"][0]["msg"]
    assert "planted" not in response.text


async def test_config_without_secrets_is_stored_unchanged(client: ValidatingClient, tenants: TwoTenants) -> None:
    response = await client.as_(tenants.keys["editor"], "POST", CONNECTORS, json=other(HARMLESS))
    assert (response.status_code, response.json()["config"]) == (201, HARMLESS)


async def test_secret_in_config_change_is_refused(client: ValidatingClient, tenants: TwoTenants) -> None:
    body = (await client.as_(tenants.keys["editor"], "POST", CONNECTORS, json=other({"host": "a"}))).json()
    path = f"{CONNECTORS}/{body['id']}"
    refused = await client.as_(tenants.keys["editor"], "PATCH", path, json={"config": {"token": PLANTED}})
    assert refused.status_code == 422
    assert (await client.as_(tenants.keys["viewer"], "GET", path)).json()["config"] == {"host": "a"}


async def test_former_secret_appears_in_neither_responses_nor_audit_log(
    client: ValidatingClient, tenants: TwoTenants, db: "RolledBackDatabase"
) -> None:
    body = (await client.as_(tenants.keys["editor"], "POST", CONNECTORS, json=other({"host": "a"}))).json()
    path = f"{CONNECTORS}/{body['id']}"
    config = {"host": "a", "password": PLANTED, "list": [{"apiKey": PLANTED}], "url": f"https://u:{PLANTED}@b/"}
    async with db.tenant_transaction(tenants.finance.id):
        await db.connection.execute("UPDATE connectors SET config = %s WHERE id = %s", (Jsonb(config), body["id"]))
    redacted = {
        "host": "a",
        "password": "[redacted]",
        "list": [{"apiKey": "[redacted]"}],
        "url": "https://u:[redacted]@b/",
    }
    for caller in ("viewer", "admin"):
        assert (await client.as_(tenants.keys[caller], "GET", path)).json()["config"] == redacted
        assert PLANTED not in (await client.as_(tenants.keys[caller], "GET", CONNECTORS)).text
    renamed = await client.as_(tenants.keys["editor"], "PATCH", path, json={"name": "dbt 2", "config": {"host": "c"}})
    assert (renamed.status_code, renamed.json()["config"]["host"]) == (200, "c"), "what is there does not hinder"
    without = await client.as_(tenants.keys["editor"], "PATCH", path, json={"config": {"password": None}})
    assert "password" not in without.json()["config"]
    assert (await client.as_(tenants.keys["admin"], "DELETE", path)).status_code == 204
    audit = await client.as_(tenants.keys["admin"], "GET", "/spaces/finance/audit-events")
    assert audit.status_code == 200
    assert body["id"] in audit.text
    assert PLANTED not in audit.text


@pytest.mark.parametrize(
    "config",
    [
        {"base_url": f"https://u:{PLANTED}@airflow.example.com"},
        {"base_url": f"https://{PLANTED}@airflow.example.com"},
        {"base_url": f"https://:{PLANTED}@airflow.example.com"},
        {"base_url": "https://a.example.com", "web_url": f"https://u:{PLANTED}@airflow.example.com"},
        {"base_url": "https://a.example.com", "ca_certificate": f"-----BEGIN PRIVATE KEY-----\n{PLANTED}\n"},
    ],
)
async def test_secret_in_airflow_config_is_refused(
    client: ValidatingClient, tenants: TwoTenants, config: dict[str, Any]
) -> None:
    body = {"name": "a", "connector_type": "airflow", "config": config}
    response = await client.as_(tenants.keys["editor"], "POST", CONNECTORS, json=body)
    assert response.status_code == 422
    assert "planted" not in response.text


async def test_token_in_url_query_is_not_stored(client: ValidatingClient, tenants: TwoTenants) -> None:
    url = f"https://a.example.com/x?token={PLANTED}#{PLANTED}"
    body = {"name": "a", "connector_type": "airflow", "config": {"base_url": url, "web_url": url}}
    response = await client.as_(tenants.keys["editor"], "POST", CONNECTORS, json=body)
    assert response.json()["config"]["base_url"] == "https://a.example.com/x"
    assert "planted" not in response.text
