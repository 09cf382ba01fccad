"""Input types: bodies without unknown keys, text that PostgreSQL can store."""

import json
from datetime import datetime
from math import isfinite
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

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
"""For schemas: what `storable` refuses, as far as a pattern can say it."""
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
