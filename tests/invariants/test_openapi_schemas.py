"""The schemas of the OpenAPI document: shared where things are the same, and as strict as the server."""

import json
import re
import struct
from base64 import urlsafe_b64encode
from typing import Any
from urllib.parse import urlsplit

import jsonschema_rs
import pytest
from fastapi import FastAPI
from hypothesis import assume, given, settings, strategies
from pydantic import ValidationError

from factories import TwoTenants
from invariants.operations import API
from invariants.schemathesis_hooks import EXEMPTIONS
from invariants.test_openapi import operations_of
from validating_client import ValidatingClient
from windsock.actions.models import TriggerIn
from windsock.comments.models import CommentIn
from windsock.connectors.models import ConnectorIn
from windsock.connectors.store import validate_config, validate_credentials
from windsock.errors import Invalid
from windsock.providers.airflow.config import TOKEN_URIS, URL_PATTERN, AirflowConfig
from windsock.spaces.models import ApiKeyIn, SpaceUpdate, TeamInput, UserIn


@pytest.mark.parametrize(("name", "values"), [("Criticality", 4), ("Role", 3), ("AuditAction", 3), ("TargetType", 22)])
def test_closed_set_is_single_shared_component(bare_app: FastAPI, name: str, values: int) -> None:
    """Otherwise a generator makes several types of it that do not fit each other."""
    document = bare_app.openapi()
    listed = document["components"]["schemas"][name]["enum"]
    assert len(listed) == values
    text = json.dumps(document)
    assert text.count(json.dumps(listed)) == 1
    assert text.count(f'"#/components/schemas/{name}"') > 1


def test_id_and_name_pair_is_single_shared_component(bare_app: FastAPI) -> None:
    schemas = bare_app.openapi()["components"]["schemas"]
    properties = {name: schema.get("properties", {}) for name, schema in schemas.items()}
    named = [name for name, item in properties.items() if set(item) == {"id", "name"} and "anyOf" not in item["id"]]
    assert named == ["Ref"]


ACTIONS = {
    "trigger", "sync", "cancel", "test", "accept", "watch", "unwatch", "merge", "split", "clear", "mark", "respond",
    "acknowledge", "snooze", "assign", "resolve", "preview", "resend",
}  # fmt: skip
VERBS = "|".join(("list", "get", "create", "update", "replace", "delete", *ACTIONS))


def test_operations_are_named_by_verb_and_resource(bare_app: FastAPI) -> None:
    reads = {"list", "get"}
    by_method = {"POST": {"create"}, "PUT": {"update", "replace", "create"}, "PATCH": {"update"}, "DELETE": {"delete"}}
    for name, operation in operations_of(bare_app):
        named = re.fullmatch(rf"({VERBS})(_[a-z]+)+", operation["operationId"])
        assert named, operation["operationId"]
        method = name.partition(" ")[0]
        assert named[1] in (reads if method == "GET" else by_method[method] | ACTIONS), name
        if method == "GET" and "security" in operation:
            content = operation["responses"]["200"]["content"]
            is_list = next(iter(content.values()))["schema"].get("type") == "array"
            assert is_list == (named[1] == "list"), name


NUL = "a\0b"
MWAA = {"auth_type": "mwaa", "environment_name": "prod", "region": "eu-west-1"}


def airflow_connector(
    config: dict[str, Any] | None = None, credentials: dict[str, Any] | None = None
) -> dict[str, Any]:
    config = config or {"base_url": "http://x"}
    return {"name": "a", "connector_type": "airflow", "config": config, "credentials": credentials}


def composer(**key: str) -> dict[str, Any]:
    right = {"type": "service_account", "client_email": "a@b", "private_key": "k", "token_uri": min(TOKEN_URIS)}
    return {"auth_type": "composer", "service_account": {**right, **key}}


@pytest.mark.parametrize(
    ("schema", "body", "is_right"),
    [
        ("ConnectorIn", {"name": "a", "connector_type": "airflow", "config": {"base_url": "http://127.0.0.1:9"}}, True),
        ("ConnectorIn", {"name": "a", "connector_type": "dbt", "config": {"anything": [1]}}, True),
        ("ConnectorIn", {"name": "a", "connector_type": "dbt"}, True),
        ("ConnectorIn", {"name": "a", "connector_type": "airflow"}, False),
        ("ConnectorIn", {"name": "a", "connector_type": "airflow", "config": {}}, False),
        ("ConnectorIn", {"name": "a", "connector_type": "airflow", "config": {"base_url": "ftp://x"}}, False),
        ("ConnectorIn", {"name": "a", "connector_type": "airflow", "config": {"base_url": "http://x", "a": 1}}, False),
        *(
            ("ConnectorIn", airflow_connector({"base_url": url}), is_right)
            for url, is_right in {
                "https://airflow.example.com:8443/team/a?b#c": True,
                "http://bücher.example": True,
                "http://[::1]:8080": True,
                "http://x:65535": True,
                "http://x:65536": False,
                "http://user@x": False,
                "http://": False,
                "http:///path": False,
                "http://x/a b": True,
            }.items()
        ),
        *(
            ("ConnectorIn", airflow_connector({"base_url": "http://x", **config}), is_right)
            for config, is_right in (
                ({"history_days": 7.0, "sync_interval_seconds": 5, "timeout_seconds": 1}, True),
                ({"history_days": 7.5}, False),
                ({"history_days": "7"}, False),
                ({"history_days": True}, False),
                ({"timeout_seconds": "30"}, False),
                ({"timeout_seconds": True}, False),
                ({"verify_tls": 0}, False),
                ({"verify_tls": "no"}, False),
                ({"ca_certificate": "-----BEGIN CERTIFICATE-----\n"}, True),
                ({"ca_certificate": "-----BEGIN PRIVATE KEY-----\n"}, False),
                ({"web_url": "javascript:alert(1)"}, False),
                ({"web_url": None}, True),
            )
        ),
        *(
            ("ConnectorIn", airflow_connector(credentials={**MWAA, **keys}), is_right)
            for keys, is_right in (
                ({}, True),
                ({"access_key_id": None, "secret_access_key": None, "session_token": None}, True),
                ({"access_key_id": "A", "secret_access_key": "s"}, True),
                ({"access_key_id": "A", "secret_access_key": "s", "session_token": "t"}, True),
                ({"access_key_id": "A"}, False),
                ({"access_key_id": "A", "secret_access_key": None}, False),
                ({"secret_access_key": "s"}, False),
                ({"session_token": "t"}, False),
            )
        ),
        *(
            ("ConnectorIn", airflow_connector(credentials=composer(**key)), is_right)
            for key, is_right in (
                ({}, True),
                ({"universe_domain": "googleapis.com"}, True),
                ({"universe_domain": "example.com"}, False),
                ({"token_uri": "https://example.com/token"}, False),
            )
        ),
        ("ApiKeyIn", {"name": "a", "expires_in_days": 30.0}, True),
        ("ApiKeyIn", {"name": "a", "expires_in_days": 30.5}, False),
        ("ApiKeyIn", {"name": "a", "expires_in_days": True}, False),
        ("ApiKeyIn", {"name": "a", "expires_in_days": "30"}, False),
        ("ApiKeyIn", {"name": NUL}, False),
        ("ApiKeyIn", {"name": " \u0085\t"}, False),
        ("SpaceUpdate", {"retention_days": 1.0}, True),
        ("SpaceUpdate", {"retention_days": 0.0}, False),
        ("CommentIn", {"content": NUL}, False),
        ("CommentIn", {"content": "\0 "}, False),
        ("UserIn", {"email": "a\0@b", "name": "x"}, False),
        ("TeamInput", {"name": NUL}, False),
        ("TriggerIn", {"logical_date": "1970-01-01T00:00:00+14:00"}, True),
        ("TriggerIn", {"logical_date": "2199-12-31T23:59:59.999999-12:00"}, True),
        ("TriggerIn", {"logical_date": "2026-01-01t00:00:00z"}, True),
        ("TriggerIn", {"logical_date": "1969-06-01T00:00:00Z"}, False),
        ("TriggerIn", {"logical_date": "2200-06-01T00:00:00Z"}, False),
        ("TriggerIn", {"note": NUL}, False),
    ],
)
def test_schema_and_server_agree_on_body(bare_app: FastAPI, schema: str, body: dict[str, Any], is_right: bool) -> None:
    components = bare_app.openapi()["components"]
    described = {"$ref": f"#/components/schemas/{schema}", "components": components}
    assert jsonschema_rs.is_valid(described, body, validate_formats=False) == is_right
    assert accepts(schema, body) == is_right


def accepts(name: str, body: dict[str, Any]) -> bool:
    """Whether the server takes it: a connector is looked through once more, when its type is known."""
    models = {
        item.__name__: item for item in (ApiKeyIn, CommentIn, ConnectorIn, SpaceUpdate, TeamInput, TriggerIn, UserIn)
    }
    try:
        created = models[name].model_validate(body)
        if isinstance(created, ConnectorIn) and created.connector_type == "airflow":
            validate_config(created.config)
            validate_credentials(created.credentials)
    except (ValidationError, Invalid):
        return False
    return True


@given(strategies.from_regex(URL_PATTERN, fullmatch=True))
@settings(database=None, deadline=None, max_examples=100)
def test_server_accepts_every_url_matching_pattern(url: str) -> None:
    host = urlsplit(url).netloc if "[" not in url else ""
    assume(host.isascii() and host)  # others: only outlined by the pattern
    AirflowConfig(base_url=url)


def test_base_url_of_config_change_is_not_nullable(bare_app: FastAPI) -> None:
    """It has no default to which null could set it back."""
    properties = bare_app.openapi()["components"]["schemas"]["AirflowConfigChange"]["properties"]
    nullable = {name for name, schema in properties.items() if {"type": "null"} in schema.get("anyOf", [])}
    assert nullable == set(properties) - {"base_url"}


def test_schema_exemptions_are_stated_in_openapi_document(bare_app: FastAPI) -> None:
    document = bare_app.openapi()
    text = json.dumps(document)
    ids = {operation["operationId"] for _, operation in operations_of(bare_app)}
    for exemption in EXEMPTIONS:
        assert exemption.operations <= ids
        assert json.dumps(exemption.statement)[1:-1] in text, exemption.reason


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("packed", "is_right"),
    [
        ((1, 0, 0, bytes(16)), True),
        ((2**32 - 1, 2**63 - 1, 255, b"\xff" * 16), True),
        ((1, -(2**63), 9, bytes(16)), True),
        ((0, 0, 0, bytes(16)), False),
    ],
)
async def test_schema_and_server_agree_on_cursor(
    client: ValidatingClient,
    bare_app: FastAPI,
    tenants: TwoTenants,
    packed: tuple[int, int, int, bytes],
    is_right: bool,
) -> None:
    path = f"{API}/spaces/{{slug}}/orchestration/runs"
    (schema,) = [
        parameter["schema"]
        for parameter in bare_app.openapi()["paths"][path]["get"]["parameters"]
        if parameter["name"] == "cursor"
    ]
    cursor = urlsafe_b64encode(struct.pack(">IqB16s", *packed)).decode().rstrip("=")
    assert jsonschema_rs.is_valid(schema, cursor) == is_right
    response = await client.as_(tenants.keys["viewer"], "GET", f"/spaces/finance/orchestration/runs?cursor={cursor}")
    assert (response.status_code == 200) == is_right
    response = await client.as_(tenants.keys["viewer"], "GET", f"/spaces/finance/incidents?cursor={cursor}")
    assert (response.status_code == 200) == is_right
    for wrong in (cursor[:-1], cursor + "A", "", cursor[:-1] + "="):
        assert not jsonschema_rs.is_valid(schema, wrong)
        refused = await client.as_(tenants.keys["viewer"], "GET", f"/spaces/finance/orchestration/runs?cursor={wrong}")
        assert refused.status_code == 422, wrong
