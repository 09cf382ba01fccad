"""The OpenAPI document: what FastAPI knows of the routes, and the errors, headers and examples that it does not."""

import json
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from importlib.resources import files
from typing import Any

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute, iter_route_contexts

from windsock.http.openapi_texts import STATUS_TEXT, TAGS
from windsock.http.validation import NO_NUL

Json = dict[str, Any]
Permissions = AbstractSet[Any]

DESCRIPTION = """
Windsock mirrors the DAGs, runs and task runs of Apache Airflows into *spaces*, and adds what Airflow lacks: owning
teams, criticality, watching, comments, numbers over a window, and a trigger that is sent at most once.

**Who is asking.** `Authorization: Bearer <API key>`. A key acts as the user who made it. Roles in a space are viewer
(reads, watches, comments), editor (also team, criticality, trigger, sync, connectors) and admin (also members, teams,
deleting, the audit trail). A space that does not exist and one the caller is not a member of give the same 403; an
unknown id and one of another space the same 404.

**Values.** JSON in UTF-8, `snake_case`. Ids are UUIDs. Times are RFC 3339 in UTC ending in `Z`; in a request a time
must say its offset. Durations are seconds. Statuses and run types are Airflow's own words, which keep growing: never
treat them as a closed list. Unknown keys in a body are 422, and so are the character
U+0000, half of a surrogate pair, whole numbers beyond 64 bits, and nesting deeper than 32 levels.

**Lists** are bare arrays. `page` starts at 1; a `size` beyond the largest is capped. The headers `X-Total-Count`,
`X-Page`, `X-Page-Size`, `X-Total-Pages` and `Link` (RFC 8288) tell the rest. A page past the end is an empty array. A
filter given several times means any of them. A query parameter that an operation does not know is 422, which names the
nearest one; names that begin with `_` are ignored.

**Conditional reads.** Every GET carries an `ETag`; sent back as `If-None-Match`, it makes an answer that has not
changed a 304.

**Errors** are `{"detail": "a sentence"}`, for values that do not fit a list of `{"loc", "msg", "type"}` with 422.
What the orchestrator refused is relayed with its own status and words, and with the header `X-Provider`. Every answer
has an `X-Request-ID`, taken from the request when given, which is in the server's log too.
""".strip()

HEADERS: Json = {
    "X-Request-ID": {"description": "Finds the request in the server's log.", "schema": {"type": "string"}},
    "ETag": {"description": "Send it back in If-None-Match.", "schema": {"type": "string"}},
    "Retry-After": {"description": "Seconds to wait before asking again.", "schema": {"type": "string"}},
    "WWW-Authenticate": {"description": "Bearer", "schema": {"type": "string"}},
    "X-Provider": {"description": "Whose answer is relayed.", "schema": {"type": "string", "enum": ["airflow"]}},
}
SCHEMAS: Json = {
    "Error": {
        "type": "object",
        "required": ["detail"],
        "properties": {"detail": {"type": "string", "description": "A sentence that a person can act on."}},
    },
    "ValidationProblem": {
        "type": "object",
        "required": ["detail"],
        "properties": {
            "detail": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["loc", "msg", "type"],
                    "properties": {
                        "loc": {
                            "type": "array",
                            "description": "Where: query, path, header or body, then the names.",
                            "items": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
                        },
                        "msg": {"type": "string", "description": "What is wrong with it."},
                        "type": {"type": "string", "description": "Of which kind it is."},
                    },
                },
            }
        },
    },
}
ERROR_RESPONSES: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "400": ("The body cannot be read, or the thing is not of the kind that this needs.", "Error", ()),
    "401": ("No API key, or one that is unknown, expired or revoked.", "Error", ("WWW-Authenticate",)),
    "403": ("No such space for this caller, or not the right; the sentence names it.", "Error", ()),
    "404": ("Unknown, or of another space.", "Error", ()),
    "408": ("The body did not arrive in time.", "Error", ()),
    "409": ("It contradicts what is there, or that was changed at the same moment.", "Error", ()),
    "413": ("The body is too large.", "Error", ()),
    "415": ("The body is not JSON by its Content-Type.", "Error", ()),
    "422": ("A value does not fit; nothing was changed.", "ValidationProblem", ()),
    "503": ("The database cannot be reached. Nothing was changed.", "Error", ("Retry-After",)),
}
API_KEY: Json = {"type": "http", "description": "An API key: `Authorization: Bearer wsk_…`", "scheme": "bearer"}
NOT_CHANGED = "304"
RELAYS_PROVIDER_ERRORS = "x-relays"
"""Marks operations (openapi_extra) whose errors may be the provider's own."""


def describe(app: FastAPI, *, permissions: Permissions, require_caller: Callable[..., Any]) -> Json:
    """Return the OpenAPI document. `permissions`: what checks the caller; `require_caller`: what any key satisfies."""
    document = get_openapi(
        title=app.title,
        version=app.version,
        summary=app.summary,
        description=DESCRIPTION,
        routes=app.routes,
        tags=[{"name": name, "description": text} for name, text in TAGS.items()],
        separate_input_output_schemas=False,
    )
    examples = json.loads(files("windsock.http").joinpath("openapi_examples.json").read_text(encoding="utf-8"))
    rights = {
        (method, context.path): _required_permissions(context.dependant, permissions)
        for context in iter_route_contexts(app.routes)
        if isinstance(context.route, APIRoute)
        for method in context.methods or ()
    }
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            _normalize_parameters(path, operation)
            if required := rights[method.upper(), path]:
                operation["security"] = [{"ApiKey": []}]
                needs_role = required != {require_caller}
                _add_errors(path, method, operation, document, examples["errors"], needs_role=needs_role)
            _add_headers(method, operation)
            _add_examples(operation, examples["operations"].get(f"{method.upper()} {path}", {}))
    schemas = document["components"]["schemas"]
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    schemas |= SCHEMAS
    for name in _sent(document):
        _refuse_nul(schemas[name])
    document["components"]["schemas"] = dict(sorted(schemas.items()))
    document["components"] |= {"headers": HEADERS, "securitySchemes": {"ApiKey": API_KEY}}
    return document


def _sent(document: Json) -> set[str]:
    """Return the schemas of request and response bodies."""
    bodies = [
        operation["requestBody"]
        for methods in document["paths"].values()
        for operation in methods.values()
        if "requestBody" in operation
    ]
    found: set[str] = set()
    while names := {name for body in bodies for name in _references(body)} - found:
        found |= names
        bodies = [document["components"]["schemas"][name] for name in names]
    return found


def _references(schema: object) -> set[str]:
    if isinstance(schema, list):
        return set().union(*map(_references, schema))
    if not isinstance(schema, dict):
        return set()
    own = {schema["$ref"].rsplit("/", 1)[-1]} if isinstance(schema.get("$ref"), str) else set()
    return own.union(*map(_references, schema.values()))


def _refuse_nul(schema: object) -> None:
    """PostgreSQL cannot store U+0000; a pattern says so where no other one or a format does."""
    if isinstance(schema, list):
        for inner in schema:
            _refuse_nul(inner)
    elif isinstance(schema, dict):
        is_free = schema.get("type") == "string" and not {"pattern", "enum", "const"} & schema.keys()
        if is_free and schema.get("format") not in {"uuid", "date-time"}:
            schema["pattern"] = NO_NUL
        for inner in schema.values():
            _refuse_nul(inner)


def _required_permissions(dependant: Dependant, permissions: Permissions) -> set[Any]:
    below = [_required_permissions(inner, permissions) for inner in dependant.dependencies]
    return ({dependant.call} & permissions).union(*below)


def _normalize_parameters(path: str, operation: Json) -> None:
    """In the order of the path; one that may be left out cannot be null; what describes it need not be said twice."""
    if "parameters" in operation:
        operation["parameters"].sort(key=lambda item: (item["in"] != "path", path.find(f"{{{item['name']}}}")))
    for parameter in operation.get("parameters", []):
        schema = parameter["schema"]
        types = [item for item in schema.get("anyOf", []) if item.get("type") != "null"]
        if len(types) == 1:
            schema = {**types[0], **{key: value for key, value in schema.items() if key != "anyOf"}}
        parameter["schema"] = {key: value for key, value in schema.items() if key not in {"title", "description"}}
        if parameter["name"] == "slug":
            parameter["description"] = "The space's short name."


def _add_errors(path: str, method: str, operation: Json, document: Json, examples: Json, *, needs_role: bool) -> None:
    writes = method != "get"
    possible = {"401", "422", "503", *(status for status in operation["responses"] if status in ERROR_RESPONSES)}
    if needs_role:
        possible.add("403")
    if "_id}" in path or _has_reference(operation, document):
        possible.add("404")
    if writes:
        possible |= {"408", "409", "413"}
    if "requestBody" in operation:
        possible |= {"400", "415"}
    for status in sorted(possible):
        description, schema, headers = ERROR_RESPONSES[status]
        response: Json = {
            "description": operation["responses"].get(status, {}).get("x-why", description),
            "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}},
            "headers": {name: _header(name) for name in headers},
        }
        if status in examples:
            response["content"]["application/json"]["example"] = examples[status]
        operation["responses"][status] = response
    if operation.pop(RELAYS_PROVIDER_ERRORS, False):
        _add_relayed(operation)


def _add_relayed(operation: Json) -> None:
    """The provider's own errors have a text as their detail, also with 422."""
    error = {"$ref": "#/components/schemas/Error"}
    for status, response in operation["responses"].items():
        if status in {"400", "401", "403", "404", "409", "422"}:
            response["headers"]["X-Provider"] = _header("X-Provider")
            response["description"] += " With X-Provider: what the provider said."
    problem = operation["responses"]["422"]["content"]["application/json"]
    problem["schema"] = {"anyOf": [problem["schema"], error]}
    for status, description in {
        "502": "The provider cannot be reached; the sentence names the connector, and says whether a run may exist.",
        "504": "The provider did not answer in time; the sentence says the same.",
        "default": "Any other status is the provider's own, with its words.",
    }.items():
        operation["responses"][status] = {
            "description": description,
            "content": {"application/json": {"schema": error}},
            "headers": {"X-Provider": _header("X-Provider")},
        }


def _has_reference(operation: Json, document: Json) -> bool:
    """Whether the body names a thing of the space by its id."""
    schema = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    name = schema.get("$ref", "").rsplit("/", 1)[-1]
    properties = document["components"]["schemas"].get(name, {}).get("properties", {})
    return bool({"team_id", "parent_id", "team_ids", "connector_ids", "channel_ids"} & set(properties))


def _add_headers(method: str, operation: Json) -> None:
    is_conditional = method == "get" and "security" in operation
    if is_conditional:
        operation["responses"][NOT_CHANGED] = {"description": "Not changed since the ETag in If-None-Match."}
        operation.setdefault("parameters", []).append(
            {
                "name": "If-None-Match",
                "in": "header",
                "required": False,
                "description": "The ETag of an earlier answer.",
                "schema": {"type": "string"},
            }
        )
    for status, response in operation["responses"].items():
        if response["description"] == "Successful Response":
            response["description"] = STATUS_TEXT[status]
        headers = response.setdefault("headers", {})
        if is_conditional and status in {"200", NOT_CHANGED}:
            headers["ETag"] = _header("ETag")
        headers["X-Request-ID"] = _header("X-Request-ID")
    operation["responses"] = dict(sorted(operation["responses"].items()))


def _add_examples(operation: Json, example: Json) -> None:
    if "request" in example and "requestBody" in operation:
        operation["requestBody"]["content"]["application/json"]["example"] = example["request"]
    if "answer" in example:
        recorded = min(operation["responses"][example["status"]]["content"].items())[1]
        for status, response in operation["responses"].items():
            for media in response.get("content", {}).values() if status.startswith("2") else ():
                if media is recorded or media.get("schema") == recorded.get("schema"):
                    media["example"] = example["answer"]


def _header(name: str) -> Json:
    return {"$ref": f"#/components/headers/{name}"}
