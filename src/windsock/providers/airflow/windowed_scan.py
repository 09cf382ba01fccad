"""Reads a list that has neither an order nor a cap (task instances of 2.x) whole, window by window of time.

Pages of it lose rows: measured on 2.11.2, 5 of 163 for ever. So each window is asked for in one answer; one that holds
more than the answer is split, and the windows are read in ascending order, the last one open, because a row that is
touched meanwhile moves to a later time. Only a window that fails is read in pages, and only if they hold as many
different rows as it promises; one that is of one moment, by when its rows changed last.
"""

from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from math import ceil
from typing import Final, Generic, TypeVar

from windsock.errors import ProviderFailed, ProviderIncomplete
from windsock.providers.airflow.completeness import CompletenessCheck, Deduplicator, is_small, miscounted, refuse
from windsock.providers.airflow.http import ApiResponse, Params
from windsock.providers.airflow.isolation import Isolation, cause_of, was_repeated
from windsock.providers.airflow.naming import Namer
from windsock.providers.airflow.parsing import format_datetime
from windsock.providers.airflow.scans import Fetch, Limits, Listing, ListResponse, parse_listing, time_of
from windsock.providers.airflow.slices import SliceReader
from windsock.providers.base import Page
from windsock.providers.scopes import Resume

T = TypeVar("T")

ScanRange = tuple[datetime, datetime | None]
"""From and to, both included; None is open."""

CHANGE: Final = "updated_at"
BEFORE_ALL: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_PIECES = 250
"""All of them stand in the resume token of each page."""
_PIECES_OF_A_SLOW_WINDOW = 4
_MAX_UNSPLITTABLE_PAGES = 5
"""In answers of the usual size."""
_MAX_CONSECUTIVE_SLOW = 3


class WindowedScan(Generic[T]):
    """One scan over `field`, the stem of the filters `<field>_gte` and `<field>_lte`."""

    def __init__(self, ask: Fetch, listing: Listing[T], limits: Limits, *, field: str, window: ScanRange) -> None:
        self._ask_server = ask
        self._listing = listing
        self._limits = limits
        self._field = field
        self._whole = window
        self._check = CompletenessCheck(listing.what, limits)
        self._deduplicator: Deduplicator[T] = Deduplicator()
        self._as_of: datetime | None = None
        self._expected: int | None = None
        self._name = listing.name_of(self._filters(window))
        self._missing = self._slow = 0
        self._before_split: int | None = None
        self._repeated: ScanRange | None = None
        self._has_order = True
        self._split_until: datetime | None = None
        self._isolation = Isolation(self._ask_counted, listing, limits)
        self._namer = Namer(self._ask_counted, listing, limits, self._check.has)

    async def pages(self, resume: Resume | None) -> AsyncIterator[Page[T]]:
        must_restart = self._limits.miscounts.must_restart(self._name)
        windows = ([] if must_restart else self._restore(resume)) or [self._whole]
        while windows:
            outcome = await self._read_or_split(windows[0])
            if isinstance(outcome, list):
                windows[:1] = outcome
                continue
            del windows[0]
            self._check.add(outcome)
            for page in [self._page(outcome, windows)] if windows else self._end(outcome):
                yield page

    def _end(self, part: ListResponse[T]) -> Iterator[Page[T]]:
        """The last page; windows that lack rows are an error behind it, unless they have lacked as many for long."""
        missing = self._missing
        if not missing:
            self._limits.miscounts.note_whole(self._name)
        elif self._limits.miscounts.believe(self._listing.kind, self._name, missing):
            part = part.with_skipped(("miscounted",), miscounted(self._listing, missing))
            missing = 0
        yield self._page(part, [])
        if missing:
            refuse(self._check.rows_seen + missing, self._listing.what, self._check.rows_seen)

    async def _read_or_split(self, window: ScanRange) -> "ListResponse[T] | list[ScanRange]":
        """The rows of the window, all of them, or the smaller windows to read in its place."""
        try:
            limit = self._limits.window
            part = await self._ask(window, limit)
            if self._is_unsplittable(part):
                limit = self._full_limit(part)
                part = await self._ask(window, limit)
            self._slow = 0
            part = await self._recounted(window, part, limit)
            if _is_whole(part):
                return part
            # As many as the total takes, at once: each window that is too large costs an answer that is thrown away.
            wanted = ceil(1.5 * (part.total or 0) / max(1, part.received))
            pieces = self._split(window, wanted, part.as_of)
            if pieces:
                self._before_split = part.total
                return pieces
            part = await self._ask(window, self._full_limit(part))
        except ProviderFailed as failure:
            return await self._after(failure, window)
        if not _is_whole(part):
            raise ProviderIncomplete(
                f"Airflow promised {part.total} {self._listing.what} of one moment and gave {part.received}."
            )
        return part

    async def _after(self, failure: ProviderFailed, window: ScanRange) -> "ListResponse[T] | list[ScanRange]":
        """Return smaller ranges for a failed one; raise the failure if splitting does not help."""
        cause = cause_of(failure)
        pieces = self._split(window, _PIECES_OF_A_SLOW_WINDOW, datetime.now(UTC))
        self._before_split = None
        if cause == "size" and pieces and self._slow < _MAX_CONSECUTIVE_SLOW:
            # 2.x gives some 1,000 rows a second: what is too much at once may well be had in pieces.
            self._slow += 1
            return pieces
        filters = self._filters(window)
        await self._isolation.judge(failure, filters=filters)
        if cause == "row" and not was_repeated(failure) and self._repeated != window:
            self._repeated = window
            return [window]
        total = await self._isolation.count(filters)
        if total is None:
            raise failure
        if pieces and total > self._limits.window:
            wanted = ceil(1.5 * total / self._limits.window)
            return self._split(window, wanted, datetime.now(UTC)) or pieces
        if total <= 1 or self._has_order:
            slices = SliceReader(partial(self._slice, window), self._isolation, self._listing, total, self._namer)
            try:
                part = await slices.take_apart(0, max(1, total))
                is_whole = part.total == len({*part.keys, *part.skipped})
            except ProviderIncomplete:
                is_whole = False
            self._has_order = self._has_order and is_whole
            if is_whole:
                self._slow = 0
                return part
        return pieces or await self._read_by_change(window, total, failure)

    def _split(self, window: ScanRange, pieces: int, now: datetime) -> list[ScanRange]:
        """An open window is split up to the same moment each time: rows of the future would be split for ever."""
        self._split_until = self._split_until or now
        return split(window, pieces, self._split_until, self._limits.shortest)

    async def _read_by_change(self, window: ScanRange, total: int, failure: ProviderFailed) -> ListResponse[T]:
        """Rows of one moment, read in windows of the time of their last change, which need no order either.

        Raises the failure where that does not give all of them: rows that changed at the same moment stay together.
        """
        if self._field == CHANGE:
            raise failure
        listing = replace(self._listing, params={**self._listing.params, **self._filters(window)})
        limits = replace(self._limits, shortest=Limits().shortest)
        scan = WindowedScan(self._ask_counted, listing, limits, field=CHANGE, window=(BEFORE_ALL, None))
        scan._has_order = False
        found: ListResponse[T] | None = None
        windows = [scan._whole]
        while windows:
            outcome = await scan._read_or_split(windows[0])
            windows[:1] = outcome if isinstance(outcome, list) else []
            if isinstance(outcome, ListResponse):
                found = outcome if found is None else found.joined(outcome)
        if found is None or total != len({*found.keys, *found.skipped}):
            raise failure
        self._slow = 0
        return found

    async def _recounted(self, window: ScanRange, part: ListResponse[T], limit: int) -> ListResponse[T]:
        """Ask again for what is missing although there was room for it: committed meanwhile, or counted and hidden."""
        missing = (part.total or 0) - part.received
        if missing <= 0 or part.received >= limit or not is_small(missing, part.total or 0):
            return part
        again = await self._ask(window, limit)
        if again.total != part.total or set(again.row_keys) != set(part.row_keys):
            return again
        behind = await self._slice(window, part.received, limit)
        if behind.total == part.total and behind.received <= missing and set(behind.row_keys) <= set(part.row_keys):
            self._missing += missing
            return replace(again, received=again.received + missing)
        return again

    def _is_unsplittable(self, part: ListResponse[T]) -> bool:
        """Decide whether a range is likely one moment (one run), down to which it would be split."""
        return (
            not _is_whole(part)
            and part.total == self._before_split
            and (part.total or 0) <= _MAX_UNSPLITTABLE_PAGES * self._limits.window
        )

    def _full_limit(self, part: ListResponse[T]) -> int:
        return ceil(1.1 * (part.total or 0)) + self._limits.page

    async def _ask(self, window: ScanRange, limit: int) -> ListResponse[T]:
        return await self._slice(window, 0, limit)

    async def _slice(self, window: ScanRange, offset: int, limit: int) -> ListResponse[T]:
        place = {"offset": str(offset)} if offset else {}
        params = {**self._listing.params, **self._filters(window), "limit": str(limit), **place}
        part = parse_listing(await self._ask_counted(self._listing.path, params), self._listing)
        self._isolation.note_success(part.received)
        self._as_of = self._as_of or part.as_of
        self._expected = part.total if self._expected is None else self._expected
        return part

    async def _ask_counted(self, path: str, params: Params) -> ApiResponse:
        self._check.count_request()
        return await self._ask_server(path, params)

    def _filters(self, window: ScanRange) -> Mapping[str, str]:
        start, end = window
        filters = {f"{self._field}_gte": format_datetime(start)}
        return filters if end is None else {**filters, f"{self._field}_lte": format_datetime(end)}

    def _page(self, part: ListResponse[T], windows: list[ScanRange]) -> Page[T]:
        as_of = self._as_of or part.as_of
        resume: Resume | None = None
        if windows:
            bounds = [[start.isoformat(), end and end.isoformat()] for start, end in windows]
            resume = {
                "windows": bounds,
                "as_of": as_of.isoformat(),
                "expected": self._expected,
                "missing": self._missing,
            }
        return Page(
            rows=self._deduplicator.dedupe(part),
            skipped=self._deduplicator.dedupe_skipped(part),
            as_of=as_of,
            expected=self._expected,
            resume=resume,
        )

    def _restore(self, resume: Resume | None) -> list[ScanRange]:
        """Return the remaining ranges of an interrupted scan; an unreadable token counts as none."""
        bounds = resume.get("windows") if resume else None
        as_of = time_of(resume.get("as_of")) if resume else None
        if not resume or as_of is None or not isinstance(bounds, list):
            return []
        windows: list[ScanRange] = []
        for bound in bounds:
            start = time_of(bound[0]) if isinstance(bound, list) and len(bound) == len(self._whole) else None
            if start is None:
                return []
            windows.append((start, time_of(bound[1])))
        self._as_of = as_of
        expected = resume.get("expected")
        self._expected = expected if isinstance(expected, int) else None
        missing = resume.get("missing")
        self._missing = missing if isinstance(missing, int) else 0
        return windows


def split(window: ScanRange, pieces: int, now: datetime, shortest: timedelta) -> list[ScanRange]:
    """Equal windows in ascending order that share their bounds, or [] when the pieces would be shorter than `shortest`.

    An open window is split up to `now`; its last piece stays open.
    """
    start, end = window
    upper = now if end is None else end
    pieces = min(max(2, pieces), _MAX_PIECES, int((upper - start) / shortest))
    if pieces < 2:  # noqa: PLR2004 - one piece is the window itself
        return []
    step = (upper - start) / pieces
    bounds = [start + step * index for index in range(pieces)]
    inner: list[ScanRange] = list(pairwise(bounds))
    return [*inner, (bounds[-1], end)]


def _is_whole(part: ListResponse[T]) -> bool:
    return part.total is not None and part.total <= part.received
