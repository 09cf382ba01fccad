"""How psycopg writes and reads JSON: with orjson, or unparsed for responses."""

import json
from typing import Any

import orjson
import psycopg
from psycopg.abc import Buffer
from psycopg.adapt import Loader
from psycopg.pq import Format
from psycopg.types.json import set_json_dumps, set_json_loads
from psycopg.types.string import ByteaBinaryLoader


def dump_json(value: object) -> bytes:
    """Serialise with orjson, or, beyond its limit of 254 levels, with the standard library: providers send deeper JSON.

    Raises RecursionError beyond the standard library's limit (about a thousand levels).
    """
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError as error:
        if "Recursion limit" not in str(error):
            raise
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_as_json).encode()


def _as_json(value: object) -> object:
    """Serialise a time or an id, which the standard library cannot."""
    return orjson.loads(orjson.dumps(value))


set_json_dumps(dump_json)
set_json_loads(orjson.loads)


class RawJsonbLoader(Loader):
    """Returns jsonb as bytes. In binary format a version byte precedes the text."""

    format = Format.BINARY

    def load(self, data: Buffer) -> bytes:
        return bytes(data)[1:]


def return_raw_json(cursor: psycopg.AsyncCursor[Any]) -> None:
    """Make a binary cursor return JSON columns as bytes."""
    cursor.adapters.register_loader("json", ByteaBinaryLoader)
    cursor.adapters.register_loader("jsonb", RawJsonbLoader)
