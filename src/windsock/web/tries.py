"""Previous tries of task runs, fetched from Airflow when a page shows them."""

import asyncio
import contextlib
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any
from uuid import UUID

from windsock.actions.trigger import TriggerService
from windsock.auth.authenticator import Space
from windsock.db.database import Row
from windsock.errors import ProviderHTTPError, WindsockError
from windsock.providers.base import ProviderTaskRun
from windsock.providers.scopes import TaskRunId
from windsock.tasks import SingleFlight

MAX_REQUESTED = 20
"""Task runs of one run at once, one request each; those beyond have their turn when the page asks again."""
MOST_OF_A_RUN = 200
"""Of a run in which more were tried again, those that come first."""
WAITED_SECONDS = 1.0
"""Somebody looks at the page: what comes later is there when it asks again."""
SILENT_SECONDS = 60.0
"""After Airflow did not tell, until it is asked again."""
MAX_ENTRIES, MAX_BACKOFFS = 20_000, 1_000

Tried = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Earlier:
    """The earlier tries by id of the task run, oldest first; of how many they are not known, and why.

    `goes_on`: they may be known in a moment.
    """

    tries: dict[str, list[Tried]]
    missing: int
    why: str | None
    goes_on: bool


class PreviousTriesCache:
    """Cache of previous tries. A try that was followed by another one does not change."""

    def __init__(self, triggers: TriggerService) -> None:
        self._triggers = triggers
        self._known: OrderedDict[tuple[str, int], list[Tried] | None] = OrderedDict()
        self._backoff_until: dict[UUID, tuple[float, str]] = {}
        self._asking: SingleFlight[None] = SingleFlight()

    async def get(self, space: Space, run: Row, task_runs: Sequence[Row]) -> Earlier:
        """Of task runs of one run, as the API says them."""
        retried = {(str(task["id"]), task["try_number"]): task for task in task_runs if task["try_number"] > 1}
        selected = dict(islice(retried.items(), MOST_OF_A_RUN))
        wanted = [task for key, task in selected.items() if key not in self._known]
        why = self._silent_because(run["pipeline_id"])
        if wanted and why is None:
            ask = self._asking.do(str(run["id"]), lambda: self._ask(space, run, wanted[:MAX_REQUESTED]))
            with contextlib.suppress(TimeoutError):  # it goes on, and the page asks again
                await asyncio.wait_for(ask, WAITED_SECONDS)
            why = self._silent_because(run["pipeline_id"])
        tries = {key[0]: found for key in retried if (found := self._known.get(key)) is not None}
        unasked = sum(key not in self._known for key in selected)
        return Earlier(tries, len(retried) - len(tries), why, goes_on=unasked > 0 and why is None)

    def _silent_because(self, pipeline_id: UUID) -> str | None:
        until, why = self._backoff_until.get(pipeline_id, (0.0, None))
        return why if time.monotonic() < until else None

    async def _ask(self, space: Space, run: Row, wanted: Sequence[Row]) -> None:
        try:
            async with self._triggers.open_provider_for(space, run["pipeline_id"]) as (provider, pipeline_external_id):
                for task in wanted:
                    which = TaskRunId.of(pipeline_external_id, run["external_id"], task)
                    try:
                        found = [_format_try(task_try) for task_try in await provider.tries(which)]
                    except ProviderHTTPError as refusal:
                        if refusal.status != 404:  # noqa: PLR2004 - gone there, or an Airflow before 2.10
                            raise
                        self._keep(task, None)
                    else:
                        self._keep(
                            task, [task_try for task_try in found if task_try["try_number"] < task["try_number"]]
                        )
        except WindsockError as failure:
            if len(self._backoff_until) >= MAX_BACKOFFS:
                self._backoff_until.clear()
            self._backoff_until[run["pipeline_id"]] = time.monotonic() + SILENT_SECONDS, str(failure)

    def _keep(self, task: Row, found: list[Tried] | None) -> None:
        self._known[str(task["id"]), task["try_number"]] = found
        while len(self._known) > MAX_ENTRIES:
            self._known.popitem(last=False)


def _format_try(row: ProviderTaskRun) -> Tried:
    names = ("try_number", "status", "queued_at", "started_at", "ended_at")
    return {name: getattr(row, name) for name in names}
