"""One pass over a provider: the pipelines when due, what changed, some history, what was deleted."""

import time as clocks
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from windsock.db import Database, Row
from windsock.errors import ProviderFailed, ProviderRejectedCredentials, ProviderUnreachable
from windsock.providers.airflow.config import AirflowConfig
from windsock.providers.contract import Provider
from windsock.sync import comparison
from windsock.sync.changes import Changes
from windsock.sync.graphs import read_graphs
from windsock.sync.history import History, new_place, save_as_checkpoint, save_in_state
from windsock.sync.holding import refuse_another_airflow, remove_or_hold, witnesses_of
from windsock.sync.latecomers import read_latecomers
from windsock.sync.mirror import Mirror
from windsock.sync.progress import QUERIES, HandedOver, Progress
from windsock.sync.reading import Reading

PIPELINES_EVERY = timedelta(minutes=5)
HISTORY_SECONDS = 15.0
"""How long a scheduled pass reads the history before it ends, so that news come in between."""
LONG_SECONDS = 15.0
"""After that a sync lets others have its worker, where they wait."""
ASKED_EVERY_SECONDS = 2.0
SLOW_SECONDS = 10.0
"""As is_doubtful says in the database: for one answer."""


@dataclass(frozen=True, slots=True)
class Learnt:
    """What a complete pass leaves for the next one. `is_whole`: all is as of its beginning."""

    watermark: datetime
    is_whole: bool
    goes_on: bool
    mode: str
    poll_seconds: float | None
    quick_from: datetime | None
    checked_at: datetime | None
    checked_whole_at: datetime | None
    looks_again: bool
    events: dict[str, Any]
    witnesses: list[dict[str, str]]
    address: str
    is_vouched_for: bool


class Pass:
    """Reads from the provider, stores page by page; a page's transaction holds its rows, counts and checkpoint."""

    def __init__(
        self, db: Database, provider: Provider, config: AirflowConfig, state: Row, mirror: Mirror, progress: Progress
    ) -> None:
        self._reading = Reading(db, provider, config, state, mirror, progress)
        self._db, self._provider, self._config, self._state = db, provider, config, state
        self._progress = progress
        self._began = self._polled_at = self._asked_at = clocks.monotonic()
        self._reading.let_others = self._let_others
        self._changes: Changes | None = None
        self._is_whole = True
        self._checked_at: datetime | None = state["checked_at"]
        self._checked_whole_at: datetime | None = state["checked_whole_at"]

    async def run(self) -> Learnt:
        """What was learnt, once everything before its watermark is stored."""
        await self._identify()
        await self._reading.load()
        await self._look_who_answers()
        # What an interrupted full reading had seen missing before proves nothing; the totals are compared soon.
        was_interrupted = (self._state["checkpoint"] or {}).get("kind") == "history"
        history, watermark = await self._read()
        has_latecomers = await read_latecomers(self._reading)
        if not history.is_complete and history.place["end"]:
            self._progress.warn(f"The history is here back to {history.place['end'][:16]}; the rest follows.")
        compares_soon = await self._compare(watermark)
        looks_again = was_interrupted or compares_soon or self._reading.missing > 0
        for kind, removed in (await remove_or_hold(self._reading)).items():
            self._progress.counts[kind]["removed"] += removed
        await self._reading.save_progress()
        if self._reading.has_listed:
            await read_graphs(self._db, self._provider, self._progress.space_id, self._progress.connector_id)
        changes = self._changes
        return Learnt(
            watermark=watermark,
            is_whole=self._is_whole,
            goes_on=has_latecomers
            or not history.is_complete
            or bool(changes and (changes.is_behind or changes.has_more_to_follow)),
            mode=changes.mode if changes else self._state["mode"],
            poll_seconds=changes.poll_seconds if changes else None,
            quick_from=changes.quick_from if changes else None,
            checked_at=self._checked_at,
            checked_whole_at=self._checked_whole_at,
            looks_again=looks_again,
            events=changes.events if changes else self._state["events"],
            witnesses=await witnesses_of(self._reading, watermark),
            address=self._config.base_url,
            is_vouched_for=self._reading.is_vouched_for,
        )

    async def _read(self) -> tuple[History, datetime]:
        """The history as far as it was read, and the watermark."""
        if self._state["watermark"] is None:
            return await self._begin()
        if self._progress.is_full or (self._state["checkpoint"] or {}).get("kind") == "history":
            return await self._read_again()
        listed_at: datetime | None = self._state["pipelines_listed_at"]
        is_due = listed_at is None or datetime.now(UTC) - listed_at >= PIPELINES_EVERY or self._state["looks_again"]
        # Whoever asks has often just changed something in Airflow.
        if is_due or (self._progress.trigger == "manual" and not self._has_listed_before()):
            await self._reading.list_pipelines()
        watermark = await self._poll(self._state["watermark"], is_hasty=self._progress.trigger != "manual")
        history = self._history(watermark)
        await history.read(seconds=HISTORY_SECONDS)
        return history, watermark

    async def _begin(self) -> tuple[History, datetime]:
        """The first sync: the newest windows, so that there is something to see; a full one reads all of them.

        What an interrupted sync before this one read is as of then, so what changed since is read too.
        """
        listed_at = await self._reading.list_pipelines()
        history = self._history(listed_at)
        as_of = datetime.fromisoformat(history.place["as_of"])
        if self._state["history"] is None:  # before the first row: whatever breaks off from here on is as of then
            await self._save_place(history)
        await history.read(seconds=None if self._progress.is_full else HISTORY_SECONDS, between=self._let_others)
        return history, await self._poll(as_of, saves=False) if self._state["history"] else as_of

    async def _read_again(self) -> tuple[History, datetime]:
        """The whole history, marking what is missing, with what changes meanwhile read in between."""
        self._progress.is_full = True
        if not self._has_listed_before():
            await self._reading.list_pipelines()
        watermark: datetime = self._state["watermark"]
        was = self._state["checkpoint"] or {}
        place = was if was.get("kind") == "history" and "goal" in was else None
        again = History(
            self._reading,
            place or new_place(watermark, self._config.history_days, self._reading.oldest),
            save_as_checkpoint(self._reading),
            finds_missing=True,
        )
        await again.read(seconds=None, between=self._poll_when_due)
        history = self._history(watermark)
        if not history.is_complete:  # all of it has been read now
            history.place = again.place
            await self._save_place(history)
        return history, await self._poll(watermark, is_hasty=False, saves=False)

    # --- Parts -------------------------------------------------------------------------------------------------------

    async def _identify(self) -> None:
        if self._state["api_version"] is not None:
            return
        identity = await self._provider.identify()
        async with self._db.in_space(self._progress.space_id) as tx:
            await tx.run(
                QUERIES["save_identity"],
                **self._reading.names,
                api_version=identity.api_version,
                provider_version=identity.version,
            )

    async def _look_who_answers(self) -> None:
        """Before anything is stored, and at once where something gives a reason to ask: it costs a request."""
        state = self._state
        if not state["witnesses"]:
            return
        self._reading.ask_witnesses = partial(refuse_another_airflow, self._reading, self._config.base_url)
        has_moved = state["address"] != self._config.base_url or state["api_version"] is None
        if has_moved or state["failures"] > 0 or state["held"] is not None:
            await self._reading.vouch()

    def _has_listed_before(self) -> bool:
        """This sync, on the worker that handed it over."""
        listed_at: datetime | None = self._state["pipelines_listed_at"]
        return listed_at is not None and listed_at > self._progress.started_at

    def _history(self, as_of: datetime) -> History:
        place = self._state["history"] or new_place(as_of, self._config.history_days, self._reading.oldest)
        return History(self._reading, place, save_in_state(self._reading), finds_missing=False)

    async def _save_place(self, history: History) -> None:
        async with self._db.in_space(self._progress.space_id) as tx:
            await self._progress.save(tx)
            await save_in_state(self._reading)(history.place)(tx)

    async def _poll(self, watermark: datetime, *, is_hasty: bool = True, saves: bool = True) -> datetime:
        self._changes = self._changes or Changes(self._reading, watermark)
        polled = await self._changes.poll(is_hasty=is_hasty, saves=saves)
        self._polled_at, self._is_whole = clocks.monotonic(), polled.is_whole
        return polled.watermark

    async def _poll_when_due(self) -> None:
        await self._let_others()
        if clocks.monotonic() - self._polled_at >= self._config.sync_interval_seconds:
            await self._poll(self._state["watermark"], saves=False)

    async def _let_others(self) -> None:
        """Hand this long sync over when others wait for a worker; it goes on after them."""
        now = clocks.monotonic()
        if now - self._began < LONG_SECONDS or now - self._asked_at < ASKED_EVERY_SECONDS:
            return
        self._asked_at = now
        is_doubtful = self._state["failures"] > 0 or (self._state["poll_seconds"] or 0) > SLOW_SECONDS
        async with self._db.transaction() as tx:
            waiting = await tx.row(QUERIES["syncs_waiting"], doubtful=is_doubtful)
        if waiting and waiting["total"]:
            raise HandedOver

    async def _compare(self, watermark: datetime) -> bool:
        """Compare the totals when it is time. Whether the next pass is to look again, for other reasons than losses."""
        now, changes = datetime.now(UTC), self._changes
        if self._progress.is_full:
            self._checked_at = self._checked_whole_at = now
            return False
        due = comparison.is_due(self._reading, mode=changes.mode) if changes else "no"
        if due == "no":
            return changes is not None and changes.compares
        try:
            await comparison.Comparison(self._reading).run(watermark, is_whole=due == "whole")
        except (ProviderUnreachable, ProviderRejectedCredentials):
            raise
        except ProviderFailed as failure:  # what was read is true all the same
            self._progress.warn(f"The totals could not be compared this time: {failure}")
        self._checked_at = now
        self._checked_whole_at = now if due == "whole" else self._checked_whole_at
        return False
