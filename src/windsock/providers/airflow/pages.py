"""Reads a list that is ordered by id page by page, so that no row is missed.

By cursor where there is one, else by offset with an overlap that proves that nothing has moved.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from windsock.errors import ProviderIncomplete, ProviderNonsense, ProviderRefused
from windsock.providers.airflow.listing import Ask, Key, Ledger, Limits, Listing, Part, Sieve, read, time_of
from windsock.providers.contract import Page, Resume

T = TypeVar("T")

_TAIL = 10
_MOST_STEPS_BACK = 50
_MOST_STALLS = 3


class PageScan(Generic[T]):
    """One scan.

    `offers_cursor`: whether the API may know cursors; they are only relied on when the answer shows one, since 3.0.6
    ignores what it does not know and answers with the first page.
    """

    def __init__(self, ask: Ask, listing: Listing[T], limits: Limits, *, offers_cursor: bool) -> None:
        self._ask_server = ask
        self._listing = listing
        self._limits = limits
        self._offers_cursor = offers_cursor
        self._ledger = Ledger(listing.what, limits)
        self._sieve: Sieve[T] = Sieve()
        self._as_of: datetime | None = None

    async def pages(self, resume: Resume | None) -> AsyncIterator[Page[T]]:
        place = _Place.of(resume)
        if place is not None:
            self._as_of = place.as_of
            self._ledger = Ledger(
                self._listing.what, self._limits, read=place.read, least=place.least, grown=place.grown
            )
            self._ledger.remember(place.tail)
        first: Part[T] | None = None
        cursor = ""
        if self._offers_cursor and (place is None or place.cursor):
            first, cursor = await self._first(place.cursor if place else "")
        offset = place.offset if place else 0
        if first is not None and first.has_cursor:
            scan = self._by_cursor(first, cursor)
        else:
            # A server that knows no cursors has answered with its first page.
            scan = self._by_offset(first, 0 if first else offset)
        async for page in scan:
            yield page

    async def _first(self, cursor: str) -> tuple[Part[T], str]:
        """The first page, and the cursor that brought it."""
        try:
            part = await self._ask(cursor=cursor)
            if part.rows or not cursor:
                return part, cursor
        except ProviderRefused as failure:
            if not cursor or failure.status not in {400, 422}:
                raise
        # The cursor of an interrupted scan means nothing any more: from the start, as of then.
        self._ledger = Ledger(self._listing.what, self._limits)
        return await self._ask(cursor=""), ""

    async def _by_cursor(self, part: Part[T], here: str) -> AsyncIterator[Page[T]]:
        cursors: set[str] = set()
        before: str | None = None
        while True:
            is_new = self._ledger.take(part)
            if part.next_cursor is None:
                if before is not None and not part.rows:
                    await self._confirm_the_end(before)
                self._ledger.close()
                yield self._page(part, None)
                return
            if not is_new or part.next_cursor in cursors:
                raise ProviderIncomplete(f"Airflow's pages of {self._listing.what} go round in circles.")
            cursors.add(part.next_cursor)
            yield self._page(part, {"cursor": part.next_cursor})
            before, here = here, part.next_cursor
            part = await self._ask(cursor=here)
            if not part.has_cursor:
                raise ProviderNonsense(f"Airflow stopped paging the {self._listing.what} by cursor midway.")

    async def _confirm_the_end(self, before: str) -> None:
        """A cursor promises rows. Where none came they were deleted meanwhile, which the page before shows then too."""
        again = await self._ask(cursor=before)
        if again.next_cursor is not None:
            raise ProviderIncomplete(f"Airflow promised more {self._listing.what} and gave an empty page.")

    async def _by_offset(self, first: Part[T] | None, offset: int) -> AsyncIterator[Page[T]]:
        """Each page begins with the last row of the one before.

        Where it does not, rows were deleted below, and unread ones have moved to where we have been: step back until
        the first row is one that was read. All before it was read too, since ids only grow. A known row further down
        proves nothing: what is deleted and started again stands at the end, with unread rows before it.
        """
        step, steps, stalls, farthest = _TAIL, 0, 0, 0
        while True:
            part, first = first or await self._ask(offset=str(offset)), None
            if offset and not (part.marks and self._ledger.knows(part.marks[0])):
                self._ledger.hear(part.total)
                offset, step, steps = max(0, offset - step), step * 2, steps + 1
                if steps > _MOST_STEPS_BACK:
                    raise ProviderIncomplete(f"Airflow's list of {self._listing.what} never stood still.")
                continue
            step = _TAIL
            is_new = self._ledger.take(part)
            end = offset + len(part.rows)
            if part.total is None or end >= part.total or not part.rows:
                self._ledger.close()
                yield self._page(part, None)
                return
            stalls = 0 if is_new or end < farthest else stalls + 1
            farthest = max(farthest, end)
            if stalls > _MOST_STALLS:
                raise ProviderIncomplete(
                    f"Airflow gave fewer {self._listing.what} than it promised: its pages bring no more of them."
                )
            offset = end - 1
            if is_new:
                yield self._page(part, {"offset": offset, "tail": [list(mark) for mark in part.marks[-_TAIL:]]})

    async def _ask(self, **place: str) -> Part[T]:
        self._ledger.count_request()
        params = {**self._listing.params, "limit": str(self._limits.page), **place}
        part = read(await self._ask_server(self._listing.path, params), self._listing)
        self._as_of = self._as_of or part.as_of
        return part

    def _page(self, part: Part[T], place: Resume | None) -> Page[T]:
        as_of = self._as_of or part.as_of
        ledger = self._ledger
        progress = {"as_of": as_of.isoformat(), "read": ledger.read, "least": ledger.least, "grown": ledger.grown}
        return Page(
            rows=self._sieve.sift(part),
            as_of=as_of,
            expected=part.total,
            resume=None if place is None else {**place, **progress},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where an interrupted scan goes on. A token that cannot be read is as good as none."""

    cursor: str
    offset: int
    tail: list[Key]
    read: int
    least: int | None
    grown: int
    as_of: datetime

    @classmethod
    def of(cls, resume: Resume | None) -> "_Place | None":
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


def _count(value: object) -> int:
    return value if isinstance(value, int) and value > 0 else 0
