"""The schemas of the OpenAPI document: shared where things are the same, and as strict as the server."""

import json
import re
import struct
from base64 import urlsafe_b64encode
from typing import Any

import jsonschema_rs
import pytest
from fastapi import FastAPI
from pydantic import ValidationError

from checking import CheckedClient
from laws.operations import API
from laws.test_openapi import operations_of
from windsock.access.models import ApiKeyIn, SpaceChange, TeamBody, UserIn
from windsock.comments.models import CommentIn
from windsock.connectors.models import ConnectorIn
from windsock.connectors.store import checked_config
from windsock.errors import Invalid
from windsock.triggers.models import TriggerIn
from world import World


@pytest.mark.parametrize(("name", "values"), [("Criticality", 4), ("Role", 3), ("Action", 3), ("TargetType", 11)])
def test_a_closed_set_is_one_component_wherever_it_is_used(bare_app: FastAPI, name: str, values: int) -> None:
    """Otherwise a generator makes several types of it that do not fit each other."""
    document = bare_app.openapi()
    listed = document["components"]["schemas"][name]["enum"]
    assert len(listed) == values
    text = json.dumps(document)
    assert text.count(json.dumps(listed)) == 1
    assert text.count(f'"#/components/schemas/{name}"') > 1


def test_a_thing_beside_its_id_is_one_component(bare_app: FastAPI) -> None:
    schemas = bare_app.openapi()["components"]["schemas"]
    properties = {name: one.get("properties", {}) for name, one in schemas.items()}
    named = [name for name, one in properties.items() if set(one) == {"id", "name"} and "anyOf" not in one["id"]]
    assert named == ["NamedRef"]


VERBS = "list|get|create|update|replace|delete|trigger|sync|cancel|test|accept|watch|unwatch"


def test_operations_are_named_by_verb_and_resource(bare_app: FastAPI) -> None:
    reads = {"list", "get"}
    by_method = {"POST": {"create"}, "PUT": {"update", "replace", "create"}, "PATCH": {"update"}, "DELETE": {"delete"}}
    actions = {"trigger", "sync", "cancel", "test", "accept", "watch", "unwatch"}
    for name, operation in operations_of(bare_app):
        named = re.fullmatch(rf"({VERBS})(_[a-z]+)+", operation["operationId"])
        assert named, operation["operationId"]
        method = name.partition(" ")[0]
        assert named[1] in (reads if method == "GET" else by_method[method] | actions), name
        if method == "GET" and "security" in operation:
            is_list = operation["responses"]["200"]["content"]["application/json"]["schema"].get("type") == "array"
            assert is_list == (named[1] == "list"), name


NUL = "a\0b"


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
        ("ApiKeyIn", {"name": "a", "expires_in_days": 30.0}, True),
        ("ApiKeyIn", {"name": "a", "expires_in_days": 30.5}, False),
        ("ApiKeyIn", {"name": "a", "expires_in_days": True}, False),
        ("ApiKeyIn", {"name": "a", "expires_in_days": "30"}, False),
        ("ApiKeyIn", {"name": NUL}, False),
        ("ApiKeyIn", {"name": " \u0085\t"}, False),
        ("SpaceChange", {"retention_days": 1.0}, True),
        ("SpaceChange", {"retention_days": 0.0}, False),
        ("CommentIn", {"content": NUL}, False),
        ("CommentIn", {"content": "\0 "}, False),
        ("UserIn", {"email": "a\0@b", "name": "x"}, False),
        ("TeamBody", {"name": NUL}, False),
        ("TriggerIn", {"logical_date": "1970-01-01T00:00:00+14:00"}, True),
        ("TriggerIn", {"logical_date": "2199-12-31T23:59:59.999999-12:00"}, True),
        ("TriggerIn", {"logical_date": "2026-01-01t00:00:00z"}, True),
        ("TriggerIn", {"logical_date": "1969-06-01T00:00:00Z"}, False),
        ("TriggerIn", {"logical_date": "2200-06-01T00:00:00Z"}, False),
        ("TriggerIn", {"note": NUL}, False),
    ],
)
def test_schema_and_server_agree_on_a_body(
    bare_app: FastAPI, schema: str, body: dict[str, Any], is_right: bool
) -> None:
    components = bare_app.openapi()["components"]
    described = {"$ref": f"#/components/schemas/{schema}", "components": components}
    assert jsonschema_rs.is_valid(described, body, validate_formats=False) == is_right
    assert accepts(schema, body) == is_right


def accepts(name: str, body: dict[str, Any]) -> bool:
    """Whether the server takes it: a connector is looked through once more, when its type is known."""
    models = {one.__name__: one for one in (ApiKeyIn, CommentIn, ConnectorIn, SpaceChange, TeamBody, TriggerIn, UserIn)}
    try:
        made = models[name].model_validate(body)
        if isinstance(made, ConnectorIn) and made.connector_type == "airflow":
            checked_config(made.config)
    except (ValidationError, Invalid):
        return False
    return True


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("packed", "is_right"),
    [
        ((1, 0, bytes(16)), True),
        ((2**32 - 1, 2**63 - 1, b"\xff" * 16), True),
        ((1, -(2**63), bytes(16)), True),
        ((0, 0, bytes(16)), False),
    ],
)
async def test_schema_and_server_agree_on_a_cursor(
    client: CheckedClient, bare_app: FastAPI, world: World, packed: tuple[int, int, bytes], is_right: bool
) -> None:
    path = f"{API}/spaces/{{slug}}/orchestration/runs"
    (schema,) = [
        one["schema"] for one in bare_app.openapi()["paths"][path]["get"]["parameters"] if one["name"] == "cursor"
    ]
    cursor = urlsafe_b64encode(struct.pack(">Iq16s", *packed)).decode().rstrip("=")
    assert jsonschema_rs.is_valid(schema, cursor) == is_right
    answer = await client.as_(world.keys["viewer"], "GET", f"/spaces/finance/orchestration/runs?cursor={cursor}")
    assert (answer.status_code == 200) == is_right
    for wrong in (cursor[:-1], cursor + "A", "", cursor[:-1] + "="):
        assert not jsonschema_rs.is_valid(schema, wrong)
        refused = await client.as_(world.keys["viewer"], "GET", f"/spaces/finance/orchestration/runs?cursor={wrong}")
        assert refused.status_code == 422, wrong
