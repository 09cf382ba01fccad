"""From a request to a run: sent once, looked up when the answer was lost, stored at once."""

import asyncio
import contextlib
import hashlib
import random
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from uuid import UUID

import orjson
import psycopg

from windsock import log
from windsock.actions.models import TriggerIn
from windsock.actions.store import (
    Claim,
    TriggerOutcome,
    claim_request,
    find_pipeline,
    finish_request,
    get_created_run,
    store_run,
)
from windsock.auth.authenticator import Caller, Space
from windsock.connectors.encryption import Encryption
from windsock.connectors.store import AirflowConnector, load_connector
from windsock.db.database import Row
from windsock.errors import (
    Conflict,
    DatabaseFailed,
    Invalid,
    ProviderFailed,
    ProviderHTTPError,
    ProviderRejectedCredentials,
    ProviderTimedOut,
)
from windsock.providers.base import Provider, ProviderRun
from windsock.providers.scopes import ProviderParam, RunRequest

SENDING_SECONDS = 60.0
"""Within LEASE, whatever the connector's own time-out."""
WAITING_SECONDS = 75.0
REQUEST_SECONDS = 10.0
"""Somebody looks at a page meanwhile."""
MAX_SIGNATURE_LENGTH = 398

logger = log.get(__name__)


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
        if not connector.is_active:
            raise Conflict("This pipeline's connector is switched off (is_active is false). Switch it on to trigger.")
        claim = await _claim(space, pipeline_id, key, body_hash)
        if claim.acquired:
            request = RunRequest(
                pipeline_external_id=pipeline["external_id"],
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
                yield provider, pipeline["external_id"]
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
        reply = relay_error(failure, connector, claim)
        outcome: TriggerOutcome = (
            "refused" if isinstance(failure, ProviderHTTPError) and failure.status < 500 else "unknown"  # noqa: PLR2004
        )
        logger.warning("a trigger was not carried out", outcome=outcome, status=reply.status, error=str(reply))
        async with space.transaction() as tx:
            await finish_request(tx, space, claim.request_id, outcome, status=reply.status, detail=str(reply))
        raise reply from None

    @staticmethod
    async def _keep(space: Space, pipeline: Row, claim: Claim, run: ProviderRun) -> None:
        try:
            async with space.transaction() as tx:
                await store_run(tx, space, pipeline, claim, run)
                await finish_request(tx, space, claim.request_id, "created")
        except (DatabaseFailed, Invalid, psycopg.Error) as failure:
            raise DatabaseFailed(
                f"Airflow has started the run {run.external_id}, but the database failed before it was noted. Do "
                "not trigger again: the next sync finds it, and so does this request with the same Idempotency-Key.",
                headers={"Retry-After": "5"},
            ) from failure


async def _claim(space: Space, pipeline_id: UUID, key: str | None, body_hash: bytes) -> Claim:
    """Ours to send, or done; while another process or request sends the same, its end is waited for."""
    started, pause, has_waited = time.monotonic(), 0.05, False
    while True:
        async with space.transaction() as tx:
            claim = await claim_request(tx, space, pipeline_id, key, body_hash, has_waited=has_waited)
        if claim.acquired or claim.is_created:
            return claim
        if time.monotonic() - started > WAITING_SECONDS:
            raise ProviderTimedOut(
                "A request with the same Idempotency-Key is still waiting for Airflow. Ask again with the same key."
            )
        has_waited = True
        await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - spreads load, hides nothing
        pause = min(pause * 2, 1.0)


def sign_note(note: str | None, caller: Caller) -> str:
    """The note with who triggered below it, as Airflow's people will read it."""
    signature = f"Triggered through Windsock by {caller.name} <{caller.email}>"[:MAX_SIGNATURE_LENGTH]
    if not note:
        return signature
    return f"{note}\n\n{signature}"


def relay_error(failure: ProviderFailed, connector: AirflowConnector, claim: Claim) -> ProviderFailed:
    """The provider's refusal in its own words; where it gave none, which connector, and what to check."""
    hint = f" {failure.hints[0]}" if failure.hints else ""
    if isinstance(failure, ProviderRejectedCredentials):
        words = (
            f"{failure.provider_message or 'No reason given'}. Airflow refuses the account of the "
            f"connector {connector.name}.{hint}"
        )
        return ProviderRejectedCredentials(failure.status, words, is_transient=False)
    if isinstance(failure, ProviderHTTPError):
        words = failure.provider_message or f"Airflow (connector {connector.name}) refused without a reason: {failure}"
        if failure.status == HTTPStatus.FORBIDDEN and failure.hints:
            words = f"{words.rstrip('.')}. {' '.join(failure.hints)}"
        return ProviderHTTPError(
            failure.status, words, is_transient=failure.is_transient, retry_after=failure.retry_after
        )
    known = (
        "No run was started."
        if not failure.request_sent
        else (
            f"Whether a run was started is not known; it would be {claim.run_external_id}. Asked again with the same "
            "Idempotency-Key, Windsock looks it up first."
        )
    )
    sentence = ProviderFailed(
        failure.status, f"Connector {connector.name}: {failure}{hint} {known}", is_transient=failure.is_transient
    )
    sentence.request_sent = failure.request_sent
    return sentence


def _hash(body: TriggerIn) -> bytes:
    meant = {
        "conf": body.conf or {},
        "logical_date": body.logical_date,
        "note": body.note or None,
    }
    return hashlib.sha256(orjson.dumps(meant, option=orjson.OPT_SORT_KEYS | orjson.OPT_UTC_Z)).digest()
