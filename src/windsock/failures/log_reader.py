"""Reads logs of tasks for many viewers: each once, one at a time of each Airflow, and finished ones from memory."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from windsock.auth.authenticator import Space
from windsock.connectors.encryption import Encryption
from windsock.connectors.store import AirflowConnector, load_connector
from windsock.db.database import Row, Statement
from windsock.db.queries import load
from windsock.errors import Conflict, NotFound, ProviderFailed
from windsock.failures.log_cache import LogCache
from windsock.failures.log_snapshots import LogSnapshot, take_snapshot
from windsock.failures.policy import LogLimit, reads_on_request
from windsock.providers.airflow import ENDED_STATES
from windsock.providers.base import Provider
from windsock.providers.scopes import TaskRunId
from windsock.providers.task_logs import TaskLog
from windsock.tasks import SingleFlight

QUERIES = load(__package__, "logs.sql")

SETTLED = timedelta(minutes=1)
"""After its end a try may still be storing its log."""
OFF = "This connector does not read logs of tasks (its setting read_logs is off). Open the log in Airflow."
NOT_STARTED = "This task has not been started, so that it has no log."


class LogReader:
    """`secrets` decrypt the connector's credentials; `open_provider` is that of the process."""

    def __init__(
        self,
        secrets: Encryption,
        open_provider: Callable[[AirflowConnector, Any], Provider],
        limit: LogLimit | None = None,
    ) -> None:
        self._secrets, self._open_provider = secrets, open_provider
        self._limit = limit or LogLimit()
        self._cache = LogCache()
        self._in_flight: SingleFlight[LogSnapshot] = SingleFlight()

    async def read(self, space: Space, task_run_id: UUID, try_number: int | None = None) -> LogSnapshot:
        """The log of a try, of the newest one by default.

        Raises NotFound, Conflict where the connector reads no logs, and ProviderFailed in Airflow's words.
        """
        (rows,) = await space.fetch_batch(
            Statement(QUERIES["get_task_run_to_read"], {"space_id": space.id, "task_run_id": task_run_id})
        )
        if not rows:
            raise NotFound("task run")
        row = rows[0]
        async with space.transaction() as tx:
            connector = await load_connector(tx, space.id, row["connector_id"], self._secrets)
        if not reads_on_request(connector.config, row["provider_version"]):
            raise Conflict(OFF)
        number = row["try_number"] if try_number is None else try_number
        if number < 1:
            return _nothing(number, is_finished=row["status"] in ENDED_STATES)
        key = (space.id, task_run_id, number)
        found = self._cache.get(key)
        if found is not None:
            return found
        return await self._in_flight.do(str(key), lambda: self._fetch(key, connector, row, number))

    async def _fetch(self, key: tuple[object, ...], connector: AirflowConnector, row: Row, number: int) -> LogSnapshot:
        may_continue = number > row["try_number"] or (number == row["try_number"] and row["status"] not in ENDED_STATES)
        started = time.monotonic()
        try:
            log = await self._fetch_in_turn(connector, row, number, may_continue=may_continue)
        except ProviderFailed as failure:
            self._cache.put_failure(key, failure, time.monotonic() - started)
            raise
        now = datetime.now(UTC)
        snapshot = take_snapshot(log, try_number=number, as_of=now, seconds=time.monotonic() - started)
        ended_at = row["ended_at"] if number == row["try_number"] else None
        is_settled = not may_continue and log.limit is None and (ended_at is None or now - ended_at > SETTLED)
        self._cache.put(key, snapshot, is_settled=is_settled)
        return snapshot

    async def _fetch_in_turn(
        self, connector: AirflowConnector, row: Row, number: int, *, may_continue: bool
    ) -> TaskLog:
        async with self._limit.acquire(connector.id):
            provider = self._open_provider(connector, row["api_version"])
            try:
                which = TaskRunId.of(row["pipeline_external_id"], row["run_external_id"], row)
                return await provider.read_log(which, number, may_continue=may_continue)
            finally:
                await provider.aclose()


def _nothing(number: int, *, is_finished: bool) -> LogSnapshot:
    now = datetime.now(UTC)
    return LogSnapshot(
        try_number=number, lines=(), end=0, is_finished=is_finished, limit=NOT_STARTED, as_of=now, seconds=0.0
    )
