"""Reads changes by people from Airflow's event log: the fastest source of notes, deletions and pauses.

Measured on 3.3.2 and 2.11.2: neither changes any `updated_at`. Viewers of 2.x, and of 3.x with FAB, may not read the
log (403). Attempts that failed are in it too, so an entry is a hint to look, not a fact. And both commit the entry
before they act: who looks at once may see what was there before.

Measured on 3.3.2 and 3.4.0b2: bulk requests on the runs of a DAG name them only in the body that is logged. Those
on the runs of all DAGs are logged, but not listed; those on task instances are not logged.
"""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import count
from typing import Any, Final

from windsock.errors import ProviderBadResponse, ProviderHTTPError
from windsock.providers.airflow.dialect import SYSTEM_EVENTS
from windsock.providers.airflow.isolation import Isolation
from windsock.providers.airflow.naming import Namer
from windsock.providers.airflow.parsing import mapping, parse_datetime, text
from windsock.providers.airflow.scans import ApiRequest, Fetch, Key, Limits, Listing, ListResponse, parse_listing
from windsock.providers.airflow.slices import SliceReader
from windsock.providers.base import Json
from windsock.providers.hints import EventLogHints

_MAX_PAGES, _MAX_PAGES_OF_ALL = 50, 5
"""The second is for servers that cannot leave out what their machines write: most of what they give is that."""
_MAX_RECORDED: Final = 5_000
_ALL_DAGS: Final = "~"
"""Stands for all DAGs in a path; the entities of such a bulk request name their own DAG."""
_UNKNOWN_PARAMETER: Final = 400
_FORBIDDEN: Final = frozenset({401, 403, 404})
_NOT_ABOUT_THE_DAG: Final = ("trigger", "backfill", "clear", "task", "post_dag_run", "materialize")
_ACTED_AFTER: Final = timedelta(seconds=20)
"""An action is committed by then; an entry that old is followed for the last time."""
_STARTS: Final = frozenset({"trigger_dag_run", "post_dag_run", "trigger"})
_CLEARS_OR_MARKS: Final = frozenset(
    {
        "clear_dag_run", "clear_dag_runs", "post_clear_task_instances", "clear", "dagrun_clear",
        "update_dag_run_state", "post_set_task_instances_state", "dagrun_failed", "dagrun_success", "dagrun_queued",
        "confirm",
    }
)  # fmt: skip
"""Names of both APIs and of the pages of 2.x. A name that is missing here costs a look; one too many, a note."""


async def read_hints(
    ask: Fetch,
    ways: list[ApiRequest],
    since: datetime,
    seen: list[int],
    once: list[int],
    *,
    behind: timedelta = timedelta(0),
) -> EventLogHints:
    """The entries since then, newest first; at most 5,000, and `is_whole` says whether there were more.

    `behind`: how far the `as_of` of answers is behind the clock by which the log is stamped.
    """
    for way in ways:
        try:
            rows, as_of, is_whole = await _read(ask, way, since)
        except ProviderHTTPError as failure:
            if failure.status == _UNKNOWN_PARAMETER and way is not ways[-1]:
                continue
            if failure.status not in _FORBIDDEN:
                raise
            break
        ids = [row["event_log_id"] for row in rows]
        done = {*seen, *(row["event_log_id"] for row in rows if _is_old(row, as_of + behind))}
        processed = {*seen, *(number for number in once if number not in done)}
        runs, deleted, touches = _extract_runs([row for row in rows if row["event_log_id"] not in processed])
        return EventLogHints(
            runs=runs,
            deleted_pipelines=deleted,
            pipelines_changed=touches,
            processed_ids=[number for number in ids if number in done][:_MAX_RECORDED],
            recheck_ids=[number for number in ids if number not in done][:_MAX_RECORDED],
            is_complete=is_whole,
        )
    return EventLogHints(
        runs=[], deleted_pipelines=set(), pipelines_changed=False, processed_ids=None, recheck_ids=[], is_complete=False
    )


async def _read(ask: Fetch, way: ApiRequest, since: datetime) -> tuple[list[Json], datetime, bool]:
    """Return relevant entries, the server time before the first response, and whether they are complete.

    An entry that cannot be listed or read is passed over, and then it is not all.
    """
    found: dict[int, Json] = {}
    received, as_of, is_all = 0, None, True
    most = _MAX_PAGES if "excluded_events" in way.params else _MAX_PAGES_OF_ALL
    listing = Listing(path=way.path, name="event_logs", params=way.params, parse=_parse, key=_key)

    async def fetch(offset: int, limit: int) -> ListResponse[Json]:
        place = {"limit": str(limit), "offset": str(offset)}
        return parse_listing(await ask(way.path, {**way.params, **place}), listing)

    limits = Limits()
    isolation = Isolation(ask, listing, limits)
    slices = SliceReader(fetch, isolation, listing, limits.page, Namer(ask, listing, limits, lambda _: False))
    for page in count(1):
        part = await slices.read(received)
        as_of, is_all = as_of or part.as_of, is_all and not part.skipped
        received += part.received
        for row in part.rows:
            at = parse_datetime(row, "when")
            if at is not None and at < since:
                return list(found.values()), as_of, is_all
            if _is_worth_following(row):
                found.setdefault(row["event_log_id"], row)
        has_ended = part.total is not None and received >= part.total
        if has_ended or not part.received or page == most:
            return list(found.values()), as_of, has_ended and is_all
    raise ProviderBadResponse("Airflow's event log has no end.")


def _parse(raw: Json) -> Json:
    parse_datetime(raw, "when")
    if not isinstance(raw.get("event_log_id"), int):
        raise ProviderBadResponse("Airflow gave an event without its event_log_id.")
    return dict(raw)


def _key(row: Json) -> Key:
    return (row["event_log_id"],)


def _is_old(row: Json, as_of: datetime) -> bool:
    at = parse_datetime(row, "when")
    return at is None or as_of - at >= _ACTED_AFTER


def _is_worth_following(row: Json) -> bool:
    """Not what `updated_at` shows too. Before 2.10 the API excludes nothing, and later only exact names.

    Who clears on 3.3 may leave a note, and that of a task that was cleared already changes nothing else.
    """
    event = (text(row.get("event")) or "").removeprefix("api.").removeprefix("ui.")
    if event in SYSTEM_EVENTS or event.startswith("cli_") or "heartbeat" in event or event in _STARTS:
        return False
    return event not in _CLEARS_OR_MARKS or _sent(row).get("note") is not None


def _extract_runs(rows: list[Json]) -> tuple[list[tuple[str, str]], set[str], bool]:
    """The runs, the DAGs that were deleted, and whether there is anything about a DAG."""
    runs: dict[tuple[str, str], None] = {}
    deleted: set[str] = set()
    touches = False
    for row in rows:
        event, dag = text(row.get("event")) or "", text(row.get("dag_id"))
        named = _named_runs(row)
        if named:
            runs.update(dict.fromkeys(named))
        elif dag and not any(word in event for word in _NOT_ABOUT_THE_DAG):
            touches = True
            if "delete" in event:
                deleted.add(dag)
    return list(runs), deleted, touches


def _named_runs(row: Json) -> list[tuple[str, str]]:
    """The runs that an entry names: in its own columns, or in the body of the request, which may name many."""
    dag, run = text(row.get("dag_id")), text(row.get("run_id"))
    if run:
        return [(dag, run)] if dag else []
    found = (_named_run(item, dag) for item in _sent_items(_sent(row)))
    return [named for named in found if named is not None]


def _sent_items(body: Json) -> Iterator[Any]:
    """The body itself and what is nested in that of a bulk request of Airflow 3: `dag_runs`, `actions[].entities`."""
    yield body
    yield from _list_in(body, "dag_runs")
    for action in _list_in(body, "actions"):
        yield from _list_in(mapping(action), "entities")


def _named_run(item: Any, dag: str | None) -> tuple[str, str] | None:  # noqa: ANN401 - JSON may be anything
    """The entity of a bulk deletion may be the run id alone."""
    sent = mapping(item)
    run = text(sent.get("dag_run_id") or sent.get("run_id") or (item if isinstance(item, str) else None))
    dag = text(sent.get("dag_id")) or dag
    return (dag, run) if dag and run and dag != _ALL_DAGS else None


def _list_in(body: Json, name: str) -> list[Any]:
    found = body.get(name)
    return found if isinstance(found, list) else []


def _sent(row: Json) -> Json:
    """Return the JSON sent with a request: older versions write a list as a Python literal."""
    extra = row.get("extra")
    try:
        return mapping(json.loads(extra) if isinstance(extra, str) else extra)
    except ValueError:
        return {}
