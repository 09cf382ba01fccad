"""What Airflow's event log says that people did: the only quick way to learn of notes, deletions and pauses.

Measured on 3.3.2 and 2.11.2: neither changes any `updated_at`. Viewers of 2.x, and of 3.x with FAB, may not read the
log (403). Attempts that failed are in it too, so an entry is a hint to look, not a fact.
"""

import json
from datetime import datetime
from itertools import count
from typing import Final

from windsock.errors import ProviderNonsense, ProviderRefused
from windsock.providers.airflow.http import Params
from windsock.providers.airflow.listing import Ask, Question
from windsock.providers.airflow.values import mapping, moment, text
from windsock.providers.contract import Hints, Json

_MOST_PAGES: Final = 5
_MOST_REMEMBERED: Final = 500
_UNKNOWN_PARAMETER: Final = 400
_FORBIDDEN: Final = frozenset({401, 403, 404})
_NOT_ABOUT_THE_DAG: Final = ("trigger", "backfill", "clear", "task", "post_dag_run", "cli", "materialize")


async def read_hints(ask: Ask, ways: list[Question], since: datetime, seen: list[int]) -> Hints:
    """The entries since then, newest first; at most 500, and `is_whole` says whether there were more."""
    known = set(seen)
    for way in ways:
        try:
            rows, is_whole = await _read(ask, way, since)
        except ProviderRefused as failure:
            if failure.status == _UNKNOWN_PARAMETER and way is not ways[-1]:
                continue
            if failure.status not in _FORBIDDEN:
                raise
            break
        ids = [row["event_log_id"] for row in rows]
        return _hints([row for row in rows if row["event_log_id"] not in known], ids, is_whole=is_whole)
    return Hints(runs=[], deleted_pipelines=set(), touches_pipelines=False, seen=None, is_whole=False)


async def _read(ask: Ask, way: Question, since: datetime) -> tuple[list[Json], bool]:
    found: dict[int, Json] = {}
    received = 0
    for page in count(1):
        params: Params = {**way.params, "offset": str(received)}
        body = (await ask(way.path, params)).body
        rows = body.get("event_logs") if isinstance(body, dict) else None
        if not isinstance(rows, list):
            raise ProviderNonsense(f"The answer to GET {way.path} holds no list of events.")
        received += len(rows)
        for row in rows:
            at = moment(mapping(row), "when")
            number = mapping(row).get("event_log_id")
            if not isinstance(number, int):
                raise ProviderNonsense("Airflow gave an event without its event_log_id.")
            if at is not None and at < since:
                return list(found.values()), True
            found.setdefault(number, row)
        total = body.get("total_entries")
        is_all = isinstance(total, int) and received >= total
        if is_all or not rows or page == _MOST_PAGES:
            return list(found.values()), is_all
    raise ProviderNonsense("Airflow's event log has no end.")


def _hints(rows: list[Json], ids: list[int], *, is_whole: bool) -> Hints:
    runs: dict[tuple[str, str], None] = {}
    deleted: set[str] = set()
    touches = False
    for row in rows:
        event, dag = text(row.get("event")) or "", text(row.get("dag_id"))
        run = text(row.get("run_id")) or _run_in(row.get("extra"))
        if dag and run:
            runs.setdefault((dag, run))
        elif dag and not any(word in event for word in _NOT_ABOUT_THE_DAG):
            touches = True
            if "delete" in event:
                deleted.add(dag)
    return Hints(
        runs=list(runs), deleted_pipelines=deleted, touches_pipelines=touches, seen=ids[:_MOST_REMEMBERED],
        is_whole=is_whole,
    )  # fmt: skip


def _run_in(extra: object) -> str | None:
    """Some entries name the run only among what was sent."""
    try:
        sent = json.loads(extra) if isinstance(extra, str) else extra
    except ValueError:
        return None
    return text(mapping(sent).get("dag_run_id") or mapping(sent).get("run_id"))
