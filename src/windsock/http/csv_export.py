"""Lists as CSV (RFC 4180): streamed batch by batch, and safe to open in a spreadsheet."""

import csv
import io
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from fastapi.responses import StreamingResponse

from windsock.http.etag import CACHE_CONTROL_HEADERS
from windsock.http.media_types import CSV

BATCH_SIZE = 500
"""Rows in memory at a time."""
FORMULA_STARTS = (
    "=", "+", "-", "@", "\N{FULLWIDTH EQUALS SIGN}", "\N{FULLWIDTH PLUS SIGN}", "\N{FULLWIDTH HYPHEN-MINUS}",
    "\N{FULLWIDTH COMMERCIAL AT}",
)  # fmt: skip
CONTROL_STARTS = ("\t", "\r", "\n")

CSV_CONTENT: dict[str, Any] = {
    CSV: {"schema": {"type": "string"}, "example": "id,status\r\n01a22d56-459a-7aba-be17-ab58100e6c90,failed\r\n"}
}
"""For the OpenAPI document."""

Columns = Mapping[str, Callable[[Mapping[str, Any]], object]]
"""Header and value of each column."""


def cell(value: object) -> object:
    """Return the text of a value. Text that a spreadsheet would execute as a formula gets an apostrophe in front."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, int | float):
        return value
    text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    if text.startswith(CONTROL_STARTS) or text.lstrip().startswith(FORMULA_STARTS):
        return f"'{text}"
    return text


async def csv_response(
    columns: Columns,
    batches: AsyncIterator[Sequence[Mapping[str, Any]]],
    filename: str,
    headers: Mapping[str, str] | None = None,
) -> StreamingResponse:
    """Stream the rows as a download. Reads the first batch at once, so that its errors still become responses."""
    first = await anext(batches, None) or ()  # Python 3.11 cannot return a tuple as the default

    async def lines() -> AsyncIterator[bytes]:
        yield _write([list(columns)])
        yield _write([[cell(read(row)) for read in columns.values()] for row in first])
        async for batch in batches:
            yield _write([[cell(read(row)) for read in columns.values()] for row in batch])

    disposition = {"Content-Disposition": f'attachment; filename="{filename}"'}
    return StreamingResponse(lines(), 200, {**(headers or {}), **disposition}, f"{CSV}; charset=utf-8")


def api_headers(etag: str | None) -> dict[str, str]:
    return {**CACHE_CONTROL_HEADERS, **({"ETag": etag} if etag else {})}


def _write(rows: Sequence[Sequence[object]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue().encode(errors="replace")
