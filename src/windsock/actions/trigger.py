"""From a request to a run: sent once, looked up when the answer was lost, stored at once."""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
import psycopg

from windsock.actions.models import TriggerIn
from windsock.actions.notes import sign_line
from windsock.actions.sending import (
    REQUEST_SECONDS,
    SENDING_SECONDS,
    check_active,
    check_reason,
    claim_or_wait,
    record_failure,
)
from windsock.actions.store import (
    Claim,
    NewAction,
    find_pipeline,
    finish_action,
    get_created_run,
    store_run,
)
from windsock.auth.authenticator import Caller, Space
from windsock.connectors.encryption import Encryption
from windsock.connectors.store import AirflowConnector, load_connector
from windsock.db.database import Row
from windsock.errors import (
    DatabaseFailed,
    Invalid,
    ProviderFailed,
    ProviderTimedOut,
)
from windsock.providers.base import Provider, ProviderRun
from windsock.providers.scopes import ProviderParam, RunRequest


@dataclass(frozen=True, slots=True)
class TriggerService:
    """Triggers runs; `concurrency_limit` bounds concurrent provider requests."""

    secrets: Encryption
    open_provider: Callable[[AirflowConnector, Any], Provider]
    concurrency_limit: asyncio.Semaphore

    async def trigger(self, space: Space, pipeline_id: UUID, body: TriggerIn, key: str | None) -> tuple[Row, bool]:
        """The run, and whether it is the answer to an earlier request of the same key."""
        note = sign_note(body.note, space.caller)
        body_hash = _hash(body)
        pipeline, connector = await self._find(space, pipeline_id)
        check_active(connector)
        check_reason(pipeline, body.note, "note")
        claim = await claim_or_wait(
            space, NewAction(kind="trigger", pipeline_id=pipeline_id, key=key, body_hash=body_hash)
        )
        if claim.acquired:
            request = RunRequest(
                pipeline_external_id=pipeline["pipeline_external_id"],
                external_id=claim.run_external_id,
                conf=body.conf or {},
                logical_date=body.logical_date,
                note=note,
            )
            run = await self._send(space, pipeline, connector, claim, request)
            await self._keep(space, pipeline, claim, run)
        async with space.transaction() as tx:
            return await get_created_run(tx, space, pipeline_id, claim), claim.is_retry

    async def params(self, space: Space, pipeline_id: UUID) -> list[ProviderParam]:
        """Read the parameters of a run from Airflow. Raises ProviderFailed if Airflow does not return them."""
        async with self.open_provider_for(space, pipeline_id) as (provider, external_id):
            return await provider.params(external_id)

    @contextlib.asynccontextmanager
    async def open_provider_for(self, space: Space, pipeline_id: UUID) -> AsyncIterator[tuple[Provider, str]]:
        """Open the provider of a pipeline and return its external id, for a request that a user waits for.

        Raises ProviderFailed where it takes too long.
        """
        pipeline, connector = await self._find(space, pipeline_id)
        provider = self.open_provider(connector, pipeline["api_version"])
        try:
            async with asyncio.timeout(REQUEST_SECONDS), self.concurrency_limit:
                yield provider, pipeline["pipeline_external_id"]
        except TimeoutError:
            raise ProviderTimedOut(f"Airflow did not answer within {REQUEST_SECONDS:g} s.") from None
        finally:
            await provider.aclose()

    async def _find(self, space: Space, pipeline_id: UUID) -> tuple[Row, AirflowConnector]:
        async with space.transaction() as tx:
            pipeline = await find_pipeline(tx, space, pipeline_id)
            return pipeline, await load_connector(tx, space.id, pipeline["connector_id"], self.secrets)

    async def _send(
        self, space: Space, pipeline: Row, connector: AirflowConnector, claim: Claim, request: RunRequest
    ) -> ProviderRun:
        """No connection to the database is held while Airflow thinks."""
        provider = self.open_provider(connector, pipeline["api_version"])
        try:
            async with asyncio.timeout(SENDING_SECONDS), self.concurrency_limit:
                return await provider.trigger(request, may_exist=claim.is_retry)
        except TimeoutError:
            failure: ProviderFailed = ProviderTimedOut(f"Airflow did not answer within {SENDING_SECONDS:g} s.")
            failure.request_sent = claim.is_retry or provider.may_have_triggered
        except ProviderFailed as raised:
            failure = raised
        finally:
            await provider.aclose()
        raise await record_failure(space, claim, failure, connector, _whether_started(failure, claim)) from None

    @staticmethod
    async def _keep(space: Space, pipeline: Row, claim: Claim, run: ProviderRun) -> None:
        try:
            async with space.transaction() as tx:
                await store_run(tx, space, pipeline, claim, run)
                await finish_action(tx, space, claim.action_id, "done")
        except (DatabaseFailed, Invalid, psycopg.Error) as failure:
            raise DatabaseFailed(
                f"Airflow has started the run {run.external_id}, but the database failed before it was noted. Do "
                "not trigger again: the next sync finds it, and so does this request with the same Idempotency-Key.",
                headers={"Retry-After": "5"},
            ) from failure


def sign_note(note: str | None, caller: Caller) -> str:
    """The note with who triggered below it, as Airflow's people will read it."""
    line = sign_line("Triggered", caller, None)
    return f"{note}\n\n{line}" if note else line


def _whether_started(failure: ProviderFailed, claim: Claim) -> str:
    if not failure.request_sent:
        return "No run was started."
    return (
        f"Whether a run was started is not known; it would be {claim.run_external_id}. Asked again with the same "
        "Idempotency-Key, Windsock looks it up first."
    )


def _hash(body: TriggerIn) -> bytes:
    meant = {
        "conf": body.conf or {},
        "logical_date": body.logical_date,
        "note": body.note or None,
    }
    return hashlib.sha256(orjson.dumps(meant, option=orjson.OPT_SORT_KEYS | orjson.OPT_UTC_Z)).digest()
