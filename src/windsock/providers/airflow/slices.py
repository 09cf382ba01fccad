"""Reads a list slice by slice: smaller slices where large ones fail, and around single rows that cannot be listed."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final, Generic, TypeVar

from windsock.errors import ProviderFailed, ProviderIncomplete
from windsock.providers.airflow.errors import ResponseTooLarge
from windsock.providers.airflow.isolation import Isolation, was_repeated
from windsock.providers.airflow.naming import Namer
from windsock.providers.airflow.scans import Key, Listing, ListResponse
from windsock.providers.base import SkippedRow

T = TypeVar("T")

Fetch = Callable[[int, int], Awaitable[ListResponse[T]]]
"""The rows from that place on, at most so many."""

SMALLEST: Final = 2
"""Rows of a slice: with a single one, the row that proves that nothing has moved would leave no place for another."""
_MAX_RESTARTS: Final = 3
_MAX_UNCONFIRMED: Final = 64


class _Moved(Exception):
    """Rows came or went while a page was taken apart, so that some may have been missed."""


@dataclass(frozen=True, slots=True)
class _Gap(Generic[T]):
    """A row that cannot be listed, alone in its answer; `before` and `after` stand next to it.

    `mark` is that of the row before it, where that one could be read.
    """

    place: int
    failure: ProviderFailed
    mark: Key | None
    before: T | None
    after: T | None = None


class SliceReader(Generic[T]):
    """Slices of `size` rows. After a time-out or an answer that is too large they are halved, and grow again.

    A slice that fails for a row of it is halved until the row is alone. The halves overlap by a row, and the row alone
    must fail a second time, behind the same row, after all others were read: this proves that nothing has moved
    meanwhile. To find one row among a hundred costs some twelve requests.
    """

    def __init__(self, fetch: Fetch[T], isolation: Isolation, listing: Listing[T], size: int, namer: Namer[T]) -> None:
        self._fetch_slice = fetch
        self._isolation = isolation
        self._listing = listing
        self._full = self._size = size
        self._patience = self._successes = 0
        self._namer = namer
        self._last: T | None = None

    async def read(self, offset: int, failure: ProviderFailed | None = None) -> ListResponse[T]:
        """The rows from `offset` on. `failure`: what a page that begins there has failed with."""
        is_repeated = failure is not None
        while True:
            if failure is None:
                try:
                    part = await self.fetch(offset, self._size)
                except ProviderFailed as raised:
                    failure = raised
                else:
                    self._grow()
                    return part
            cause = await self._isolation.judge(failure)
            if cause == "size" and self._size > SMALLEST:
                self._shrink()
            elif cause == "row" and not is_repeated and not was_repeated(failure):
                is_repeated = True
            else:
                return await self.take_apart(offset, self._size)
            failure = None

    async def fetch(self, offset: int, limit: int) -> ListResponse[T]:
        part = await self._fetch_slice(offset, limit)
        self.note(part)
        return part

    def note(self, part: ListResponse[T]) -> None:
        """Know of a part that was read in another way."""
        self._isolation.note_success(part.received)
        self._last = part.rows[-1] if part.rows else self._last

    async def take_apart(self, start: int, size: int) -> ListResponse[T]:
        """All that can be listed from `start` on, at least `size` rows where there are as many."""
        before = self._last
        for _ in range(_MAX_RESTARTS):
            self._last = before
            try:
                return await self._take_apart(start, size)
            except _Moved:
                continue
        raise ProviderIncomplete(f"Airflow's list of {self._listing.what} never stood still.")

    async def _take_apart(self, start: int, size: int) -> ListResponse[T]:
        place, end, fails_before = start, start + size, start + size
        found: ListResponse[T] | None = None
        last_mark: Key | None = None
        gaps: list[_Gap[T]] = []
        # A gap at the end is followed, so that what is given ends with a row, or with the list.
        while place < end or (gaps and gaps[-1].place == place - 1):
            # A part of what failed fails when the parts before it did not.
            limit = max(1, (fails_before - place) // 2) if fails_before > place else max(1, end - place)
            overlap = 0 if last_mark is None else 1
            before = self._last
            try:
                part = await self.fetch(place - overlap, limit + overlap)
            except ProviderFailed as failure:
                cause = await self._isolation.judge(failure)
                if limit > 1:
                    fails_before = place + limit
                    continue
                alone = await self._alone(place, last_mark) if cause == "size" and last_mark is not None else None
                if alone is None:
                    gaps.append(_Gap(place, failure, last_mark, before))
                    await self._isolation.prove_that_others_can_be_read(failure)
                    place, fails_before, last_mark = place + 1, place + 1, None
                    continue
                part, overlap = alone, 0
            if overlap:
                if not part.row_keys or part.row_keys[0] != last_mark:
                    raise _Moved
                part = part.without_first()
            first = part.rows[0] if part.rows else None
            gaps = [replace(gap, after=first) if gap.after is None else gap for gap in gaps]
            found = part if found is None else found.joined(part)
            place += part.received
            if not part.received or (part.total is not None and place >= part.total):
                break
            last_mark = part.row_keys[-1]
        if found is None:
            raise ProviderIncomplete(f"Airflow gave none of the {self._listing.what} that it was asked for.")
        await self._confirm(gaps)
        seen = set(found.keys)
        named: list[SkippedRow] = []
        for gap in gaps:
            skipped = await self._namer.name(gap.before, gap.after, _reason(gap.failure), seen, named)
            named.append(skipped)
            found = found.with_skipped(self._key(gap, skipped), skipped, received=1)
        return found

    async def _alone(self, place: int, mark: Key) -> ListResponse[T] | None:
        """The row alone, if it is only together with the one before it that it is too much."""
        try:
            part = await self.fetch(place, 1)
        except ProviderFailed as failure:
            await self._isolation.judge(failure)
            return None
        if not await self._is_at(place - 1, mark):
            raise _Moved
        return part

    async def _confirm(self, gaps: list[_Gap[T]]) -> None:
        """Each gap and the row before it are still where they were: then all between them was read, and all behind."""
        for gap in gaps:
            if gap.mark is not None and not await self._is_at(gap.place - 1, gap.mark):
                raise _Moved
            try:
                await self._fetch_slice(gap.place, 1)
            except ProviderFailed as failure:
                await self._isolation.judge(failure)
            else:
                raise _Moved

    async def _is_at(self, place: int, mark: Key) -> bool:
        try:
            return (await self._fetch_slice(place, 1)).row_keys == [mark]
        except ProviderFailed as failure:
            await self._isolation.judge(failure)
            return False

    def _key(self, gap: _Gap[T], skipped: SkippedRow) -> Key:
        is_of_run = self._listing.kind == "task_runs"  # its list may name the run of a row without a name
        if skipped.task_external_id or (skipped.run_external_id and not is_of_run):
            ids = (skipped.pipeline_external_id, skipped.run_external_id, skipped.task_external_id)
            return ("unlistable", *ids, skipped.region_id, skipped.region_index, skipped.map_index)
        before = () if gap.before is None else self._listing.key(gap.before)
        return ("unlistable", gap.place, *before)

    def _shrink(self) -> None:
        """Growing in vain costs an answer each time, so it is tried less often each time."""
        self._patience = min(_MAX_UNCONFIRMED, max(1, self._patience * 2))
        self._size, self._successes = max(SMALLEST, self._size // 2), 0

    def _grow(self) -> None:
        self._successes += 1
        if self._size < self._full and self._successes > self._patience:
            self._size, self._successes = min(self._full, self._size * 2), 0


def _reason(failure: ProviderFailed) -> str:
    if isinstance(failure, ResponseTooLarge):
        return "This row alone is larger than can be taken in."
    return f"Each list that holds this row fails. {failure}"
