"""Carries an action out: written down first, sent at most once, mirrored at once."""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import orjson

from windsock import log
from windsock.actions.notes import append_line
from windsock.actions.sending import (
    REQUEST_SECONDS,
    SENDING_SECONDS,
    check_active,
    claim_or_wait,
    record_failure,
    relay_error,
)
from windsock.actions.store import (
    Claim,
    Kind,
    NewAction,
    find_pipeline,
    find_run,
    find_task_runs,
    finish_action,
    store_run_with_tasks,
)
from windsock.auth.authenticator import Space
from windsock.connectors.encryption import Encryption
from windsock.connectors.store import AirflowConnector, load_connector
from windsock.db.database import Row, Transaction
from windsock.errors import Conflict, ProviderFailed, ProviderTimedOut
from windsock.providers.actions import ActingProvider, ProviderActions
from windsock.providers.base import ProviderRun, ProviderTaskRun
from windsock.providers.scopes import SingleRun, TaskRunId

OpenProvider = Callable[[AirflowConnector, Any], ActingProvider]
Work = Callable[[ProviderActions, Claim], Awaitable[None]]

logger = log.get(__name__)


@dataclass(frozen=True, slots=True)
class Target:
    """Target of an action. `row`: a run with its pipeline, or a pipeline; `task_run_id`: a task run of the run."""

    row: Row
    connector: AirflowConnector
    task_run_id: UUID | None = None

    @property
    def run(self) -> SingleRun:
        return SingleRun(self.row["pipeline_external_id"], self.row["run_external_id"], self.row["position"])

    def task_run_key(self, row: Row) -> TaskRunId:
        """The provider's identity of a mirrored task run of the run."""
        return TaskRunId.of(self.row["pipeline_external_id"], self.row["run_external_id"], row)

    def new_action(
        self,
        kind: Kind,
        parameters: Mapping[str, Any],
        key: str | None,
        reason: str | None,
        unlogged: Mapping[str, Any] | None = None,
    ) -> NewAction:
        """`unlogged`: values that are only compared when the key is used again, such as secrets and ids."""
        target = {"run_id": self.row.get("run_id"), "task_run_id": self.task_run_id}
        meant = {"kind": kind, **target, "parameters": parameters, "reason": reason, "more": unlogged}
        return NewAction(
            kind=kind,
            pipeline_id=self.row["pipeline_id"],
            key=key,
            body_hash=hashlib.sha256(orjson.dumps(meant, option=orjson.OPT_SORT_KEYS)).digest(),
            parameters=parameters,
            reason=reason,
            **target,
        )


@dataclass(frozen=True, slots=True)
class Relay:
    """`concurrency_limit` bounds concurrent provider requests."""

    secrets: Encryption
    open_provider: OpenProvider
    concurrency_limit: asyncio.Semaphore

    async def find_pipeline(self, space: Space, pipeline_id: UUID) -> Target:
        async with space.transaction() as tx:
            return await self._load(tx, space, await find_pipeline(tx, space, pipeline_id))

    async def find_run(self, space: Space, run_id: UUID) -> Target:
        async with space.transaction() as tx:
            return await self._load(tx, space, await find_run(tx, space, run_id))

    async def find_task_run(self, space: Space, task_run_id: UUID) -> tuple[Target, TaskRunId]:
        async with space.transaction() as tx:
            (row,) = await find_task_runs(tx, space, [task_run_id])
            target = await self._load(tx, space, await find_run(tx, space, row["run_id"]))
        return replace(target, task_run_id=task_run_id), target.task_run_key(row)

    async def _load(self, tx: Transaction, space: Space, row: Row) -> Target:
        connector = await load_connector(tx, space.id, row["connector_id"], self.secrets)
        check_active(connector)
        return Target(row, connector)

    @contextlib.asynccontextmanager
    async def open(self, target: Target) -> AsyncIterator[ProviderActions]:
        """Open the provider for reading, with the timeout of a page. Raises ProviderFailed."""
        provider = self.open_provider(target.connector, target.row["api_version"])
        try:
            async with asyncio.timeout(REQUEST_SECONDS), self.concurrency_limit:
                yield provider.actions
        except TimeoutError:
            raise ProviderTimedOut(f"Airflow did not answer within {REQUEST_SECONDS:g} s.") from None
        except ProviderFailed as failure:
            raise relay_error(failure, target.connector, "Nothing was changed.") from None
        finally:
            await provider.aclose()

    async def carry_out(
        self, space: Space, target: Target, action: NewAction, work: Work, line: str | None = None
    ) -> Claim:
        """Do the work, unless an earlier request of the same key has; then mirror the run.

        `line`: for the note of the run in Airflow. Raises Conflict or ProviderFailed as the work does, in words for the
        one who asked.
        """
        claim = await claim_or_wait(space, action)
        if not claim.acquired:
            return claim
        provider = self.open_provider(target.connector, target.row["api_version"])
        try:
            await self._send(space, target, claim, provider, work)
            read = await self._read_back(target, provider, line) if "run_id" in target.row else None
        finally:
            await provider.aclose()
        async with space.transaction() as tx:
            await finish_action(tx, space, claim.action_id, "done")
            if read is not None:
                await store_run_with_tasks(tx, space, target.row, *read)
        return claim

    async def _send(self, space: Space, target: Target, claim: Claim, provider: ActingProvider, work: Work) -> None:
        """No connection to the database is held while Airflow thinks."""
        try:
            async with asyncio.timeout(SENDING_SECONDS), self.concurrency_limit:
                await work(provider.actions, claim)
        except TimeoutError:
            failure: ProviderFailed = ProviderTimedOut(f"Airflow did not answer within {SENDING_SECONDS:g} s.")
        except ProviderFailed as raised:
            failure = raised
        except Conflict as conflict:
            async with space.transaction() as tx:
                await finish_action(tx, space, claim.action_id, "refused", status=conflict.status, detail=str(conflict))
            raise
        else:
            return
        failure.request_sent = claim.is_retry or (failure.request_sent and provider.actions.may_be_sent)
        raise await record_failure(space, claim, failure, target.connector, _consequence(failure)) from None

    @staticmethod
    async def _read_back(
        target: Target, provider: ActingProvider, line: str | None
    ) -> tuple[ProviderRun, list[ProviderTaskRun]] | None:
        """The run as it is now, after the line was added to its note.

        What fails here changes nothing about the action: it is done, and the next sync shows it.
        """
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                run, tasks = await provider.actions.read_run(target.run)
                note = append_line(run.note, line) if line else None
                if note is None:
                    return run, tasks
                await provider.actions.note_run(target.run, note)
                return replace(run, note=note), tasks
        except (TimeoutError, ProviderFailed) as failure:
            logger.warning("a run could not be noted or read after an action", error=str(failure))
            return None


def _consequence(failure: ProviderFailed) -> str:
    if not failure.request_sent:
        return "Nothing was changed."
    return (
        "Whether Airflow carried it out is not known. Asked again with the same Idempotency-Key, Windsock looks first."
    )
