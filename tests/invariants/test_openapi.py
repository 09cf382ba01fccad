"""The OpenAPI document is valid, complete and current, and its examples are answers that were given.

`make openapi` sets WINDSOCK_TEST_WRITE_OPENAPI: then the examples are recorded anew, and docs/openapi.json is written.
"""

import json
import os
from pathlib import Path
from typing import Any, get_args
from uuid import UUID, uuid4

import jsonschema_rs
import pytest
from fastapi import FastAPI
from openapi_spec_validator import OpenAPIV31SpecValidator

from actions.connected_fake import install_fake_airflow
from actions.fake_runs import install
from factories import TwoTenants
from fake_airflow.changes import request_approval
from invariants.conftest import Ask
from invariants.examples import Recorder
from invariants.operations import API, OPERATIONS, ids_of
from validating_client import ValidatingClient, keys_of
from windsock.app import create_app
from windsock.context import AppContext
from windsock.http import openapi
from windsock.spaces.models import Role

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "openapi.json"
EXAMPLES = Path(openapi.__file__).with_name("openapi_examples.json")
WRITES = bool(os.environ.get("WINDSOCK_TEST_WRITE_OPENAPI"))
HINT = "run `make openapi`"
BODIES = {
    f"POST {API}/spaces/{{slug}}/orchestration/pipelines/{{pipeline_id}}/trigger": {
        "conf": {"country": "FR"},
        "logical_date": None,
        "note": "The bank has answered again.",
    },
    f"POST {API}/spaces/{{slug}}/orchestration/runs/{{run_id}}/clear": {"reason": "The bank has answered again."},
    f"POST {API}/spaces/{{slug}}/orchestration/task-runs/{{task_run_id}}/clear": {"include_downstream": True},
    f"POST {API}/spaces/{{slug}}/orchestration/task-runs/{{task_run_id}}/answer": {"chosen_options": ["Approve"]},
    f"POST {API}/catalog/spaces/{{slug}}/connectors": {
        "name": "airflow-prod",
        "connector_type": "airflow",
        "config": {"base_url": "https://airflow.example.com", "history_days": 14},
        "credentials": {"auth_type": "password", "username": "windsock", "password": "…"},
    },
}
"""Requests that show more than the least that is accepted."""


def written(document: Any) -> str:
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


@pytest.mark.anyio
async def test_recorded_examples_are_current(
    ask: Ask, app: FastAPI, process: AppContext, two_tenants_full: TwoTenants, key_ids: dict[str, UUID]
) -> None:
    fake = install_fake_airflow(app, process, "v2")
    install(app, process)
    waiting = next(task for task in fake.model.tasks.values() if task.task_id == "load")
    request_approval(fake.api, waiting, "Pay the invoice?", ["Approve", "Reject"])
    waiting.state = "failed"
    recorder, operations = Recorder(), {}
    ids = ids_of(two_tenants_full, two_tenants_full.finance, key_ids)
    for operation in OPERATIONS:
        name = f"{operation.method} {API}{operation.path}"
        body = BODIES.get(name, operation.body)
        key = two_tenants_full.keys["viewer" if operation.least == "caller" else operation.permitted_caller]
        response = await ask(key, operation.method, operation.path.format(slug="finance", **ids), json=body)
        assert response.is_success, f"{name}: {response.text}"
        example: dict[str, Any] = {"status": str(response.status_code)}
        if body is not None:
            example["request"] = body
        if response.content:
            is_json = response.headers["content-type"].startswith("application/json")
            example["answer"] = recorder.normalize(response.json() if is_json else response.text)
        operations[name] = example
    recorded = {"operations": operations, "errors": await _errors(ask, two_tenants_full, recorder)}
    if WRITES:
        EXAMPLES.write_text(written(recorded), encoding="utf-8")
        return
    stored = json.loads(EXAMPLES.read_text(encoding="utf-8"))
    assert stored["operations"].keys() == operations.keys(), HINT
    for name, example in operations.items():
        of_now, of_then = (
            {key: item.get(key) for key in ("status", "request")} for item in (example, stored["operations"][name])
        )
        assert of_now == of_then, f"{name}: {HINT}"
        assert keys_of(example.get("answer")) == keys_of(stored["operations"][name].get("answer")), f"{name}: {HINT}"
    assert stored["errors"] == recorded["errors"], HINT


async def _errors(ask: Ask, tenants: TwoTenants, recorder: Recorder) -> dict[str, Any]:
    """What the typical mistakes are answered with."""
    where = "/spaces/finance/orchestration"
    pipeline = f"{where}/pipelines/{tenants.finance.pipelines['daily_report']}"
    editor = tenants.keys["editor"]
    team = {"name": "ingestion"}
    requests = [
        await ask(None, "GET", "/users/me"),
        await ask(tenants.keys["viewer"], "PATCH", f"{pipeline}/criticality", json={"criticality": "high"}),
        await ask(editor, "GET", f"{where}/runs/{uuid4()}"),
        await ask(tenants.keys["admin"], "POST", "/spaces/finance/teams", json=team),
        await ask(editor, "PATCH", f"{pipeline}/criticality", json={"criticality": "extreme"}),
    ]
    return {str(response.status_code): recorder.normalize(response.json()) for response in requests}


def test_openapi_document_in_docs_equals_served_document(bare_app: FastAPI) -> None:
    served = written(bare_app.openapi())
    if WRITES:
        DOCUMENT.write_text(served, encoding="utf-8")
    assert DOCUMENT.read_text(encoding="utf-8") == served, HINT


def test_openapi_document_is_valid(bare_app: FastAPI) -> None:
    assert bare_app.openapi()["openapi"].startswith("3.1")
    OpenAPIV31SpecValidator(bare_app.openapi()).validate()


def operations_of(app: FastAPI) -> list[tuple[str, dict[str, Any]]]:
    return [
        (f"{method.upper()} {path}", operation)
        for path, methods in app.openapi()["paths"].items()
        for method, operation in methods.items()
    ]


def test_every_operation_has_unique_name_and_a_single_described_tag(bare_app: FastAPI) -> None:
    document = bare_app.openapi()
    names = [operation["operationId"] for _, operation in operations_of(bare_app)]
    assert len(names) == len(set(names))
    assert all(name.count("_") >= 1 and len(name) < 40 for name in names), names
    # Generators write an operation with two tags twice.
    assert [name for name, operation in operations_of(bare_app) if len(operation["tags"]) != 1] == []
    used = {tag for _, operation in operations_of(bare_app) for tag in operation["tags"]}
    assert used == {tag["name"] for tag in document["tags"]}


def test_every_response_documents_its_headers(bare_app: FastAPI) -> None:
    for name, operation in operations_of(bare_app):
        for status, response in operation["responses"].items():
            assert response["description"], f"{name} {status}"
            assert "X-Request-ID" in response["headers"], f"{name} {status}"
        if "security" in operation:
            assert {"401", "503"} <= operation["responses"].keys(), name
            assert ("404" in operation["responses"]) >= ("_id}" in name), name
            assert ("304" in operation["responses"]) == name.startswith("GET"), name


def test_every_parameter_is_described_and_not_nullable(bare_app: FastAPI) -> None:
    for name, operation in operations_of(bare_app):
        for parameter in operation.get("parameters", []):
            assert "null" not in json.dumps(parameter["schema"]), f"{name}: {parameter['name']}"
            if parameter["in"] != "path":
                assert parameter.get("description"), f"{name}: {parameter['name']}"


def test_every_body_and_response_has_valid_example(bare_app: FastAPI) -> None:
    document = bare_app.openapi()
    seen = 0
    for name, operation in operations_of(bare_app):
        if "security" not in operation:
            continue
        contents = [operation["requestBody"]["content"]] if "requestBody" in operation else []
        contents += [
            response["content"]
            for status, response in operation["responses"].items()
            if status.startswith("2") and "content" in response
        ]
        contents += [response["content"] for response in operation["responses"].values() if "example" in str(response)]
        for content in contents:
            for media in content.values():
                if contents.index(content) == 0 and "requestBody" in operation and "example" not in media:
                    continue  # a body that may be left out
                assert "example" in media, name
                schema = {**media["schema"], "components": document["components"]}
                jsonschema_rs.validate(schema, media["example"])
                seen += 1
    assert seen > 100


def test_closed_sets_are_enums_unlike_airflow_states(bare_app: FastAPI) -> None:
    schemas = bare_app.openapi()["components"]["schemas"]
    assert schemas["Criticality"]["enum"] == ["low", "medium", "high", "critical"]
    assert schemas["Role"]["enum"] == list(get_args(Role.__value__))
    for name in ("Pipeline", "Run", "TaskRun", "RunSummary"):
        assert "enum" not in schemas[name]["properties"]["status"]
    assert "enum" not in schemas["Run"]["properties"]["run_type"]


def test_openapi_document_contains_no_secrets() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert "wsk_8Jq2fT…" in text
    assert "planted" not in text
    assert "example.com" in text


@pytest.mark.anyio
async def test_api_docs_page_loads_no_external_resources(client: ValidatingClient, process: AppContext) -> None:
    page = await client.get(f"http://windsock.test{API}/docs")
    assert page.status_code == 200
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert "//" not in page.text.replace("<!doctype", "")
    for address in ("docs/start.js", "docs/swagger-ui-bundle.js", "docs/swagger-ui.css", "docs/favicon.png"):
        assert f"{API}/{address}" in page.text
        asset = await client.get(f"http://windsock.test{API}/{address}")
        assert asset.status_code == 200
        assert "max-age" in asset.headers["Cache-Control"]
        assert len(asset.content) > 100
    assert create_app(process).openapi() == (await client.get(f"http://windsock.test{API}/openapi.json")).json()
