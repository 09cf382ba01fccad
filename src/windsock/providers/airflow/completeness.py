"""Checks whether a scan received every row that the list promised."""

from collections.abc import Iterable
from typing import Any, Final, Generic, NoReturn, TypeVar

from windsock.errors import ProviderIncomplete
from windsock.providers.airflow.scans import NAMELESS, Key, Limits, Listing, ListResponse
from windsock.providers.base import SkippedRow
from windsock.providers.miscounts import ENOUGH_PASSES

T = TypeVar("T")

_SMALL: Final = 5


class CompletenessCheck:
    """Progress of a scan, to distinguish a complete one from one that stopped early or loops.

    Only hashes are kept: a million rows are some 100 MB as tuples. After a resume `rows_seen` carries the rows of
    before. `alike`: rows without ids that may have been met before, or be others that are like those.
    """

    def __init__(self, what: str, limits: Limits, *, read: int = 0, least: int | None = None, grown: int = 0) -> None:
        self.least = least
        self.grown = grown
        self.alike = 0
        self._total: int | None = None
        self._what = what
        self._limits = limits
        self._before = read
        self._requests = 0
        self._keys: set[int] = set()
        self._marks: set[int] = set()

    @property
    def rows_seen(self) -> int:
        return self._before + len(self._keys)

    def remember(self, marks: Iterable[Key]) -> None:
        self._marks.update(hash(mark) for mark in marks)

    def has_received(self, mark: Key) -> bool:
        return hash(mark) in self._marks

    def has(self, key: Key) -> bool:
        return hash(key) in self._keys

    def count_request(self) -> None:
        self._requests += 1
        if self._requests > self._limits.requests:
            raise ProviderIncomplete(
                f"After {self._limits.requests:,} requests the {self._what} had not come to an end."
            )

    def add(self, part: ListResponse[T]) -> bool:
        """Whether the answer brought anything that was not seen before. What was skipped is seen too."""
        before = len(self._marks) + len(self._keys)
        self.alike += sum(key[0] == NAMELESS and self.has(key) for key in part.skipped)
        self.remember(part.row_keys)
        self._keys.update(hash(key) for key in part.keys)
        self._keys.update(hash(key) for key in part.skipped)
        self.observe_total(part.total)
        if self.rows_seen > self._limits.rows:
            raise ProviderIncomplete(
                f"More than {self._limits.rows:,} {self._what} in one scan; read a shorter time (history_days)."
            )
        return len(self._marks) + len(self._keys) > before

    def observe_total(self, total: int | None) -> None:
        """Record the promised total, also of a response whose rows were unusable: rows may have changed since."""
        if total is None:
            return
        self.least = total if self.least is None else min(self.least, total)
        self.grown += max(0, total - (total if self._total is None else self._total))
        self._total = total

    def forget_promise(self) -> None:
        """Before the same list is counted in another way: with offsets exactly, with a cursor up to a limit."""
        self._total = None

    @property
    def missing(self) -> int:
        """How many rows fewer came than were promised.

        The smallest promise counts, since rows may have been deleted; less what was seen to be added meanwhile, since
        that may stand where we have been, and is younger than the scan.
        """
        return 0 if self.least is None else max(0, self.least - self.grown - self.rows_seen)

    def refuse(self) -> NoReturn:
        refuse(self.least, self._what, self.rows_seen)


def refuse(promised: int | None, what: str, received: int) -> NoReturn:
    sentence = f"Airflow promised {promised} {what} and gave {received}."
    if promised is not None and is_small(promised - received, promised):
        sentence += (
            f" Where {ENOUGH_PASSES} syncs in a row find the same, they are taken to be hidden from the account."
        )
    raise ProviderIncomplete(sentence)


def is_small(missing: int, total: int) -> bool:
    """Whether a total may be wrong by so much because rows are counted that the account may not see."""
    return missing <= max(_SMALL, total // 100)


def miscounted(listing: Listing[Any], missing: int) -> SkippedRow:
    what = listing.what.removesuffix("s") if missing == 1 else listing.what
    reason = f"Airflow counts {missing} more {what} than it lists."
    return SkippedRow(kind=listing.kind, reason=reason, unlisted=missing)


class Deduplicator(Generic[T]):
    """Leaves out rows given twice in one page, and those of the page before that come again unchanged."""

    def __init__(self) -> None:
        self._previous: dict[Key, T] = {}
        self._skipped: dict[Key, SkippedRow] = {}

    def dedupe_skipped(self, part: ListResponse[T]) -> tuple[SkippedRow, ...]:
        fresh = tuple(skipped for key, skipped in part.skipped.items() if self._skipped.get(key) != skipped)
        self._skipped = part.skipped
        return fresh

    def dedupe(self, part: ListResponse[T]) -> list[T]:
        latest = dict(zip(part.keys, part.rows, strict=True))
        fresh = [row for key, row in latest.items() if self._previous.get(key) != row]
        self._previous = latest
        return fresh
