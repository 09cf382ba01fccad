"""Every operation of the API: who may call it, and a request that it accepts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from fastapi import FastAPI

from factories import Tenant, TwoTenants
from failure_rows import OTHER_FINGERPRINT, TASK_FAILURE
from incident_rows import INCIDENT

API = "/api/v1.0"
REFERENCE = {"docs", "docs/start.js", "docs/swagger-ui.css", "docs/swagger-ui-bundle.js", "docs/favicon.png"}
PUBLIC = {"/health", "/health/ready", "/metrics", f"{API}/openapi.json", *(f"{API}/{page}" for page in REFERENCE)}
"""What needs no key. Nothing joins this list without an entry in docs/decisions."""

PAGES_TO_SIGN_IN = {"/sign-in", "/sign-in/link", "/static/{name}", "/unsubscribe/{token}"}
"""Of the pages, what needs no session. What they change is that a session begins, for whom a key or a link says."""

ROLES = ("viewer", "editor", "admin", "superadmin")
SPACE_ROLES = ROLES[:3]


@dataclass(frozen=True)
class Operation:
    """`least`: a role in the space, superadmin, or caller (anybody with a key); `status`: what that one gets."""

    method: str
    path: str
    least: str
    status: int = 200
    body: Mapping[str, Any] | None = None
    takes_any_user: str = ""
    """Why an id that is not of this space is right here."""
    refused: tuple[str, ...] = ()
    """Whose role is enough, and who are refused since the thing is not theirs (it is the viewer's)."""

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def permitted_caller(self) -> str:
        """A caller who gets `status`."""
        return "viewer" if self.refused else "superadmin"

    @property
    def is_of_a_space(self) -> bool:
        return "{slug}" in self.path


_CONNECTORS = "/catalog/spaces/{slug}/connectors"
_ORCHESTRATION = "/spaces/{slug}/orchestration"
_COMMENT = _ORCHESTRATION + "/comments/{comment_id}"
_VIEWS = _ORCHESTRATION + "/views"
_TEAM = "/spaces/{slug}/teams/{team_id}"
_FINGERPRINT = _ORCHESTRATION + "/fingerprints/{fingerprint_id}"
_INCIDENT = "/spaces/{slug}/incidents/{incident_id}"
_NEW_CONNECTOR = {"name": "another", "connector_type": "airflow", "config": {"base_url": "http://127.0.0.1:9"}}

_NOTIFICATIONS = "/spaces/{slug}/notifications"
_CHANNEL, _RULE = _NOTIFICATIONS + "/channels/{channel_id}", _NOTIFICATIONS + "/rules/{rule_id}"
_NEW_CHANNEL = {"name": "another", "kind": "email", "config": {"to": ["data@example.com"]}}
NOTIFICATION_OPERATIONS = [
    Operation("GET", _NOTIFICATIONS + "/channels", "viewer"),
    Operation("POST", _NOTIFICATIONS + "/channels", "editor", 201, _NEW_CHANNEL),
    Operation("GET", _CHANNEL, "viewer"),
    Operation("PATCH", _CHANNEL, "editor", 200, {"name": "renamed"}),
    Operation("DELETE", _CHANNEL, "editor", 204),
    Operation("POST", _CHANNEL + "/test", "editor"),
    Operation("GET", _NOTIFICATIONS + "/rules", "viewer"),
    Operation("POST", _NOTIFICATIONS + "/rules", "editor", 201, {"name": "another", "to_watchers": True}),
    Operation("POST", _NOTIFICATIONS + "/rules/preview", "viewer", 200, {"name": "another", "to_watchers": True}),
    Operation("GET", _RULE, "viewer"),
    Operation("PATCH", _RULE, "editor", 200, {"name": "renamed"}),
    Operation("DELETE", _RULE, "editor", 204),
    Operation("GET", _NOTIFICATIONS + "/messages", "viewer"),
    Operation("POST", _NOTIFICATIONS + "/messages/{message_id}/resend", "editor", 202),
    Operation("GET", _ORCHESTRATION + "/pipelines/{pipeline_id}/recipients", "viewer"),
    Operation("GET", "/users/me/notifications", "caller"),
    Operation("PUT", "/users/me/notifications", "caller", 200, {"time_zone": "Europe/Berlin"}),
]

OPERATIONS = [
    Operation("GET", "/users/me", "caller"),
    Operation("GET", "/users", "superadmin"),
    Operation("POST", "/users", "superadmin", 201, {"email": "new@example.com", "name": "New"}),
    Operation(
        "PATCH",
        "/users/{user_id}",
        "superadmin",
        200,
        {"is_active": False},
        takes_any_user="users belong to no space",
    ),
    Operation("GET", "/api-keys/me/api-keys", "caller"),
    Operation("POST", "/api-keys/me/api-keys", "caller", 201, {"name": "another"}),
    Operation("DELETE", "/api-keys/me/api-keys/{key_id}", "caller", 204),
    Operation("GET", "/spaces", "caller"),
    Operation("POST", "/spaces", "superadmin", 201, {"slug": "sales", "name": "Sales"}),
    Operation("GET", "/spaces/{slug}", "viewer"),
    Operation("PATCH", "/spaces/{slug}", "admin", 200, {"name": "Renamed"}),
    Operation("DELETE", "/spaces/{slug}", "superadmin", 204),
    Operation("GET", "/spaces/{slug}/members", "viewer"),
    Operation(
        "PUT",
        "/spaces/{slug}/members/{user_id}",
        "admin",
        200,
        {"role": "editor"},
        takes_any_user="a person becomes a member by this very request",
    ),
    Operation("DELETE", "/spaces/{slug}/members/{user_id}", "admin", 204),
    Operation("GET", _CONNECTORS, "viewer"),
    Operation("POST", _CONNECTORS, "editor", 201, _NEW_CONNECTOR),
    Operation("GET", _CONNECTORS + "/{connector_id}", "viewer"),
    Operation("PATCH", _CONNECTORS + "/{connector_id}", "editor", 200, {"name": "renamed"}),
    Operation("DELETE", _CONNECTORS + "/{connector_id}", "admin", 204),
    Operation("POST", _CONNECTORS + "/{connector_id}/test", "editor"),
    Operation("POST", _CONNECTORS + "/{connector_id}/sync", "editor", 202),
    Operation("POST", _ORCHESTRATION + "/connectors/{connector_id}/sync", "editor", 202, {"is_full": True}),
    Operation("GET", _ORCHESTRATION + "/syncs/{sync_id}", "viewer"),
    Operation("POST", _ORCHESTRATION + "/syncs/{sync_id}/cancel", "editor"),
    Operation("POST", _CONNECTORS + "/{connector_id}/accept", "editor", 200, {"kind": "mass_loss"}),
    Operation("GET", "/catalog/spaces/{slug}/sync-history", "viewer"),
    Operation("GET", _ORCHESTRATION + "/import-errors", "viewer"),
    Operation("GET", _ORCHESTRATION + "/pipelines", "viewer"),
    Operation("GET", _ORCHESTRATION + "/pipelines/{pipeline_id}", "viewer"),
    Operation("GET", _ORCHESTRATION + "/pipelines/{pipeline_id}/runs", "viewer"),
    Operation("PATCH", _ORCHESTRATION + "/pipelines/{pipeline_id}/team", "editor", 200, {"team_id": None}),
    Operation("PATCH", _ORCHESTRATION + "/pipelines/{pipeline_id}/criticality", "editor", 200, {"criticality": "high"}),
    Operation("PUT", _ORCHESTRATION + "/pipelines/{pipeline_id}/watch", "viewer", 204),
    Operation("DELETE", _ORCHESTRATION + "/pipelines/{pipeline_id}/watch", "viewer", 204),
    Operation("POST", _ORCHESTRATION + "/pipelines/{pipeline_id}/trigger", "editor", 502, {"conf": {"day": "today"}}),
    Operation("PUT", _ORCHESTRATION + "/pipelines/{pipeline_id}/paused", "editor", 502, {"is_paused": True}),
    Operation("GET", _ORCHESTRATION + "/actions", "viewer"),
    Operation("GET", _ORCHESTRATION + "/approvals", "viewer"),
    Operation("POST", _ORCHESTRATION + "/runs/{run_id}/clear", "editor", 502, {"dry_run": False}),
    Operation("POST", _ORCHESTRATION + "/runs/{run_id}/mark", "editor", 502, {"status": "failed"}),
    Operation("PUT", _ORCHESTRATION + "/runs/{run_id}/note", "editor", 502, {"note": "known"}),
    Operation("POST", _ORCHESTRATION + "/task-runs/{task_run_id}/clear", "editor", 502, {"dry_run": False}),
    Operation("POST", _ORCHESTRATION + "/task-runs/{task_run_id}/mark", "editor", 502, {"status": "failed"}),
    Operation("PUT", _ORCHESTRATION + "/task-runs/{task_run_id}/note", "editor", 502, {"note": "known"}),
    Operation("POST", _ORCHESTRATION + "/task-runs/{task_run_id}/answer", "editor", 502, {"chosen_options": ["yes"]}),
    Operation("GET", _ORCHESTRATION + "/runs", "viewer"),
    Operation("GET", _ORCHESTRATION + "/runs/{run_id}", "viewer"),
    Operation("GET", _ORCHESTRATION + "/runs/{run_id}/task-runs", "viewer"),
    Operation("GET", _ORCHESTRATION + "/task-runs/{task_run_id}", "viewer"),
    Operation("GET", _ORCHESTRATION + "/task-runs/{task_run_id}/logs", "viewer", 502),
    Operation("GET", _ORCHESTRATION + "/task-runs/{task_run_id}/logs/stream", "viewer", 502),
    Operation("GET", _ORCHESTRATION + "/runs/{run_id}/comments", "viewer"),
    Operation("POST", _ORCHESTRATION + "/runs/{run_id}/comments", "viewer", 201, {"content": "I am on it"}),
    Operation("GET", _ORCHESTRATION + "/task-runs/{task_run_id}/comments", "viewer"),
    Operation("POST", _ORCHESTRATION + "/task-runs/{task_run_id}/comments", "viewer", 201, {"content": "I am on it"}),
    Operation("PUT", _COMMENT, "viewer", 200, {"content": "mended"}, refused=("editor", "admin", "superadmin")),
    Operation("PATCH", _COMMENT, "viewer", 200, {"content": "mended"}, refused=("editor", "admin", "superadmin")),
    Operation("DELETE", _COMMENT, "viewer", 204, refused=("editor",)),
    Operation("GET", _VIEWS, "viewer"),
    Operation("POST", _VIEWS, "editor", 201, {"name": "another", "query": "status=failed", "is_shared": True}),
    Operation("PATCH", _VIEWS + "/{view_id}", "viewer", 200, {"name": "renamed"}, refused=("editor",)),
    Operation("DELETE", _VIEWS + "/{view_id}", "viewer", 204, refused=("editor",)),
    Operation("GET", _ORCHESTRATION + "/fingerprints", "viewer"),
    Operation("GET", _FINGERPRINT, "viewer"),
    Operation("PATCH", _FINGERPRINT, "editor", 200, {"name": "Empty source"}),
    Operation("POST", _FINGERPRINT + "/merge", "editor", 200, {"into": str(OTHER_FINGERPRINT)}),
    Operation("POST", _FINGERPRINT + "/split", "editor", 201, {"task_failure_ids": [str(TASK_FAILURE)]}),
    Operation("PUT", _FINGERPRINT + "/runbook", "editor", 200, {"comment_id": None}),
    Operation("POST", _FINGERPRINT + "/clear", "editor", 202, {"reason": "The bank is back."}),
    Operation("GET", _FINGERPRINT + "/clear/{bulk_clear_id}", "viewer"),
    Operation("GET", "/spaces/{slug}/incidents", "viewer"),
    Operation("POST", "/spaces/{slug}/incidents/acknowledge", "editor", 200, {"ids": [str(INCIDENT)]}),
    Operation("GET", _INCIDENT, "viewer"),
    Operation("POST", _INCIDENT + "/acknowledge", "editor", 200, {"reason": "looking at it"}),
    Operation("POST", _INCIDENT + "/snooze", "editor", 200, {"until": "2099-01-01T00:00:00Z"}),
    Operation("POST", _INCIDENT + "/assign", "editor", 200, {"team_id": None}),
    Operation("POST", _INCIDENT + "/resolve", "editor", 200, {"reason": "mended"}),
    *NOTIFICATION_OPERATIONS,
    Operation("GET", "/spaces/{slug}/audit-events", "admin"),
    Operation("GET", "/spaces/{slug}/teams", "viewer"),
    Operation("POST", "/spaces/{slug}/teams", "admin", 201, {"name": "Another team"}),
    Operation("GET", _TEAM, "viewer"),
    Operation("PATCH", _TEAM, "admin", 200, {"name": "Renamed"}),
    Operation("DELETE", _TEAM, "admin", 204),
    Operation("PUT", _TEAM + "/members/{user_id}", "admin", 204),
    Operation("DELETE", _TEAM + "/members/{user_id}", "admin", 204),
]
GETS = [operation for operation in OPERATIONS if operation.method == "GET" and operation.status == 200]
"""Those that need no Airflow."""

REFERS_TO_NOTHING = {"source_system_id"}
"""UUIDs in a body that name nothing of ours: they are stored as they come."""


def ids_of(tenants: TwoTenants, space: Tenant, key_ids: Mapping[str, UUID]) -> dict[str, UUID]:
    """What each path parameter can be in this space; a new kind of thing is added here."""
    is_finance = space is tenants.finance
    return {
        "user_id": tenants.users["viewer" if is_finance else "stranger"],
        "key_id": key_ids["viewer" if is_finance else "stranger"],
        "connector_id": space.connector_id,
        "sync_id": space.sync_id,
        "pipeline_id": space.pipelines["daily_report"],
        "run_id": space.run_id,
        "task_run_id": space.task_run_id,
        "task_run_ids": space.task_run_id,
        "team_id": space.team_id,
        "comment_id": space.comment_id,
        "view_id": space.view_id,
        "parent_id": space.comment_id,
        "fingerprint_id": space.fingerprint_id,
        "bulk_clear_id": space.bulk_clear_id,
        "incident_id": space.incident_id,
        "ids": space.incident_id,
        "held_back_by_id": space.incident_id,
        "channel_id": space.channel_id,
        "channel_ids": space.channel_id,
        "rule_id": space.rule_id,
        "message_id": space.message_id,
        "team_ids": space.team_id,
        "connector_ids": space.connector_id,
        "assignee_id": tenants.users["viewer" if is_finance else "stranger"],
        "into": space.other_fingerprint_id,
        "task_failure_ids": space.task_failure_id,
        "run_ids": space.run_id,
        "actor_id": tenants.users["viewer" if is_finance else "stranger"],
        "target_id": space.comment_id,
    }


def is_page(path: str) -> bool:
    """For people: neither the API nor one of the public addresses."""
    return not path.startswith("/api/") and path not in PUBLIC


def documented(app: FastAPI) -> dict[tuple[str, str], dict[str, Any]]:
    """The operations of the OpenAPI document by method and path below /api/v1.0, without the public ones."""
    return {
        (method.upper(), path.removeprefix(API)): operation
        for path, methods in app.openapi()["paths"].items()
        if path not in PUBLIC
        for method, operation in methods.items()
    }


def parameters(operation: Mapping[str, Any], place: str) -> dict[str, dict[str, Any]]:
    """The schemas of an operation's `path` or `query` parameters."""
    return {row["name"]: row["schema"] for row in operation.get("parameters", []) if row["in"] == place}


def body_schema(app: FastAPI, operation: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON schema of an operation's body, references followed; {} without a body."""
    content = operation.get("requestBody", {}).get("content", {})
    schema: dict[str, Any] = content.get("application/json", {}).get("schema", {})
    return resolved(app, schema)


def resolved(app: FastAPI, schema: dict[str, Any]) -> dict[str, Any]:
    for inner in (schema, *schema.get("anyOf", [])):
        if "$ref" in inner:
            found: dict[str, Any] = app.openapi()["components"]["schemas"][inner["$ref"].rsplit("/", 1)[1]]
            return found
    return schema


def is_uuid(schema: Mapping[str, Any]) -> bool:
    """A UUID, perhaps null, perhaps several."""
    inner = [schema, *schema.get("anyOf", [])]
    return any(item.get("format") == "uuid" or item.get("items", {}).get("format") == "uuid" for item in inner)
