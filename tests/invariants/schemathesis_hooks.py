"""Loaded by schemathesis: requests that fit the schema must be accepted, except for the rules listed here.

Each exemption is a rule between fields, or with stored data, that JSON Schema cannot express, and that the OpenAPI
document states in words. It applies to the requests that it describes only, not to all of an operation.
"""

import re
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

import jsonschema_rs
import schemathesis
from schemathesis.openapi.checks import RejectedPositiveData

from windsock.http.validation import is_storable

Json = dict[str, Any]
BAD_REQUEST = 400
UNPROCESSABLE = 422


@dataclass(frozen=True, slots=True)
class RejectedRequest:
    """A request that fits the schema, and the error that answered it."""

    operation_id: str
    query: Mapping[str, Any]
    body: Any
    status: int
    detail: Any
    document: Json

    def body_fits(self, schema: str, key: str) -> bool:
        """Whether a key of the body fits a schema; a body without the key does."""
        if not isinstance(self.body, dict) or self.body.get(key) is None:
            return True
        described = {"$ref": f"#/components/schemas/{schema}", "components": self.document["components"]}
        return jsonschema_rs.is_valid(described, self.body[key])

    @property
    def error_types(self) -> set[str]:
        return {error["type"] for error in self.detail} if isinstance(self.detail, list) else set()


@dataclass(frozen=True, slots=True)
class Exemption:
    """A rule that JSON Schema cannot express. The OpenAPI document contains `statement`."""

    operations: AbstractSet[str]
    reason: str
    statement: str
    applies: Callable[[RejectedRequest], bool]


def _has_page_and_cursor(request: RejectedRequest) -> bool:
    return "cursor" in request.query and str(request.query.get("page", 1)) != "1"


def _is_no_airflow(request: RejectedRequest) -> bool:
    return request.status == BAD_REQUEST and request.detail == "Only Airflow connectors are supported."


def _fits_no_airflow(request: RejectedRequest) -> bool:
    return not (request.body_fits("AirflowConfigChange", "config") and request.body_fits("Credentials", "credentials"))


def _moves_without_credentials(request: RejectedRequest) -> bool:
    config = request.body.get("config") or {}
    return "base_url" in config and request.body.get("credentials") is None


def _has_secret_in_config(request: RejectedRequest) -> bool:
    return request.body.get("connector_type") != "airflow" and "secret_in_config" in request.error_types


def _has_special_host(request: RejectedRequest) -> bool:
    config = request.body.get("config") or {}
    urls = [config[key] for key in ("base_url", "web_url") if isinstance(config.get(key), str)]
    hosts = [re.split("[/?#]", url.partition("://")[2])[0] for url in urls]
    return any(host.startswith("[") or not host.isascii() for host in hosts)


def _lacks_reason(request: RejectedRequest) -> bool:
    errors = request.detail if isinstance(request.detail, list) else []
    return any("requires a reason" in error["msg"] for error in errors)


def _names_no_failure(request: RejectedRequest) -> bool:
    return not request.body.get("task_failure_ids") and not request.body.get("run_ids")


EXEMPTIONS = (
    Exemption(
        {"list_runs", "list_pipeline_runs", "list_incidents"},
        "OpenAPI cannot exclude one query parameter by another.",
        "Not together with page.",
        _has_page_and_cursor,
    ),
    Exemption(
        {"sync_connector", "sync_catalog_connector", "test_connector", "accept_held"},
        "Whether an id is that of an Airflow connector depends on stored data.",
        "400 for a connector that is not an Airflow.",
        _is_no_airflow,
    ),
    Exemption(
        {"update_connector"},
        "The type of the connector is stored data, and decides which schema applies.",
        "must fit the type of the connector",
        _fits_no_airflow,
    ),
    Exemption(
        {"update_connector"},
        "Whether base_url changes, and whether credentials are stored, depends on stored data.",
        "A new `base_url` needs the `credentials` again.",
        _moves_without_credentials,
    ),
    Exemption(
        {"create_connector", "update_connector"},
        "What looks like a secret is a matter of names and values together.",
        "value that looks like a secret is refused",
        _has_secret_in_config,
    ),
    Exemption(
        {"create_connector", "update_connector"},
        "The pattern of base_url only outlines IPv6 addresses and internationalized host names.",
        "IPv6 addresses and internationalized host names must be valid.",
        _has_special_host,
    ),
    Exemption(
        {
            "trigger_pipeline",
            "clear_run",
            "clear_task_run",
            "clear_fingerprint",
            "mark_run",
            "mark_task_run",
            "update_paused",
            "respond_to_task_run",
        },
        "Whether a reason is required depends on a setting of the space and on the pipeline.",
        "A space can require it for pipelines of high or critical criticality.",
        _lacks_reason,
    ),
    Exemption(
        {"acknowledge_incident", "acknowledge_incidents", "snooze_incident"},
        "JSON Schema knows no present.",
        "A time in the future.",
        lambda request: request.error_types == {"value_error"},
    ),
    Exemption(
        {"assign_incident"},
        "Two keys of which at most one is possible.",
        "A member of the space, or a team, or neither.",
        lambda request: request.error_types == {"value_error"},
    ),
    Exemption(
        {"create_channel", "update_channel"},
        "The kind of the channel, which for a change is stored data, decides which schema applies.",
        "Depends on the kind; see the guide.",
        lambda request: request.status == UNPROCESSABLE,
    ),
    Exemption(
        {"create_rule", "update_rule", "preview_rule", "update_my_notifications"},
        "Names of time zones are a database, and the ends of quiet hours must differ.",
        "Of the IANA database.",
        lambda request: request.error_types == {"value_error"},
    ),
    Exemption(
        {"split_fingerprint"},
        "Two keys of which one is needed.",
        "Failures by their id, or all of these runs; at least one.",
        _names_no_failure,
    ),
    Exemption(
        {"create_connector", "update_connector", "trigger_pipeline", "respond_to_task_run"},
        "JSON Schema cannot limit the nesting, numbers and text of an object with arbitrary keys.",
        "whole numbers beyond 64 bits, and nesting deeper than 32 levels",
        lambda request: not is_storable(request.body),
    ),
)


def _is_exempt(case: schemathesis.Case[Any], response: schemathesis.Response) -> bool:
    definition = case.operation.definition.raw
    request = RejectedRequest(
        operation_id=definition["operationId"],
        query=case.query or {},
        body=case.body,
        status=response.status_code,
        detail=response.json()["detail"],
        document=case.operation.schema.raw_schema,
    )
    return any(request.operation_id in rule.operations and rule.applies(request) for rule in EXEMPTIONS)


@schemathesis.hook
def filter_failure(
    _context: schemathesis.HookContext,
    failure: Exception,
    case: schemathesis.Case[Any],
    response: schemathesis.Response,
) -> bool:
    """Whether schemathesis reports the failure."""
    return not (isinstance(failure, RejectedPositiveData) and _is_exempt(case, response))
