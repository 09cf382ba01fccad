"""Connectors: listed, created, changed, deleted, and their configuration checked in words."""

from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from fastapi import FastAPI

from factories import TwoTenants
from validating_client import ValidatingClient
from windsock.db.queries import Query

if TYPE_CHECKING:
    from conftest import RolledBackDatabase

pytestmark = pytest.mark.anyio
CONNECTORS = "/catalog/spaces/finance/connectors"
DEFAULTS: dict[str, Any] = {
    "api_version": "auto",
    "verify_tls": True,
    "ca_certificate": None,
    "timeout_seconds": 30.0,
    "sync_interval_seconds": 60,
    "history_days": 14,
    "include_dags": [],
    "exclude_dags": [],
    "include_tags": [],
    "web_url": None,
    "read_logs": None,
}
URL = "https://airflow.example.com"


async def create(client: ValidatingClient, key: str, **body: Any) -> dict[str, Any]:
    whole = {"name": "new", "connector_type": "airflow", "config": {"base_url": URL}} | body
    response = await client.as_(key, "POST", CONNECTORS, json=whole)
    assert response.status_code == 201, response.text
    payload: dict[str, Any] = response.json()
    return payload


async def test_connectors_are_listed_by_name_with_pipeline_counts(
    client: ValidatingClient, tenants: TwoTenants
) -> None:
    await create(client, tenants.keys["editor"], name="another")
    response = await client.as_(tenants.keys["viewer"], "GET", CONNECTORS)
    assert [(row["name"], row["connector_type"], row["product_count"]) for row in response.json()] == [
        ("another", "airflow", 0),
        ("crm", "salesforce", 0),
        ("prod", "airflow", 3),
    ]
    error = await client.as_(tenants.keys["viewer"], "GET", f"{CONNECTORS}/{tenants.finance.connector_id}")
    assert error.json() == response.json()[2]


async def test_new_connector_is_active_and_unsynced_with_default_config(
    client: ValidatingClient, tenants: TwoTenants
) -> None:
    system = str(uuid4())
    created = await create(client, tenants.keys["editor"], name=" staging ", source_system_id=system)
    assert created["config"] == DEFAULTS | {"base_url": URL}
    assert (
        created
        | {
            "name": "staging",
            "is_active": True,
            "has_credentials": False,
            "source_system_id": system,
            "space_id": str(tenants.finance.id),
            "last_sync": None,
            "last_sync_status": None,
            "api_version": None,
            "provider_version": None,
            "product_count": 0,
        }
        == created
    )
    assert (await client.as_(tenants.keys["viewer"], "GET", f"{CONNECTORS}/{created['id']}")).json() == created


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (f"{URL}/", URL),
        (f"  {URL} ", URL),
        (f"{URL}/api/v2", URL),
        (f"{URL}/api/v2/", URL),
        (f"{URL}/api/v1", URL),
        (f"{URL}/home", URL),
        (f"{URL}/team/airflow/api/v1", f"{URL}/team/airflow"),
        (f"{URL}/?utm=1#top", URL),
        ("http://127.0.0.1:8080/home", "http://127.0.0.1:8080"),
        ("http://[::1]:8080/", "http://[::1]:8080"),
    ],
)
async def test_base_url_is_stored_without_pasted_path_and_query(
    client: ValidatingClient, tenants: TwoTenants, value: str, stored: str
) -> None:
    created = await create(client, tenants.keys["editor"], config={"base_url": value, "web_url": value})
    assert (created["config"]["base_url"], created["config"]["web_url"]) == (stored, stored)


@pytest.mark.parametrize(
    ("config", "loc", "words"),
    [
        ({}, "base_url", "Field required"),
        ({"base_url": "airflow.example.com"}, "base_url", "must be a URL that starts with http:// or https://"),
        ({"base_url": "ftp://airflow.example.com"}, "base_url", "must be a URL that starts with http:// or https://"),
        ({"base_url": "https://"}, "base_url", "must be a URL that starts with http:// or https://"),
        ({"base_url": "https://a:99999"}, "base_url", "has a port that is not a number from 0 to 65535"),
        ({"base_url": "https://[::1"}, "base_url", "Invalid IPv6 URL"),
        ({"base_url": "https://u:planted@a.b"}, "base_url", "must not contain a user or password"),
        ({"base_url": URL, "web_url": "https://u:planted@a.b"}, "web_url", "must not contain a user or password"),
        ({"base_url": URL, "password": "planted"}, "password", "Extra inputs are not permitted"),
        ({"base_url": URL, "api_version": "v3"}, "api_version", "Input should be 'auto', 'v1' or 'v2'"),
        ({"base_url": URL, "history_days": 0}, "history_days", "greater than or equal to 1"),
        ({"base_url": URL, "sync_interval_seconds": 4}, "sync_interval_seconds", "greater than or equal to 5"),
        ({"base_url": URL, "timeout_seconds": 61}, "timeout_seconds", "less than or equal to 60"),
        ({"base_url": URL, "include_dags": "a*"}, "include_dags", "valid list"),
        ({"base_url": URL, "include_tags": [""]}, "include_tags", "at least 1 character"),
    ],
)
async def test_invalid_config_is_refused_with_message(
    client: ValidatingClient, tenants: TwoTenants, config: dict[str, Any], loc: str, words: str
) -> None:
    body = {"name": "new", "connector_type": "airflow", "config": config}
    response = await client.as_(tenants.keys["editor"], "POST", CONNECTORS, json=body)
    changed = await client.as_(
        tenants.keys["editor"], "PATCH", f"{CONNECTORS}/{tenants.finance.connector_id}", json={"config": config}
    )
    for reply in (response, changed) if config else (response,):
        assert reply.status_code == 422
        assert "planted" not in reply.text
        (error,) = reply.json()["detail"]
        assert error["loc"][:3] == ["body", "config", loc]
        assert words in error["msg"]


async def test_connector_names_are_unique_in_space(client: ValidatingClient, tenants: TwoTenants) -> None:
    body = {"name": " prod ", "connector_type": "airflow", "config": {"base_url": URL}}
    response = await client.as_(tenants.keys["editor"], "POST", CONNECTORS, json=body)
    path = f"{CONNECTORS}/{tenants.finance.other_connector_id}"
    renamed = await client.as_(tenants.keys["editor"], "PATCH", path, json={"name": "prod"})
    for reply in (response, renamed):
        assert reply.status_code == 409
        assert reply.json() == {"detail": "There is a connector named 'prod' already."}


@pytest.mark.parametrize("config", [{}, {"url": "x", "deep": {"list": [1, None, "é"]}}, {"base_url": "not a URL"}])
async def test_connectors_of_other_types_are_stored_unchanged(
    client: ValidatingClient, tenants: TwoTenants, config: dict[str, Any]
) -> None:
    credentials = {"anything": ["planted"]}
    created = await create(
        client, tenants.keys["editor"], connector_type="snowflake", config=config, credentials=credentials
    )
    assert (created["config"], created["connector_type"], created["has_credentials"]) == (config, "snowflake", True)
    for what in ("sync", "test"):
        response = await client.as_(tenants.keys["editor"], "POST", f"{CONNECTORS}/{created['id']}/{what}")
        assert response.status_code == 400
        assert response.json() == {"detail": "Only Airflow connectors are supported."}
    path = f"{CONNECTORS}/{created['id']}"
    changed = await client.as_(tenants.keys["editor"], "PATCH", path, json={"config": {"more": 1}})
    assert changed.json()["config"] == config | {"more": 1}


async def test_deleting_connector_deletes_its_pipelines_and_syncs(
    client: ValidatingClient, tenants: TwoTenants, db: "RolledBackDatabase"
) -> None:
    path = f"{CONNECTORS}/{tenants.finance.connector_id}"
    assert (await client.as_(tenants.keys["admin"], "DELETE", path)).status_code == 204
    assert (await client.as_(tenants.keys["admin"], "GET", path)).status_code == 404
    assert (await client.as_(tenants.keys["admin"], "DELETE", path)).status_code == 404
    listed = await client.as_(tenants.keys["admin"], "GET", "/spaces/finance/orchestration/pipelines")
    assert listed.json() == []
    left = await client.as_(tenants.keys["admin"], "GET", CONNECTORS)
    assert [row["name"] for row in left.json()] == ["crm"]
    async with db.tenant_transaction(tenants.finance.id) as tx:
        for table in ("sync_states", "sync_runs", "runs", "task_runs"):
            assert await tx.fetch_all(Query(f"SELECT FROM {table}")) == []
    async with db.tenant_transaction(tenants.marketing.id) as tx:
        assert len(await tx.fetch_all(Query("SELECT FROM pipelines"))) == 3


@pytest.mark.parametrize("address", ["http://1.2.3.999", "http://h/\x7f", "http://\u200b"])
async def test_unusable_base_url_is_refused_on_input(
    client: ValidatingClient, tenants: TwoTenants, address: str
) -> None:
    body = {"name": "odd", "connector_type": "airflow", "config": {"base_url": address}}
    response = await client.as_(tenants.keys["editor"], "POST", "/catalog/spaces/finance/connectors", json=body)
    assert response.status_code == 422
    assert response.json()["detail"][0]["loc"] == ["body", "config", "base_url"]


async def test_connectors_beyond_limit_of_space_are_refused(
    client: ValidatingClient, app: FastAPI, tenants: TwoTenants
) -> None:
    app.state.settings = app.state.settings.model_copy(update={"max_connectors_per_space": 3})
    responses = []
    for number in range(3):
        body = {"name": f"more-{number}", "connector_type": "airflow", "config": {"base_url": URL}}
        responses.append(await client.as_(tenants.keys["editor"], "POST", CONNECTORS, json=body))
    assert [response.status_code for response in responses] == [201, 409, 409]
    assert "as many as it may have" in responses[-1].json()["detail"]
    elsewhere = "/catalog/spaces/marketing/connectors"
    assert (await client.as_(tenants.keys["stranger"], "POST", elsewhere, json=body)).status_code == 201
