"""Reads a list that is ordered by id page by page, so that no row is missed.

By cursor where there is one, else by offset with an overlap that proves that nothing has moved. Where a page fails the
rest is read by offset, since no cursor steps over a row.
"""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from windsock.errors import ProviderBadResponse, ProviderFailed, ProviderHTTPError, ProviderIncomplete
from windsock.providers.airflow.completeness import CompletenessCheck, Deduplicator, is_small, miscounted
from windsock.providers.airflow.http import ApiResponse, Params
from windsock.providers.airflow.isolation import Isolation, was_repeated
from windsock.providers.airflow.naming import Namer
from windsock.providers.airflow.scans import Fetch, Key, Limits, Listing, ListResponse, parse_listing, time_of
from windsock.providers.airflow.slices import SliceReader
from windsock.providers.base import Page
from windsock.providers.scopes import Resume

T = TypeVar("T")

_TAIL = 10
_MAX_STEPS_BACK = 50
_MAX_STALLS = 3


class PagedScan(Generic[T]):
    """One scan.

    `offers_cursor`: whether the API may know cursors; they are only relied on when the answer shows one, since 3.0.6
    ignores what it does not know and answers with the first page.
    """

    def __init__(self, ask: Fetch, listing: Listing[T], limits: Limits, *, offers_cursor: bool) -> None:
        self._ask_server = ask
        self._listing = listing
        self._limits = limits
        self._name = listing.name_of()
        self._offers_cursor = offers_cursor
        self._check = CompletenessCheck(listing.what, limits)
        self._deduplicator: Deduplicator[T] = Deduplicator()
        self._as_of: datetime | None = None
        self._failure: ProviderFailed | None = None
        self._isolation = Isolation(self._ask_counted, listing, limits)
        namer = Namer(self._ask_counted, listing, limits, self._is_received)
        self._slices = SliceReader(self._slice, self._isolation, listing, limits.page, namer)

    async def pages(self, resume: Resume | None) -> AsyncIterator[Page[T]]:
        place = None if self._limits.miscounts.must_restart(self._name) else _ResumeToken.decode(resume)
        if place is not None:
            self._as_of = place.as_of
            self._check = CompletenessCheck(
                self._listing.what, self._limits, read=place.read, least=place.least, grown=place.grown
            )
            self._check.remember(place.tail)
        if self._offers_cursor and (place is None or place.cursor):
            async for page in self._by_cursor(place.cursor if place else ""):
                yield page
            return
        async for page in self._by_offset(None, place.offset if place else 0):
            yield page

    async def _by_cursor(self, cursor: str) -> AsyncIterator[Page[T]]:
        part, here = await self._first(cursor)
        if part is not None and not part.has_cursor:
            # A server that knows no cursors has answered with its first page.
            async for page in self._by_offset(part, 0):
                yield page
            return
        cursors: set[str] = set()
        before: str | None = None
        while part is not None:
            is_new = self._check.add(part)
            if part.next_cursor is None:
                await self._verify_last_page(before, part)
                if self._check.missing not in {0, self._limits.miscounts.expected(self._name)}:
                    # Maybe committed after the rows were read, and before they were counted.
                    yield self._page(part, self._place(self._behind(), part))
                    break
                for page in self._end(part):
                    yield page
                return
            if not is_new or part.next_cursor in cursors:
                raise ProviderIncomplete(f"Airflow's pages of {self._listing.what} go round in circles.")
            cursors.add(part.next_cursor)
            yield self._page(part, {"cursor": part.next_cursor, **_tail(part)})
            before, here = here, part.next_cursor
            part = await self._ask_or_step_aside(here)
            if part is not None and not part.has_cursor:
                raise ProviderBadResponse(f"Airflow stopped paging the {self._listing.what} by cursor midway.")
        self._check.forget_promise()
        async for page in self._by_offset(None, self._behind()):
            yield page

    async def _first(self, cursor: str) -> tuple[ListResponse[T] | None, str]:
        """The first page, and the cursor that brought it; None where it fails."""
        try:
            part = await self._ask_or_step_aside(cursor)
            if part is None or part.received or not cursor:
                return part, cursor
        except ProviderHTTPError as failure:
            if not cursor or failure.status not in {400, 422}:
                raise
        # The cursor of an interrupted scan means nothing any more: from the start, as of then.
        self._check = CompletenessCheck(self._listing.what, self._limits)
        return await self._ask_or_step_aside(""), ""

    async def _ask_or_step_aside(self, cursor: str) -> ListResponse[T] | None:
        """A page; None where it fails again and again, for a reason that does not keep the others away."""
        for is_last in (False, True):
            try:
                part = await self._ask(cursor=cursor)
            except ProviderFailed as failure:
                cause = await self._isolation.judge(failure)
                if cause == "size" or is_last or was_repeated(failure):
                    self._failure = failure
                    return None
            else:
                self._slices.note(part)
                return part
        return None

    def _is_received(self, key: Key) -> bool:
        return self._check.has(key)

    def _behind(self) -> int:
        """The place of the last row that was read."""
        return max(0, self._check.rows_seen - 1)

    async def _verify_last_page(self, before: str | None, part: ListResponse[T]) -> None:
        """A cursor promises rows. Where none came they were deleted meanwhile, which the page before shows then too."""
        if before is None or part.rows:
            return
        again = await self._ask(cursor=before)
        if again.next_cursor is not None:
            raise ProviderIncomplete(f"Airflow promised more {self._listing.what} and gave an empty page.")

    async def _by_offset(self, first: ListResponse[T] | None, offset: int) -> AsyncIterator[Page[T]]:
        """Each page begins with the last row of the one before.

        Where it does not, rows were deleted below, and unread ones have moved to where we have been: step back until
        the first row is one that was read. All before it was read too, since ids only grow. A known row further down
        proves nothing: what is deleted and started again stands at the end, with unread rows before it.
        """
        step, steps, stalls, farthest = _TAIL, 0, 0, 0
        while True:
            part, first = first or await self._read(offset), None
            if offset and not (part.row_keys and self._check.has_received(part.row_keys[0])):
                self._check.observe_total(part.total)
                offset, step, steps = max(0, offset - step), step * 2, steps + 1
                if steps > _MAX_STEPS_BACK:
                    raise ProviderIncomplete(f"Airflow's list of {self._listing.what} never stood still.")
                continue
            step = _TAIL
            is_new = self._check.add(part)
            end = offset + part.received
            is_end = part.total is None or end >= part.total or not part.received
            stalls = 0 if is_new or end < farthest else stalls + 1
            missing = self._check.missing
            if is_end or (stalls and missing and is_small(missing, part.total or 0)):
                closed = await self._closed(part, is_end=is_end)
                if closed is not None:
                    for page in self._end(closed):
                        yield page
                    return
            farthest = max(farthest, end)
            if stalls > _MAX_STALLS:
                self._check.refuse()
            offset = max(0, end - 1)
            if is_new:
                yield self._page(part, self._place(offset, part))

    async def _closed(self, part: ListResponse[T], *, is_end: bool) -> ListResponse[T] | None:
        """The last part of a scan that has read all that is listed; None where there may be more to read.

        That is so where the list shows nothing behind the last row, and counts as many as before.
        """
        missing = self._check.missing
        if not missing:
            return part
        if not is_small(missing, self._check.least or 0):
            if is_end:
                self._check.refuse()
            return None
        behind = await self._slice(self._check.rows_seen, self._limits.page)
        self._check.observe_total(behind.total)
        if not self._check.missing:
            return part
        has_more = behind.received > missing or not all(self._check.has_received(mark) for mark in behind.row_keys)
        return part if self._check.missing == missing and not has_more else None

    def _end(self, part: ListResponse[T]) -> Iterator[Page[T]]:
        """The last page; a list that lacks rows is an error behind it, unless it has lacked as many for long."""
        missing = self._check.missing
        if missing <= self._check.alike:
            self._limits.miscounts.note_whole(self._name)
            missing = 0
        elif self._limits.miscounts.believe(self._listing.kind, self._name, missing):
            part = part.with_skipped(("miscounted",), miscounted(self._listing, missing))
            missing = 0
        yield self._page(part, None)
        if missing:
            self._check.refuse()

    async def _read(self, offset: int) -> ListResponse[T]:
        failure, self._failure = self._failure, None
        return await self._slices.read(offset, failure)

    async def _slice(self, offset: int, limit: int) -> ListResponse[T]:
        return await self._ask(offset=str(offset), limit=str(limit))

    async def _ask(self, **place: str) -> ListResponse[T]:
        params = {**self._listing.params, "limit": str(self._limits.page), **place}
        part = parse_listing(await self._ask_counted(self._listing.path, params), self._listing)
        self._as_of = self._as_of or part.as_of
        return part

    async def _ask_counted(self, path: str, params: Params) -> ApiResponse:
        self._check.count_request()
        return await self._ask_server(path, params)

    @staticmethod
    def _place(offset: int, part: ListResponse[T]) -> Resume:
        return {"offset": offset, **_tail(part)}

    def _page(self, part: ListResponse[T], place: Resume | None) -> Page[T]:
        as_of = self._as_of or part.as_of
        check = self._check
        progress = {"as_of": as_of.isoformat(), "read": check.rows_seen, "least": check.least, "grown": check.grown}
        return Page(
            rows=self._deduplicator.dedupe(part),
            skipped=self._deduplicator.dedupe_skipped(part),
            as_of=as_of,
            expected=part.total,
            resume=None if place is None else {**place, **progress},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _ResumeToken:
    """Where an interrupted scan goes on. A token that cannot be read is as good as none."""

    cursor: str
    offset: int
    tail: list[Key]
    read: int
    least: int | None
    grown: int
    as_of: datetime

    @classmethod
    def decode(cls, resume: Resume | None) -> "_ResumeToken | None":
        as_of = time_of(resume.get("as_of")) if resume else None
        if not resume or as_of is None or not ("cursor" in resume or "offset" in resume):
            return None
        least, tail = resume.get("least"), resume.get("tail")
        return cls(
            cursor=str(resume.get("cursor") or ""),
            offset=_count(resume.get("offset")),
            tail=[tuple(mark) for mark in tail if isinstance(mark, list)] if isinstance(tail, list) else [],
            read=_count(resume.get("read")),
            least=least if isinstance(least, int) else None,
            grown=_count(resume.get("grown")),
            as_of=as_of,
        )


def _tail(part: ListResponse[T]) -> Resume:
    return {"tail": [list(mark) for mark in part.row_keys[-_TAIL:]]}


def _count(value: object) -> int:
    return value if isinstance(value, int) and value > 0 else 0
