"""Checks of API requests that FastAPI does not make: unknown or repeated query parameters, bodies that are not JSON."""

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from email.message import Message
from typing import Annotated, Any, get_args, get_origin

from fastapi import Depends, Request
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute

from windsock.access.space import authenticate
from windsock.errors import UnsupportedMediaType

IGNORED_PREFIX = "_"
"""Parameters whose names begin so are ignored: programs add them against caches and for traces."""
MAX_ERRORS = 20
MAX_NAME_CHARACTERS = 100
"""Of an unknown name, in an error."""
CHARSETS = {"utf-8", "utf8", "us-ascii", "ascii"}


@dataclass(frozen=True, slots=True)
class QueryParameters:
    """The names that an operation knows; `repeatable` are those that take several values."""

    names: frozenset[str]
    repeatable: frozenset[str]

    @classmethod
    def of_route(cls, dependant: Dependant) -> "QueryParameters":
        fields = list(_query_fields(dependant))
        several = frozenset(name for name, annotation in fields if _takes_several(annotation))
        return cls(frozenset(name for name, _ in fields), several)


async def validate_request(request: Request) -> None:
    """Raise what is wrong with the query or with the Content-Type of the body; 401 first, where there is no valid key.

    A misspelled filter that is ignored lists everything, and looks like an answer.
    """
    route: APIRoute = request.scope["route"]
    problem = _query_errors(request, route) or await _wrong_content_type(request, route)
    if problem is not None:
        await authenticate(request)
        raise problem


ValidatesRequest: Any = Depends(validate_request)
"""For `include_router(…, dependencies=[…])`."""

_parameters: dict[Callable[..., Any], QueryParameters] = {}


def query_parameters(route: APIRoute) -> QueryParameters:
    """Return the query parameters of a route, cached by its function: as many as there are routes."""
    known = _parameters.get(route.endpoint)
    if known is None:
        known = _parameters[route.endpoint] = QueryParameters.of_route(route.dependant)
    return known


def _query_fields(dependant: Dependant) -> list[tuple[str, Any]]:
    fields = [(field.alias, field.field_info.annotation) for field in dependant.query_params]
    return fields + [field for inner in dependant.dependencies for field in _query_fields(inner)]


def _takes_several(annotation: Any) -> bool:  # noqa: ANN401 - a type
    if get_origin(annotation) is Annotated:
        return _takes_several(get_args(annotation)[0])
    return get_origin(annotation) is list or any(map(_takes_several, get_args(annotation)))


def _query_errors(request: Request, route: APIRoute) -> RequestValidationError | None:
    if not request.scope["query_string"]:
        return None
    known, errors, seen = query_parameters(route), [], set()
    for name, _ in request.query_params.multi_items():
        if name in known.repeatable or name.startswith(IGNORED_PREFIX):
            continue
        if name not in known.names:
            errors.append(_error(name, "unknown_parameter", _unknown(name, known.names)))
        elif name in seen:
            errors.append(_error(name, "repeated_parameter", f"{name} takes one value and was sent several times."))
        seen.add(name)
        if len(errors) == MAX_ERRORS:
            break
    return RequestValidationError(errors) if errors else None


def _unknown(name: str, known: frozenset[str]) -> str:
    short = name[:MAX_NAME_CHARACTERS]
    nearest = get_close_matches(short.lower(), sorted(known), n=1)
    if nearest:
        return f"There is no parameter {short!r} here. Did you mean {nearest[0]}?"
    if known:
        return f"There is no parameter {short!r} here. There are: {', '.join(sorted(known))}."
    return f"There is no parameter {short!r} here: this operation takes none."


def _error(name: str, kind: str, sentence: str) -> dict[str, Any]:
    return {"loc": ("query", name[:MAX_NAME_CHARACTERS]), "msg": sentence, "type": kind}


async def _wrong_content_type(request: Request, route: APIRoute) -> UnsupportedMediaType | None:
    if route.body_field is None or not await request.body():
        return None
    header = request.headers.get("content-type")
    if header is None:
        return UnsupportedMediaType("The body needs the header Content-Type: application/json.")
    media_type = Message()
    media_type["content-type"] = header
    subtype = media_type.get_content_subtype()
    is_json = media_type.get_content_maintype() == "application" and (subtype == "json" or subtype.endswith("+json"))
    if not is_json:
        return UnsupportedMediaType(
            "The body must be JSON with the header Content-Type: application/json, not "
            f"{header[:MAX_NAME_CHARACTERS]!r}."
        )
    charset = str(media_type.get_param("charset", "utf-8"))
    if charset.strip().lower() not in CHARSETS:
        return UnsupportedMediaType(
            "JSON must be in UTF-8: send the header Content-Type: application/json without another charset."
        )
    return None
