"""Lists and their responses: rows, unparsable rows, promised total."""

import hashlib
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Generic, Literal, Self, TypeVar

from windsock.errors import ProviderBadResponse
from windsock.providers.airflow.fields import MAX_INTEGER, Fields
from windsock.providers.airflow.http import ApiResponse, Params
from windsock.providers.airflow.loops import region_of
from windsock.providers.base import Json, SkippedRow
from windsock.providers.miscounts import Miscounts
from windsock.providers.scopes import NO_REGION

T = TypeVar("T")

Key = tuple[object, ...]
Kind = Literal["pipelines", "runs", "task_runs"]
_KINDS: Final[dict[str, Kind]] = {"dags": "pipelines", "dag_runs": "runs", "task_instances": "task_runs"}
Fetch = Callable[[str, Params], Awaitable[ApiResponse]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Page sizes, and limits at which a scan stops.

    `page`: rows asked for; 3.3.2 on CPython 3.11 dies at answers of 500 and more. `window`: rows asked for where the
    server has no cap and no order (task instances of 2.x): 10,000 took 45 MB here and 10 s there. `rows`, `requests`:
    the most of a scan. `shortest`: the window of time that is not split further. `failed_requests`: the most of a scan
    that take a failing page apart, besides one for every fourth row that could be read. `naming_requests`: the most of
    a scan that find out which rows cannot be listed. `miscounts`: which lists may lack some of the rows they count.
    """

    page: int = 100
    window: int = 2_000
    rows: int = 1_000_000
    requests: int = 100_000
    shortest: timedelta = timedelta(milliseconds=1)
    failed_requests: int = 300
    naming_requests: int = 60
    miscounts: Miscounts = field(default_factory=Miscounts)


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

    @property
    def kind(self) -> Kind:
        return _KINDS.get(self.name, "task_runs")

    def name_of(self, filters: Params | None = None) -> str:
        """The same for the same list in another pass, whatever the time from which on, or up to which, it is."""
        stems = {name.removesuffix("_gte").removesuffix("_lte") for name in {**self.params, **(filters or {})}}
        return " ".join([self.path, *sorted(stems)])

    @property
    def root(self) -> str:
        """/api/v1 or /api/v2."""
        return "/".join(self.path.split("/")[:3])


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiRequest:
    """One GET whose answer is not a list of ours."""

    path: str
    params: Params


@dataclass(frozen=True, slots=True, kw_only=True)
class ListResponse(Generic[T]):
    """One answer, or several that follow one another.

    `rows` could be parsed, and `keys` identify them. `skipped` holds the rows that could not be parsed or listed, and
    those that are among `rows` without some of their fields. `received`: how many places of the list this covers.
    `row_keys` tell all rows that came apart in the order by id: where rows carry an id that changes (task instances
    of 3.x at a retry), the id is in the mark. `total` is None where the server does not count; with a cursor there
    may be more.
    """

    rows: list[T]
    keys: list[Key]
    skipped: dict[Key, SkippedRow] = field(default_factory=dict)
    row_keys: list[Key]
    received: int
    total: int | None
    has_cursor: bool
    next_cursor: str | None
    as_of: datetime

    def joined(self, following: "ListResponse[T]") -> "ListResponse[T]":
        """Both as one, with what the later one promises."""
        return replace(
            self,
            rows=self.rows + following.rows,
            keys=self.keys + following.keys,
            skipped=self.skipped | following.skipped,
            row_keys=self.row_keys + following.row_keys,
            received=self.received + following.received,
            total=following.total,
        )

    def with_skipped(self, key: Key, skipped: SkippedRow, *, received: int = 0) -> Self:
        return replace(self, skipped=self.skipped | {key: skipped}, received=self.received + received)

    def without_first(self) -> Self:
        """Without the first of the rows that came, which is the last of the part before."""
        first = self.row_keys[0][:-1]
        keeps = [index for index, key in enumerate(self.keys) if key != first]
        return replace(
            self,
            rows=[self.rows[index] for index in keeps],
            keys=[self.keys[index] for index in keeps],
            skipped={key: skipped for key, skipped in self.skipped.items() if key != first},
            row_keys=self.row_keys[1:],
            received=self.received - 1,
        )


def parse_listing(response: ApiResponse, listing: Listing[T]) -> ListResponse[T]:
    """Parse the rows of an answer one by one: one that cannot be parsed does not keep the others away."""
    body = response.body
    raw = body.get(listing.name) if isinstance(body, dict) else None
    if not isinstance(raw, list):
        raise ProviderBadResponse(f"The answer to GET {listing.path} holds no list of {listing.what}.")
    rows: list[T] = []
    keys: list[Key] = []
    marks: list[Key] = []
    skipped: dict[Key, SkippedRow] = {}
    nameless: Counter[str] = Counter()
    for item in raw:
        fields = Fields(item if isinstance(item, dict) else {})
        try:
            row = _parse(item, fields, listing)
            key = listing.key(row)
        except (ProviderBadResponse, *_BUGS_OF_A_PARSER) as failure:
            key = _key_of_unreadable(item, listing.kind, nameless)
            skipped[key] = _skipped(listing.kind, fields, _reason(failure))
        else:
            rows.append(row)
            keys.append(key)
            if fields.unread:
                names = tuple(sorted(fields.unread))
                skipped[key] = replace(_skipped(listing.kind, fields, _without(names)), fields=names)
        number = fields.get("id")
        marks.append((*key, number if isinstance(number, str | int) else None))
    has_cursor = "next_cursor" in body
    return ListResponse(
        rows=rows,
        keys=keys,
        skipped=skipped,
        row_keys=marks,
        received=len(raw),
        total=_total(body, listing, has_cursor=has_cursor),
        has_cursor=has_cursor,
        next_cursor=_cursor(body.get("next_cursor"), listing),
        as_of=response.as_of,
    )


def _parse(item: object, fields: Fields, listing: Listing[T]) -> T:
    if not isinstance(item, dict):
        raise ProviderBadResponse(f"Airflow gave something in its list of {listing.what} that is not an object.")
    return listing.parse(fields)


_BUGS_OF_A_PARSER: Final = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""A row so strange that even a parser that tolerates much trips over it is a row that cannot be parsed, and no more."""


def _reason(failure: Exception) -> str:
    if isinstance(failure, ProviderBadResponse):
        return str(failure)
    return f"Windsock cannot read what Airflow gave ({type(failure).__name__})."


def _without(names: tuple[str, ...]) -> str:
    which = "a value" if len(names) == 1 else "values"
    return f"Airflow gave {which} that cannot be read or stored in {', '.join(names)}."


def _skipped(kind: Kind, fields: Fields, reason: str) -> SkippedRow:
    """With the ids as far as they can be read."""
    dag, run, task = (_text(fields.get(name)) for name in ("dag_id", "dag_run_id", "task_id"))
    index = fields.get("map_index")
    is_index = isinstance(index, int) and not isinstance(index, bool) and -1 <= index <= MAX_INTEGER
    try:
        region = region_of(fields) if kind == "task_runs" else None
    except ProviderBadResponse:
        region = None
    return SkippedRow(
        kind=kind,
        reason=reason,
        pipeline_external_id=dag,
        run_external_id=None if kind == "pipelines" else run,
        task_external_id=task if kind == "task_runs" else None,
        region_id=region.region_id if region and region.region_id != NO_REGION else None,
        region_index=region.region_index if region and region.region_id != NO_REGION else None,
        map_index=index if kind == "task_runs" and is_index else None,
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


NAMELESS: Final = "nameless"
"""The first part of a key that several rows may have in common: they have no ids, and are alike."""
_IDS: Final[dict[Kind, tuple[str, ...]]] = {
    "pipelines": ("dag_id",),
    "runs": ("dag_id", "dag_run_id"),
    "task_runs": ("dag_id", "dag_run_id", "task_id", "map_index"),
}
_REGION: Final = ("region_id", "region_index")


def _key_of_unreadable(item: object, kind: Kind, nameless: Counter[str]) -> Key:
    """By its ids where it has all of them; else by all of it, and how many such rows came before it in the answer."""
    ids = tuple(item.get(name) for name in _IDS[kind]) if isinstance(item, dict) else ()
    region = tuple(item[name] for name in _REGION if item.get(name) is not None) if isinstance(item, dict) else ()
    if ids and all(isinstance(value, str | int) for value in (*ids, *region)):
        return ("unreadable", *ids, *region)
    try:
        written = json.dumps(item, sort_keys=True)
    except RecursionError:
        written = ""
    digest = hashlib.sha256(written.encode()).hexdigest()
    nameless[digest] += 1
    return (NAMELESS, digest, nameless[digest])


def _total(body: Json, listing: Listing[Any], *, has_cursor: bool) -> int | None:
    """Measured: exact with offsets; with a cursor null on 3.2.2 and 3.3.0, on 3.3.2 counted up to a limit it names.

    A count that has come to its limit still promises as many.
    """
    total = body.get("total_entries")
    if total is None and has_cursor:
        return None
    if isinstance(total, bool) or not isinstance(total, int) or total < 0:
        raise ProviderBadResponse(f"The answer to GET {listing.path} does not say how many {listing.what} there are.")
    return total


def _cursor(value: object, listing: Listing[Any]) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise ProviderBadResponse(f"The answer to GET {listing.path} has a next_cursor that is not text.")
    return value


def time_of(value: object) -> datetime | None:
    """A time out of a resume token, which may hold anything."""
    try:
        time = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)
