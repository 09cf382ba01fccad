"""Connectors: listed, created, changed, deleted, and their configuration checked in words."""

import re
from importlib.resources import files
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import orjson
import pytest
from fastapi import FastAPI

from checking import CheckedClient
from windsock.migrations import versions
from windsock.sql import Query
from world import World

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
}
URL = "https://airflow.example.com"


async def create(client: CheckedClient, key: str, **body: Any) -> dict[str, Any]:
    whole = {"name": "new", "connector_type": "airflow", "config": {"base_url": URL}} | body
    answer = await client.as_(key, "POST", CONNECTORS, json=whole)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def test_connectors_are_listed_by_name_each_with_its_pipelines_counted(
    client: CheckedClient, world: World
) -> None:
    await create(client, world.keys["editor"], name="another")
    answer = await client.as_(world.keys["viewer"], "GET", CONNECTORS)
    assert [(row["name"], row["connector_type"], row["product_count"]) for row in answer.json()] == [
        ("another", "airflow", 0),
        ("crm", "salesforce", 0),
        ("prod", "airflow", 3),
    ]
    one = await client.as_(world.keys["viewer"], "GET", f"{CONNECTORS}/{world.finance.connector_id}")
    assert one.json() == answer.json()[2]


async def test_a_connector_starts_active_and_never_synced_with_every_default_filled_in(
    client: CheckedClient, world: World
) -> None:
    system = str(uuid4())
    made = await create(client, world.keys["editor"], name=" staging ", source_system_id=system)
    assert made["config"] == DEFAULTS | {"base_url": URL}
    assert (
        made
        | {
            "name": "staging",
            "is_active": True,
            "has_credentials": False,
            "source_system_id": system,
            "space_id": str(world.finance.id),
            "last_sync": None,
            "last_sync_status": None,
            "api_version": None,
            "provider_version": None,
            "product_count": 0,
        }
        == made
    )
    assert (await client.as_(world.keys["viewer"], "GET", f"{CONNECTORS}/{made['id']}")).json() == made


@pytest.mark.parametrize(
    ("given", "kept"),
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
async def test_what_was_pasted_after_the_address_is_cut_off(
    client: CheckedClient, world: World, given: str, kept: str
) -> None:
    made = await create(client, world.keys["editor"], config={"base_url": given, "web_url": given})
    assert (made["config"]["base_url"], made["config"]["web_url"]) == (kept, kept)


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
async def test_a_configuration_that_cannot_work_is_refused_in_words(
    client: CheckedClient, world: World, config: dict[str, Any], loc: str, words: str
) -> None:
    body = {"name": "new", "connector_type": "airflow", "config": config}
    made = await client.as_(world.keys["editor"], "POST", CONNECTORS, json=body)
    changed = await client.as_(
        world.keys["editor"], "PATCH", f"{CONNECTORS}/{world.finance.connector_id}", json={"config": config}
    )
    for answer in (made, changed) if config else (made,):
        assert answer.status_code == 422
        assert "planted" not in answer.text
        (one,) = answer.json()["detail"]
        assert one["loc"][:3] == ["body", "config", loc]
        assert words in one["msg"]


async def test_names_are_given_once_in_a_space(client: CheckedClient, world: World) -> None:
    body = {"name": " prod ", "connector_type": "airflow", "config": {"base_url": URL}}
    made = await client.as_(world.keys["editor"], "POST", CONNECTORS, json=body)
    path = f"{CONNECTORS}/{world.finance.other_connector_id}"
    renamed = await client.as_(world.keys["editor"], "PATCH", path, json={"name": "prod"})
    for answer in (made, renamed):
        assert answer.status_code == 409
        assert answer.json() == {"detail": "There is a connector named 'prod' already."}


@pytest.mark.parametrize("config", [{}, {"url": "x", "deep": {"list": [1, None, "é"]}}, {"base_url": "not a URL"}])
async def test_connectors_of_other_types_are_recorded_as_given(
    client: CheckedClient, world: World, config: dict[str, Any]
) -> None:
    credentials = {"anything": ["planted"]}
    made = await create(
        client, world.keys["editor"], connector_type="snowflake", config=config, credentials=credentials
    )
    assert (made["config"], made["connector_type"], made["has_credentials"]) == (config, "snowflake", True)
    for what in ("sync", "test"):
        answer = await client.as_(world.keys["editor"], "POST", f"{CONNECTORS}/{made['id']}/{what}")
        assert answer.status_code == 400
        assert answer.json() == {"detail": "Only Airflow connectors are supported."}
    path = f"{CONNECTORS}/{made['id']}"
    changed = await client.as_(world.keys["editor"], "PATCH", path, json={"config": {"more": 1}})
    assert changed.json()["config"] == config | {"more": 1}


async def test_deleting_a_connector_takes_its_pipelines_with_it(
    client: CheckedClient, world: World, db: "RolledBackDatabase"
) -> None:
    path = f"{CONNECTORS}/{world.finance.connector_id}"
    assert (await client.as_(world.keys["admin"], "DELETE", path)).status_code == 204
    assert (await client.as_(world.keys["admin"], "GET", path)).status_code == 404
    assert (await client.as_(world.keys["admin"], "DELETE", path)).status_code == 404
    listed = await client.as_(world.keys["admin"], "GET", "/spaces/finance/orchestration/pipelines")
    assert listed.json() == []
    left = await client.as_(world.keys["admin"], "GET", CONNECTORS)
    assert [row["name"] for row in left.json()] == ["crm"]
    async with db.tenant_transaction(world.finance.id) as tx:
        for table in ("sync_states", "sync_runs", "runs", "task_runs"):
            assert await tx.fetch_all(Query(f"SELECT FROM {table}")) == []
    async with db.tenant_transaction(world.marketing.id) as tx:
        assert len(await tx.fetch_all(Query("SELECT FROM pipelines"))) == 3


@pytest.mark.parametrize("address", ["http://1.2.3.999", "http://h/\x7f", "http://\u200b"])
async def test_an_address_that_no_client_could_call_is_refused_when_it_is_given(
    client: CheckedClient, world: World, address: str
) -> None:
    body = {"name": "odd", "connector_type": "airflow", "config": {"base_url": address}}
    answer = await client.as_(world.keys["editor"], "POST", "/catalog/spaces/finance/connectors", json=body)
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["body", "config", "base_url"]


async def test_space_has_a_limited_number_of_connectors(client: CheckedClient, app: FastAPI, world: World) -> None:
    app.state.settings = app.state.settings.model_copy(update={"max_connectors_per_space": 3})
    answers = []
    for number in range(3):
        body = {"name": f"more-{number}", "connector_type": "airflow", "config": {"base_url": URL}}
        answers.append(await client.as_(world.keys["editor"], "POST", CONNECTORS, json=body))
    assert [answer.status_code for answer in answers] == [201, 409, 409]
    assert "as many as it may have" in answers[-1].json()["detail"]
    elsewhere = "/catalog/spaces/marketing/connectors"
    assert (await client.as_(world.keys["stranger"], "POST", elsewhere, json=body)).status_code == 201


async def test_longer_time_outs_of_earlier_versions_are_cut(db: "RolledBackDatabase", world: World) -> None:
    text = files(versions).joinpath("v0021_fair_shares.sql").read_text(encoding="utf-8")
    (statement,) = re.findall(r"^UPDATE connectors.*?;", text, re.MULTILINE | re.DOTALL)
    async with db.tenant_transaction(world.finance.id):
        for config in ('{"timeout_seconds": 300.5}', '{"timeout_seconds": 5}', "{}"):
            cursor = await db.connection.execute(
                "UPDATE connectors SET config = %s WHERE id = %s RETURNING config", (config, world.finance.connector_id)
            )
            await db.connection.execute(statement)
            cursor = await db.connection.execute(
                "SELECT config FROM connectors WHERE id = %s", (world.finance.connector_id,)
            )
            row = await cursor.fetchone()
            assert row is not None
            assert row["config"] == ({"timeout_seconds": 60} if "300" in config else orjson.loads(config))
