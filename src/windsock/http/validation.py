"""Validation of requests: types of values and bodies, query parameters, Content-Type."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from email.message import Message
from math import isfinite
from typing import Annotated, Any, get_args, get_origin

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

from windsock.errors import UnsupportedMediaType

MAX_JSON_DEPTH = 32
"""Levels of nesting accepted in a JSON body; nobody's configuration is deeper."""
TOO_DEEP = f"must not be nested deeper than {MAX_JSON_DEPTH} levels"
TOO_LARGE = "must not contain whole numbers beyond 64 bits"


def check_storable(text: str) -> str:
    if "\x00" in text:
        raise ValueError("must not contain the character U+0000")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("must not contain half of a surrogate pair")
    return text


def _storable_throughout(value: Any, depth: int = 0) -> None:  # noqa: ANN401 - any JSON
    if depth > MAX_JSON_DEPTH:
        raise ValueError(TOO_DEEP)
    if isinstance(value, str):
        check_storable(value)
    elif isinstance(value, int) and not -(2**63) <= value < 2**64:
        raise ValueError(TOO_LARGE)
    elif isinstance(value, float) and not isfinite(value):
        raise ValueError("must not contain NaN or Infinity, which are no JSON")
    elif isinstance(value, dict):
        for key, inner in value.items():
            _storable_throughout(key, depth + 1)
            _storable_throughout(inner, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            _storable_throughout(inner, depth + 1)


def parse_json(text: str | bytes) -> Any:  # noqa: ANN401 - any JSON
    """Parse JSON from a form or a command as the API parses a body.

    Raises ValueError for what is not JSON, and for what a body may not hold. orjson would turn whole numbers beyond
    64 bits into floats, and another number than the given one would be sent.
    """
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError(TOO_DEEP) from None
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise
    except ValueError:  # more digits than Python converts
        raise ValueError(TOO_LARGE) from None
    _storable_throughout(value)
    return value


def is_storable(value: object) -> bool:
    """Whether a body may hold this JSON."""
    try:
        _storable_throughout(value)
    except ValueError:
        return False
    return True


class RequestBody(BaseModel):
    """A request body: an unknown key is refused, since it is a misunderstanding; so is text that cannot be stored."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _is_storable(cls, value: Any) -> Any:  # noqa: ANN401 - whatever the caller sent
        _storable_throughout(value)
        return value


NO_NUL = r"^[^\u0000]*$"
"""For schemas: what `check_storable` refuses, as far as a pattern can say it."""
StorableText = Annotated[str, AfterValidator(check_storable), Field(json_schema_extra={"pattern": NO_NUL})]
"""For parameters; bodies are checked as a whole."""


def _whole(value: object) -> object:
    """As JSON Schema has it: 30.0 is a whole number, and true is none."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int | None):
        raise ValueError("must be a whole number")  # noqa: TRY004 - pydantic tells of no other error
    return value


WHOLE = BeforeValidator(_whole)
"""Behind the limits of a whole number in a body: not true or "1"."""

StrictBool = Annotated[bool, Field(strict=True)]
"""true or false in a body; not 1, "yes" or "off"."""
NOT_BLANK = r"^[^\u0000]*[^\s\u0085\u0000][^\u0000]*$"
Name = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=200),
    Field(json_schema_extra={"pattern": NOT_BLANK}),
]
StateName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]{1,64}$")]
"""A lower-case word of the provider's, such as a state; never a closed list, since Airflow keeps adding some."""


def _with_offset(value: object) -> object:
    """RFC 3339 as datetime reads it; a number, a bare date or a time without an offset would be guessed."""
    if isinstance(value, datetime) or value is None:
        return value
    try:
        time = datetime.fromisoformat(value.upper()) if isinstance(value, str) else None
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise ValueError("must be a time with an offset, such as 2026-11-24T06:00:00Z; in an address + is written %2B")
    return time


AwareDatetime = Annotated[datetime, BeforeValidator(_with_offset)]
"""A time that says its offset."""


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


def request_validator(authenticate: Callable[[Request], Awaitable[object]]) -> Callable[..., Awaitable[None]]:
    """Return a dependency that raises what is wrong with the query or with the Content-Type of the body.

    Without a valid key it raises the error of `authenticate`. A misspelled filter that is ignored lists everything, and
    looks like a result.
    """

    async def validate_request(request: Request) -> None:
        route: APIRoute = request.scope["route"]
        problem = _query_errors(request, route) or await _wrong_content_type(request, route)
        if problem is not None:
            await authenticate(request)
            raise problem

    return validate_request


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
