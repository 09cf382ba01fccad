"""Reads a list that has neither an order nor a cap (task instances of 2.x) whole, window by window of time.

Pages of it lose rows: measured on 2.11.2, 5 of 163 for ever. So each window is asked for in one answer; one that holds
more than the answer is split, and the windows are read in ascending order, the last one open, because a row that is
touched meanwhile moves to a later time.
"""

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from math import ceil
from typing import Generic, TypeVar

from windsock.errors import ProviderFailed, ProviderIncomplete, ProviderRefused, ProviderTimedOut
from windsock.providers.airflow.failures import AnswerTooLarge
from windsock.providers.airflow.listing import Ask, Ledger, Limits, Listing, Part, Sieve, read, time_of
from windsock.providers.airflow.values import to_wire
from windsock.providers.contract import Page, Resume

T = TypeVar("T")

Window = tuple[datetime, datetime | None]
"""From and to, both included; None is open."""

_MOST_PIECES = 250
"""All of them stand in the resume token of each page."""
_PIECES_OF_A_SLOW_WINDOW = 4
_LARGEST_LUMP = 5
"""In answers of the usual size."""
_MOST_SLOW_IN_A_ROW = 3
_GATEWAY_TIMED_OUT = 504


class WindowScan(Generic[T]):
    """One scan over `field`, the stem of the filters `<field>_gte` and `<field>_lte`."""

    def __init__(self, ask: Ask, listing: Listing[T], limits: Limits, *, field: str, window: Window) -> None:
        self._ask_server = ask
        self._listing = listing
        self._limits = limits
        self._field = field
        self._whole = window
        self._ledger = Ledger(listing.what, limits)
        self._sieve: Sieve[T] = Sieve()
        self._as_of: datetime | None = None
        self._expected: int | None = None
        self._slow = 0
        self._before_split: int | None = None

    async def pages(self, resume: Resume | None) -> AsyncIterator[Page[T]]:
        windows = self._restore(resume) or [self._whole]
        while windows:
            outcome = await self._read_or_split(windows[0])
            if isinstance(outcome, list):
                windows[:1] = outcome
                continue
            del windows[0]
            self._ledger.take(outcome)
            yield self._page(outcome, windows)

    async def _read_or_split(self, window: Window) -> "Part[T] | list[Window]":
        """The rows of the window, all of them, or the smaller windows to read in its place."""
        try:
            part = await self._ask(window, self._limits.window)
            if self._is_lump(part):
                part = await self._ask(window, self._enough(part))
        except (ProviderTimedOut, AnswerTooLarge, ProviderRefused) as failure:
            # 2.x gives some 1,000 rows a second: what is too much at once may well be had in pieces.
            pieces = split(window, _PIECES_OF_A_SLOW_WINDOW, datetime.now(UTC), self._limits.shortest)
            self._slow += 1
            self._before_split = None
            if not _is_too_much(failure) or not pieces or self._slow > _MOST_SLOW_IN_A_ROW:
                raise
            return pieces
        self._slow = 0
        if _is_whole(part):
            return part
        # As many as the total takes, at once: each window that is still too large costs an answer that is thrown away.
        wanted = ceil(1.5 * (part.total or 0) / max(1, len(part.rows)))
        pieces = split(window, wanted, part.as_of, self._limits.shortest)
        if pieces:
            self._before_split = part.total
            return pieces
        part = await self._ask(window, self._enough(part))
        if not _is_whole(part):
            raise ProviderIncomplete(
                f"Airflow promised {part.total} {self._listing.what} of one moment and gave {len(part.rows)}."
            )
        return part

    def _is_lump(self, part: Part[T]) -> bool:
        """What a split left together is most likely of one moment (of one run), down to which it would be split."""
        return (
            not _is_whole(part)
            and part.total == self._before_split
            and (part.total or 0) <= _LARGEST_LUMP * self._limits.window
        )

    def _enough(self, part: Part[T]) -> int:
        return ceil(1.1 * (part.total or 0)) + self._limits.page

    async def _ask(self, window: Window, limit: int) -> Part[T]:
        self._ledger.count_request()
        params = {**self._listing.params, **self._filters(window), "limit": str(limit)}
        part = read(await self._ask_server(self._listing.path, params), self._listing)
        self._as_of = self._as_of or part.as_of
        self._expected = part.total if self._expected is None else self._expected
        return part

    def _filters(self, window: Window) -> Mapping[str, str]:
        start, end = window
        filters = {f"{self._field}_gte": to_wire(start)}
        return filters if end is None else {**filters, f"{self._field}_lte": to_wire(end)}

    def _page(self, part: Part[T], windows: list[Window]) -> Page[T]:
        as_of = self._as_of or part.as_of
        resume: Resume | None = None
        if windows:
            bounds = [[start.isoformat(), end and end.isoformat()] for start, end in windows]
            resume = {"windows": bounds, "as_of": as_of.isoformat(), "expected": self._expected}
        return Page(rows=self._sieve.sift(part), as_of=as_of, expected=self._expected, resume=resume)

    def _restore(self, resume: Resume | None) -> list[Window]:
        """What an interrupted scan has still to read; a token that cannot be read is as good as none."""
        bounds = resume.get("windows") if resume else None
        as_of = time_of(resume.get("as_of")) if resume else None
        if not resume or as_of is None or not isinstance(bounds, list):
            return []
        windows: list[Window] = []
        for bound in bounds:
            start = time_of(bound[0]) if isinstance(bound, list) and len(bound) == len(self._whole) else None
            if start is None:
                return []
            windows.append((start, time_of(bound[1])))
        self._as_of = as_of
        expected = resume.get("expected")
        self._expected = expected if isinstance(expected, int) else None
        return windows


def split(window: Window, pieces: int, now: datetime, shortest: timedelta) -> list[Window]:
    """Equal windows in ascending order that share their bounds, or [] when the pieces would be shorter than `shortest`.

    An open window is split up to `now`; its last piece stays open.
    """
    start, end = window
    upper = now if end is None else end
    pieces = min(max(2, pieces), _MOST_PIECES, int((upper - start) / shortest))
    if pieces < 2:  # noqa: PLR2004 - one piece is the window itself
        return []
    step = (upper - start) / pieces
    bounds = [start + step * index for index in range(pieces)]
    inner: list[Window] = list(pairwise(bounds))
    return [*inner, (bounds[-1], end)]


def _is_whole(part: Part[T]) -> bool:
    return part.total is not None and part.total <= len(part.rows)


def _is_too_much(failure: ProviderFailed) -> bool:
    return not isinstance(failure, ProviderRefused) or failure.status == _GATEWAY_TIMED_OUT
