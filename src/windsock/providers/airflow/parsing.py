"""Reads typed values out of Airflow's JSON, and cleans what PostgreSQL could not store."""

import json
from collections.abc import Collection
from datetime import UTC, datetime
from math import isfinite
from typing import Any

from windsock.errors import ProviderBadResponse
from windsock.providers.base import Json

_SMALLEST, _LARGEST = -(2**63), 2**64 - 1


def decode(body: bytes) -> Any:  # noqa: ANN401 - JSON may be anything
    """The JSON in `body`, cleaned. Raises ValueError or RecursionError when it is none.

    Airflow writes NaN and Infinity into conf, which is no JSON and which jsonb refuses: they become text.
    """
    return _clean(json.loads(body, parse_constant=str))


def _clean(value: object) -> object:
    """Without U+0000 and lone surrogates (PostgreSQL refuses both) and without numbers that JSON writers refuse.

    With loops in place of comprehensions, which would take a second frame of the stack per level of nesting.
    """
    if isinstance(value, str):
        return _clean_text(value)
    if isinstance(value, dict):
        clean: Json = {}
        for name, item in value.items():
            clean[_clean_text(name)] = _clean(item)
        return clean
    if isinstance(value, list):
        items = []
        for item in value:
            items.append(_clean(item))  # noqa: PERF401 - see above
        return items
    if isinstance(value, float):
        return value if isfinite(value) else str(value)
    if isinstance(value, int) and not _SMALLEST <= value <= _LARGEST:
        return str(value)
    return value


def _clean_text(value: str) -> str:
    if value.isascii():
        return value.replace("\0", "\ufffd") if "\0" in value else value
    return value.replace("\0", "\ufffd").encode("utf-8", "surrogatepass").decode("utf-8", "replace")


def identity(raw: Json, name: str, what: str) -> str:
    """The value that names the row; a row without it is no row of this API."""
    value = raw.get(name)
    if not isinstance(value, str) or not value:
        raise ProviderBadResponse(f"Airflow gave a {what} without its {name}.")
    return value


def text(value: object) -> str | None:
    return value if value is None or isinstance(value, str) else str(value)


def str_list(value: object) -> list[str]:
    return [str(item) for item in value if item is not None] if isinstance(value, list) else []


def parse_int(value: object, default: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return default
    try:
        return int(value)
    except ValueError:
        return default


def parse_datetime(raw: Json, name: str) -> datetime | None:
    """A time in UTC. One without an offset is taken for UTC, in which Airflow stores; one that is none raises."""
    value = raw.get(name)
    if value is None:
        return None
    try:
        parsed = datetime.fromisoformat(value)
        return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        pass
    raise ProviderBadResponse(f"Airflow gave a {name} that is not a time.")


def format_datetime(time: datetime) -> str:
    """RFC 3339 with `Z`: in `+00:00` the plus would have to be escaped, and a naive time is a 500 on 3.3.2."""
    return time.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"


def between(field: str, start: datetime | None, end: datetime | None) -> dict[str, str]:
    """The filters of both APIs for `field` from `start` to `end`, both included; None is open."""
    bounds = {f"{field}_gte": start, f"{field}_lte": end}
    return {name: format_datetime(time) for name, time in bounds.items() if time is not None}


def mapping(value: object) -> Json:
    return value if isinstance(value, dict) else {}


def tag_names(raw: Json) -> list[str]:
    tags = raw.get("tags")
    names = [tag.get("name") if isinstance(tag, dict) else tag for tag in tags] if isinstance(tags, list) else []
    return sorted({str(name) for name in names if name is not None})


def omit_keys(raw: Json, names: Collection[str]) -> Json:
    return {name: value for name, value in raw.items() if name not in names}
