"""The published contract, row by row: paths, methods, parameters, statuses, shapes and headers."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
from fastapi import FastAPI

from actions.fake_runs import install
from contract.schemas import ONLY_OF_ONE, SHAPES
from factories import TwoTenants
from invariants.operations import NOTIFICATION_OPERATIONS, documented, ids_of, parameters
from validating_client import ValidatingClient
from windsock.context import AppContext

pytestmark = pytest.mark.anyio

S = "/spaces/{slug}/orchestration"
C = "/catalog/spaces/{slug}/connectors"


@dataclass(frozen=True)
class Row:
    """A row of the tables. `shape` names what is answered; `[…]` a list of it; "" no body."""

    method: str
    path: str
    status: int = 200
    shape: str = ""
    body: Any = None
    parameters: str = ""
    is_of_one: bool = False

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


PIPELINE_FILTERS = "provider owner criticality team_id connector_id q watched_only"
RUN_FILTERS = "started_from started_to status run_type include_removed"
FIXED = [
    Row("GET", S + "/pipelines", 200, "[Pipeline]", parameters=f"{PIPELINE_FILTERS} status days sort page size"),
    Row("GET", S + "/pipelines/{pipeline_id}", 200, "Pipeline", is_of_one=True),
    Row("PATCH", S + "/pipelines/{pipeline_id}/team", 200, "Pipeline", {"team_id": None}),
    Row("PATCH", S + "/pipelines/{pipeline_id}/criticality", 200, "Pipeline", {"criticality": "high"}),
    Row("POST", S + "/pipelines/{pipeline_id}/trigger", 201, "Run"),
    Row("GET", S + "/pipelines/{pipeline_id}/runs", 200, "[Run]", parameters=f"{RUN_FILTERS} page size"),
    Row("GET", S + "/runs/{run_id}", 200, "Run", is_of_one=True),
    Row("GET", S + "/runs/{run_id}/comments", 200, "[Comment]", parameters="page size"),
    Row("POST", S + "/runs/{run_id}/comments", 201, "Comment", {"content": "mine"}),
    Row("GET", S + "/task-runs/{task_run_id}/comments", 200, "[Comment]", parameters="page size"),
    Row("POST", S + "/task-runs/{task_run_id}/comments", 201, "Comment", {"content": "mine", "parent_id": None}),
    Row("PUT", S + "/comments/{comment_id}", 200, "Comment", {"content": "mended"}),
    Row("PATCH", S + "/comments/{comment_id}", 200, "Comment", {"content": "mended"}),
    Row("DELETE", S + "/comments/{comment_id}", 204),
    Row("POST", S + "/connectors/{connector_id}/sync", 202, "SyncRun"),
]
AROUND = [
    Row("GET", C, 200, "[Connector]", parameters="page size"),
    Row(
        "POST",
        C,
        201,
        "Connector",
        {"name": "one more", "connector_type": "airflow", "config": {"base_url": "http://127.0.0.1:9"}},
    ),
    Row("GET", C + "/{connector_id}", 200, "Connector"),
    Row("PATCH", C + "/{connector_id}", 200, "Connector", {"name": "renamed"}),
    Row("DELETE", C + "/{connector_id}", 204),
    Row("POST", C + "/{connector_id}/test", 200, "ConnectorTest"),
    Row("POST", C + "/{connector_id}/sync", 202, "SyncRun"),
    Row("GET", "/catalog/spaces/{slug}/sync-history", 200, "[SyncRun]", parameters="connector_id status page size"),
    Row("GET", S + "/syncs/{sync_id}", 200, "SyncRun"),
    Row("PUT", S + "/pipelines/{pipeline_id}/watch", 204),
    Row("DELETE", S + "/pipelines/{pipeline_id}/watch", 204),
    Row("GET", S + "/runs", 200, "[Run]", parameters=f"{RUN_FILTERS} {PIPELINE_FILTERS} page size"),
    Row("GET", S + "/runs/{run_id}/task-runs", 200, "[TaskRun]", parameters="status external_id page size"),
    Row("GET", S + "/task-runs/{task_run_id}", 200, "TaskRun"),
    Row("GET", "/spaces", 200, "[Space]"),
    Row("POST", "/spaces", 201, "Space", {"slug": "sales", "name": "Sales"}),
    Row("GET", "/spaces/{slug}", 200, "Space"),
    Row("PATCH", "/spaces/{slug}", 200, "Space", {"name": "Renamed"}),
    Row("DELETE", "/spaces/{slug}", 204),
    Row("GET", "/spaces/{slug}/members", 200, "[Member]"),
    Row("PUT", "/spaces/{slug}/members/{user_id}", 200, "Member", {"role": "editor"}),
    Row("DELETE", "/spaces/{slug}/members/{user_id}", 204),
    Row("GET", "/spaces/{slug}/teams", 200, "[Team]"),
    Row("POST", "/spaces/{slug}/teams", 201, "Team", {"name": "night shift"}),
    Row("GET", "/spaces/{slug}/teams/{team_id}", 200, "Team"),
    Row("PATCH", "/spaces/{slug}/teams/{team_id}", 200, "Team", {"name": "day shift"}),
    Row("DELETE", "/spaces/{slug}/teams/{team_id}", 204),
    Row("PUT", "/spaces/{slug}/teams/{team_id}/members/{user_id}", 204),
    Row("DELETE", "/spaces/{slug}/teams/{team_id}/members/{user_id}", 204),
    Row("GET", "/users/me", 200, "Me"),
    Row("GET", "/users", 200, "[User]"),
    Row("POST", "/users", 201, "User", {"email": "new@example.com", "name": "New"}),
    Row("GET", "/api-keys/me/api-keys", 200, "[ApiKey]"),
    Row("POST", "/api-keys/me/api-keys", 201, "NewApiKey", {"name": "of a script", "expires_in_days": 30}),
    Row("DELETE", "/api-keys/me/api-keys/{key_id}", 204),
]
OURS = {
    "PUT /spaces/{slug}/orchestration/pipelines/{pipeline_id}/paused",
    "GET /spaces/{slug}/orchestration/actions",
    "GET /spaces/{slug}/orchestration/approvals",
    "POST /spaces/{slug}/orchestration/runs/{run_id}/clear",
    "POST /spaces/{slug}/orchestration/runs/{run_id}/mark",
    "PUT /spaces/{slug}/orchestration/runs/{run_id}/note",
    "POST /spaces/{slug}/orchestration/task-runs/{task_run_id}/clear",
    "POST /spaces/{slug}/orchestration/task-runs/{task_run_id}/mark",
    "PUT /spaces/{slug}/orchestration/task-runs/{task_run_id}/note",
    "POST /spaces/{slug}/orchestration/task-runs/{task_run_id}/answer",
    "GET /spaces/{slug}/audit-events",
    *map(str, NOTIFICATION_OPERATIONS),
    "PATCH /users/{user_id}",
    "GET /spaces/{slug}/orchestration/import-errors",
    *(f"{method} /spaces/{{slug}}/orchestration/views" for method in ("GET", "POST")),
    *(f"{method} /spaces/{{slug}}/orchestration/views/{{view_id}}" for method in ("PATCH", "DELETE")),
    "GET /spaces/{slug}/orchestration/task-runs/{task_run_id}/logs",
    "GET /spaces/{slug}/orchestration/task-runs/{task_run_id}/logs/stream",
    "GET /spaces/{slug}/orchestration/fingerprints",
    "GET /spaces/{slug}/orchestration/fingerprints/{fingerprint_id}",
    "PATCH /spaces/{slug}/orchestration/fingerprints/{fingerprint_id}",
    "POST /spaces/{slug}/orchestration/fingerprints/{fingerprint_id}/merge",
    "POST /spaces/{slug}/orchestration/fingerprints/{fingerprint_id}/split",
    "PUT /spaces/{slug}/orchestration/fingerprints/{fingerprint_id}/runbook",
    "POST /spaces/{slug}/orchestration/fingerprints/{fingerprint_id}/clear",
    "GET /spaces/{slug}/orchestration/fingerprints/{fingerprint_id}/clear/{bulk_clear_id}",
    "GET /spaces/{slug}/incidents",
    "GET /spaces/{slug}/incidents/{incident_id}",
    "POST /spaces/{slug}/incidents/acknowledge",
    *(
        f"POST /spaces/{{slug}}/incidents/{{incident_id}}/{verb}"
        for verb in ("acknowledge", "assign", "resolve", "snooze")
    ),
    "POST /spaces/{slug}/orchestration/syncs/{sync_id}/cancel",
    "POST /catalog/spaces/{slug}/connectors/{connector_id}/accept",
}
"""What the contract does not list and a later decision added."""
MORE_SHAPES = {
    "ConnectorTest": {"success", "message", "latency_ms", "provider_version", "api_version", "hints"},
    "Me": {"id", "email", "name", "is_superadmin", "spaces"},
    "Space": {"id", "slug", "name"},
    "Member": {"user_id", "role"},
    "Team": {"id", "name"},
    "User": {"id", "email", "name"},
    "ApiKey": {"id", "name"},
    "NewApiKey": {"id", "name", "full_key"},
}
ROWS = FIXED + AROUND
EVERY_ROW = pytest.mark.parametrize("row", ROWS, ids=str)


@pytest.fixture
def _airflow(app: FastAPI, process: AppContext) -> None:
    install(app, process)


def caller_for(row: Row, tenants: TwoTenants) -> str:
    """Comments and keys are the viewer's own; all else a superadmin may."""
    return tenants.keys["viewer" if "/comments/" in row.path or "key_id" in row.path else "superadmin"]


def test_documented_operations_equal_contract_tables(bare_app: FastAPI) -> None:
    assert {f"{method} {path}" for method, path in documented(bare_app)} == {str(row) for row in ROWS} | OURS


def test_contract_schemas_have_expected_field_counts() -> None:
    assert {name: len(keys) for name, keys in SHAPES.items()} == {
        "Pipeline": 31, "RunSummary": 7, "Run": 28, "TaskRun": 20, "Comment": 10, "SyncRun": 15, "Connector": 11,
    }  # fmt: skip


@pytest.mark.usefixtures("_airflow")
@EVERY_ROW
async def test_every_contract_row_matches_its_schema(
    client: ValidatingClient, two_tenants_full: TwoTenants, key_ids: dict[str, UUID], row: Row
) -> None:
    tenants = two_tenants_full
    path = row.path.format(slug="finance", **ids_of(tenants, tenants.finance, key_ids))
    sent = {} if row.body is None else {"json": row.body}
    response = await client.as_(caller_for(row, tenants), row.method, path, **sent)
    assert response.status_code == row.status, response.text
    if not row.shape:
        assert not response.content
        return
    is_list = row.shape.startswith("[")
    name = row.shape.strip("[]")
    expected = SHAPES.get(name) or MORE_SHAPES[name]
    if not row.is_of_one and name in {"Pipeline", "Run"}:
        expected = expected - ONLY_OF_ONE
    body = response.json()
    assert isinstance(body, list) == is_list, "lists are bare arrays"
    for item in body if is_list else [body]:
        assert set(item) >= expected, expected - set(item)
    if is_list:
        assert body, "the world has at least one of everything"
        for header in ("X-Total-Count", "X-Page", "X-Page-Size", "X-Total-Pages", "Link", "ETag"):
            assert header in response.headers
    assert not {"credentials", "password", "key_hash"} & set(body[0] if is_list else body)
    assert (row.method == "GET") == ("ETag" in response.headers)


ADDED = {
    f"/spaces/{{slug}}/orchestration{path}": names
    for path, names in {
        "/pipelines": {"tag", "is_paused", "has_import_errors", "overdue", "never_succeeded"},
        "/pipelines/{pipeline_id}/runs": {"cursor", "ended_from", "ended_to"},
        "/runs": {"cursor", "ended_from", "ended_to", "tag", "is_paused", "has_import_errors", "overdue"},
    }.items()
}
"""What a client may send beside what the contract names; who does not know of it loses nothing."""


@EVERY_ROW
def test_every_contract_row_has_its_query_parameters(bare_app: FastAPI, row: Row) -> None:
    has = parameters(documented(bare_app)[row.method, row.path], "query")
    if row.parameters:
        assert set(has) - ADDED.get(row.path, set()) == set(row.parameters.split())
    assert bool({"page", "size"} & set(has)) == row.shape.startswith("[")


@pytest.mark.parametrize("row", [row for row in ROWS if row.shape.startswith("[")], ids=str)
async def test_every_list_has_page_sizes_of_contract(
    client: ValidatingClient, tenants: TwoTenants, key_ids: dict[str, UUID], row: Row
) -> None:
    is_large = row.shape in {"[Pipeline]", "[Run]"}
    path = row.path.format(slug="finance", **ids_of(tenants, tenants.finance, key_ids))
    for query, size in (("", 100 if is_large else 20), ("?size=1000000", 500 if is_large else 100), ("?size=1", 1)):
        response = await client.as_(caller_for(row, tenants), "GET", path + query)
        assert response.headers["X-Page-Size"] == str(size)
    for query in ("?size=0", "?page=0", "?size=x"):
        assert (await client.as_(caller_for(row, tenants), "GET", path + query)).status_code == 422
    beyond = await client.as_(caller_for(row, tenants), "GET", path + "?page=99999")
    first = await client.as_(caller_for(row, tenants), "GET", path)
    assert beyond.json() == []
    assert beyond.headers["X-Total-Count"] == first.headers["X-Total-Count"]


@pytest.mark.parametrize("row", [row for row in ROWS if row.method == "GET"], ids=str)
async def test_every_get_with_current_etag_is_304(
    client: ValidatingClient, tenants: TwoTenants, key_ids: dict[str, UUID], row: Row
) -> None:
    path = row.path.format(slug="finance", **ids_of(tenants, tenants.finance, key_ids))
    first = await client.as_(caller_for(row, tenants), "GET", path)
    headers = {"If-None-Match": first.headers["ETag"]}
    assert (await client.as_(caller_for(row, tenants), "GET", path, headers=headers)).status_code == 304


@pytest.mark.parametrize("row", [row for row in ROWS if row.body], ids=str)
async def test_every_body_rejects_unknown_keys(
    client: ValidatingClient, tenants: TwoTenants, key_ids: dict[str, UUID], row: Row
) -> None:
    path = row.path.format(slug="finance", **ids_of(tenants, tenants.finance, key_ids))
    response = await client.as_(caller_for(row, tenants), row.method, path, json={**row.body, "unheard_of": 1})
    assert response.status_code == 422
    assert response.json()["detail"][0]["loc"][-1] == "unheard_of"
