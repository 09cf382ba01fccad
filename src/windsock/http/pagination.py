"""Pagination of lists: page parameters and cursors."""

import struct
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Query

from windsock.errors import Invalid

LAST_OFFSET = 2**53
"""No list is longer; a page number beyond is as empty as this one."""


@dataclass(frozen=True, slots=True)
class PageParams:
    """Page parameters: `page` from 1, `size` already capped."""

    page: int
    size: int

    @property
    def offset(self) -> int:
        return min((self.page - 1) * self.size, LAST_OFFSET)

    def last_page(self, total: int) -> int:
        """Return the number of the last page of a list of `total` rows; 1 for an empty one."""
        return max(1, -(-total // self.size))


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a page begins: behind a row with these sort keys, whatever has become of that row since.

    `page`: its number. `rank`: of a list that is ordered by a rank before the time.
    """

    page: int
    at: datetime
    id: UUID
    rank: int = 0

    @classmethod
    def decode(cls, cursor: str) -> "Cursor":
        """Raises ValueError for what is no cursor."""
        page, micros, rank, id_ = _CURSOR.unpack(b64decode(f"{cursor}=", altchars=b"-_", validate=True))
        if page < 1:
            raise ValueError
        try:
            at = _EPOCH + timedelta(microseconds=micros)
        except OverflowError:  # a cursor that we never gave; in front of every time, or behind
            at = datetime.min.replace(tzinfo=UTC) if micros < 0 else datetime.max.replace(tzinfo=UTC)
        return cls(page, at, UUID(bytes=id_), rank)

    def __str__(self) -> str:
        micros = (self.at - _EPOCH) // timedelta(microseconds=1)
        packed = _CURSOR.pack(min(self.page, _LAST), micros, self.rank, self.id.bytes)
        return urlsafe_b64encode(packed).decode().rstrip("=")


_CURSOR = struct.Struct(">IqB16s")
_LAST = 2**32 - 1
CURSOR_PATTERN = r"^(?!AAAAA[A-P])[A-Za-z0-9_-]{39}$"
"""For schemas: 29 bytes as base64, of which the first four are not all 0."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class CursorPageParams(PageParams):
    """Page parameters with a cursor, for lists in which counting to an offset is slow."""

    after: Cursor | None = None

    @property
    def offset(self) -> int:
        return 0 if self.after else min((self.page - 1) * self.size, LAST_OFFSET)

    def next_cursor(self, rows: Sequence[Mapping[str, Any]]) -> Cursor | None:
        """Where the next page begins; none behind a page that is not full."""
        if len(rows) < self.size:
            return None
        return Cursor(self.page + 1, rows[-1]["effective_start_at"], rows[-1]["id"])


def _page_params(default: int, most: int) -> Callable[..., Awaitable[PageParams]]:
    async def paging(
        page: Annotated[int, Query(ge=1, description="Which page, from 1.")] = 1,
        size: Annotated[
            int, Query(ge=1, description=f"Rows per page; more than {most} is capped to {most}.")
        ] = default,
    ) -> PageParams:
        return PageParams(page, min(size, most))

    return paging


_large = _page_params(100, 500)
PageQuery100 = Annotated[PageParams, Depends(_large)]
FIRST_PAGE = PageParams(1, 100)
"""Of a list that is shown again with a refused form."""


async def _cursor_page_params(
    paging: PageQuery100,
    cursor: Annotated[
        str | None,
        Query(
            json_schema_extra={"pattern": CURSOR_PATTERN},
            description="The X-Next-Cursor of the page before: the page behind it, however far that is, "
            "as quickly as the first one. Not together with page.",
        ),
    ] = None,
) -> CursorPageParams:
    if cursor is None:
        return CursorPageParams(paging.page, paging.size)
    if paging.page != 1:
        raise Invalid("Send page or cursor, not both.", loc=("query", "cursor"))
    try:
        place = Cursor.decode(cursor)
    except (ValueError, struct.error, OverflowError) as error:
        sentence = "This is no cursor. Send the X-Next-Cursor of the page before, or none for the first page."
        raise Invalid(sentence, loc=("query", "cursor")) from error
    return CursorPageParams(place.page, paging.size, place)


CursorPageQuery = Annotated[CursorPageParams, Depends(_cursor_page_params)]
PageQuery20 = Annotated[PageParams, Depends(_page_params(20, 100))]

LIST_HEADERS: dict[str, Any] = {
    "X-Total-Count": {"description": "Rows in all pages.", "schema": {"type": "integer"}},
    "X-Page": {"description": "The page answered.", "schema": {"type": "integer"}},
    "X-Page-Size": {"description": "Rows per page, after capping.", "schema": {"type": "integer"}},
    "X-Total-Pages": {"description": "How many pages there are.", "schema": {"type": "integer"}},
    "Link": {"description": "RFC 8288: first, prev, next, last.", "schema": {"type": "string"}},
    "ETag": {"description": "Send it back in If-None-Match.", "schema": {"type": "string"}},
}
LONG_LIST_HEADERS: dict[str, Any] = {
    **LIST_HEADERS,
    "X-Next-Cursor": {
        "description": "The cursor of the next page; not behind the last row.",
        "schema": {"type": "string"},
    },
}
