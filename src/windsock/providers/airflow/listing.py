"""What is listed and how one answer of a list is read: its rows, what it promises, and what a scan has seen."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, TypeVar

from windsock.errors import ProviderIncomplete, ProviderNonsense
from windsock.providers.airflow.http import Answer, Params
from windsock.providers.contract import Json

T = TypeVar("T")

Key = tuple[object, ...]
Ask = Callable[[str, Params], Awaitable[Answer]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much is asked for at once, and where a scan is given up.

    `page`: rows asked for; 3.3.2 on CPython 3.11 dies at answers of 500 and more. `window`: rows asked for where the
    server has no cap and no order (task instances of 2.x): 10,000 took 45 MB here and 10 s there. `rows`, `requests`:
    the most of a scan. `shortest`: the window of time that is not split further.
    """

    page: int = 100
    window: int = 2_000
    rows: int = 1_000_000
    requests: int = 100_000
    shortest: timedelta = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing(Generic[T]):
    """A list of the API. `name` is the key of its rows in the answer, `key` gives what identifies a row for us."""

    path: str
    name: str
    params: Params
    parse: Callable[[Json], T]
    key: Callable[[T], Key]

    @property
    def what(self) -> str:
        return self.name.replace("_", " ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One GET whose answer is not a list of ours."""

    path: str
    params: Params


@dataclass(frozen=True, slots=True, kw_only=True)
class Part(Generic[T]):
    """One answer.

    `marks` tell rows apart in the order by id: where rows carry an id that changes (task instances of 3.x at a retry),
    the id is in the mark. `total` is None where the server does not count; with a cursor there may be more.
    """

    rows: list[T]
    keys: list[Key]
    marks: list[Key]
    total: int | None
    has_cursor: bool
    next_cursor: str | None
    as_of: datetime


def read(answer: Answer, listing: Listing[T]) -> Part[T]:
    body = answer.body
    raw = body.get(listing.name) if isinstance(body, dict) else None
    if not isinstance(raw, list) or not all(isinstance(row, dict) for row in raw):
        raise ProviderNonsense(f"The answer to GET {listing.path} holds no list of {listing.what}.")
    rows = [listing.parse(row) for row in raw]
    keys = [listing.key(row) for row in rows]
    has_cursor = "next_cursor" in body
    return Part(
        rows=rows,
        keys=keys,
        marks=[(*key, one.get("id")) for key, one in zip(keys, raw, strict=True)],
        total=_total(body, listing, has_cursor=has_cursor),
        has_cursor=has_cursor,
        next_cursor=_cursor(body.get("next_cursor"), listing),
        as_of=answer.as_of,
    )


def _total(body: Json, listing: Listing[Any], *, has_cursor: bool) -> int | None:
    """Measured: exact with offsets; with a cursor null on 3.2.2 and 3.3.0, on 3.3.2 counted up to a limit it names.

    A count that has come to its limit still promises as many.
    """
    total = body.get("total_entries")
    if total is None and has_cursor:
        return None
    if isinstance(total, bool) or not isinstance(total, int) or total < 0:
        raise ProviderNonsense(f"The answer to GET {listing.path} does not say how many {listing.what} there are.")
    return total


def _cursor(value: object, listing: Listing[Any]) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise ProviderNonsense(f"The answer to GET {listing.path} has a next_cursor that is not text.")
    return value


class Ledger:
    """What a scan has seen, to tell a complete one from one that stopped early or runs in circles.

    Only hashes are kept: a million rows are some 100 MB as tuples. After a resume `read` carries the rows of before.
    """

    def __init__(self, what: str, limits: Limits, *, read: int = 0, least: int | None = None, grown: int = 0) -> None:
        self.least = least
        self.grown = grown
        self._total: int | None = None
        self._what = what
        self._limits = limits
        self._before = read
        self._requests = 0
        self._keys: set[int] = set()
        self._marks: set[int] = set()

    @property
    def read(self) -> int:
        return self._before + len(self._keys)

    def remember(self, marks: Iterable[Key]) -> None:
        self._marks.update(hash(mark) for mark in marks)

    def knows(self, mark: Key) -> bool:
        return hash(mark) in self._marks

    def count_request(self) -> None:
        self._requests += 1
        if self._requests > self._limits.requests:
            raise ProviderIncomplete(
                f"After {self._limits.requests:,} requests the {self._what} had not come to an end."
            )

    def take(self, part: Part[T]) -> bool:
        """Whether the answer brought anything that was not seen before."""
        before = len(self._marks)
        self.remember(part.marks)
        self._keys.update(hash(key) for key in part.keys)
        self.hear(part.total)
        if self.read > self._limits.rows:
            raise ProviderIncomplete(
                f"More than {self._limits.rows:,} {self._what} in one scan; read a shorter time (history_days)."
            )
        return len(self._marks) > before

    def hear(self, total: int | None) -> None:
        """What an answer promises counts also where its rows could not be used: rows may have come and gone since."""
        if total is None:
            return
        self.least = total if self.least is None else min(self.least, total)
        self.grown += max(0, total - (total if self._total is None else self._total))
        self._total = total

    def close(self) -> None:
        """Raise unless as many rows came as were promised.

        The smallest promise counts, since rows may have been deleted; less what was seen to be added meanwhile, since
        that may stand where we have been, and is younger than the scan.
        """
        if self.least is not None and self.read < self.least - self.grown:
            raise ProviderIncomplete(f"Airflow promised {self.least} {self._what} and gave {self.read}.")


class Sieve(Generic[T]):
    """Leaves out rows given twice in one page, and those of the page before that come again unchanged."""

    def __init__(self) -> None:
        self._previous: dict[Key, T] = {}

    def sift(self, part: Part[T]) -> list[T]:
        latest = dict(zip(part.keys, part.rows, strict=True))
        fresh = [row for key, row in latest.items() if self._previous.get(key) != row]
        self._previous = latest
        return fresh


def time_of(value: object) -> datetime | None:
    """A time out of a resume token, which may hold anything."""
    try:
        time = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)
