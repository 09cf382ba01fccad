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
from windsock.access.space import Caller, Space
from windsock.connectors.secrets import Secrets
from windsock.connectors.store import AirflowConnector, open_connector
from windsock.db import Row
from windsock.errors import (
    Conflict,
    DatabaseFailed,
    Invalid,
    ProviderFailed,
    ProviderRefused,
    ProviderRejectedCredentials,
    ProviderTimedOut,
)
from windsock.providers.contract import Provider, ProviderRun
from windsock.providers.scopes import ProviderParam, RunRequest
from windsock.triggers.models import TriggerIn
from windsock.triggers.store import (
    Claim,
    Outcome,
    claim_request,
    created_run,
    find_pipeline,
    finish_request,
    store_run,
)

SENDING_SECONDS = 60.0
"""Within LEASE, whatever the connector's own time-out."""
WAITING_SECONDS = 75.0
ASKING_SECONDS = 10.0
"""Somebody looks at a page meanwhile."""
LONGEST_SIGNATURE = 398

logger = log.get(__name__)


@dataclass(frozen=True, slots=True)
class Triggers:
    """What triggering needs in this process; `turns` bounds how many ask a provider at the same time."""

    secrets: Secrets
    open_provider: Callable[[AirflowConnector, Any], Provider]
    turns: asyncio.Semaphore

    async def trigger(self, space: Space, pipeline_id: UUID, given: TriggerIn, key: str | None) -> tuple[Row, bool]:
        """The run, and whether it is the answer to an earlier request of the same key."""
        note = signed(given.note, space.caller)
        body_hash = _hash(given)
        pipeline, connector = await self._find(space, pipeline_id)
        if not connector.is_active:
            raise Conflict("This pipeline's connector is switched off (is_active is false). Switch it on to trigger.")
        claim = await _claim(space, pipeline_id, key, body_hash)
        if claim.is_mine:
            request = RunRequest(
                pipeline_external_id=pipeline["external_id"],
                external_id=claim.run_external_id,
                conf=given.conf or {},
                logical_date=given.logical_date,
                note=note,
            )
            run = await self._send(space, pipeline, connector, claim, request)
            await self._keep(space, pipeline, claim, run)
        async with space.transaction() as tx:
            return await created_run(tx, space, pipeline_id, claim), claim.was_tried

    async def params(self, space: Space, pipeline_id: UUID) -> list[ProviderParam]:
        """What a run may be given, asked of Airflow now. Raises ProviderFailed where it does not say."""
        async with self.asking(space, pipeline_id) as (provider, external_id):
            return await provider.params(external_id)

    @contextlib.asynccontextmanager
    async def asking(self, space: Space, pipeline_id: UUID) -> AsyncIterator[tuple[Provider, str]]:
        """The provider of a pipeline and its name there, for what somebody waits for in front of a page.

        Raises ProviderFailed where it takes too long.
        """
        pipeline, connector = await self._find(space, pipeline_id)
        provider = self.open_provider(connector, pipeline["api_version"])
        try:
            async with asyncio.timeout(ASKING_SECONDS), self.turns:
                yield provider, pipeline["external_id"]
        except TimeoutError:
            raise ProviderTimedOut(f"Airflow did not answer within {ASKING_SECONDS:g} s.") from None
        finally:
            await provider.aclose()

    async def _find(self, space: Space, pipeline_id: UUID) -> tuple[Row, AirflowConnector]:
        async with space.transaction() as tx:
            pipeline = await find_pipeline(tx, space, pipeline_id)
            return pipeline, await open_connector(tx, space.id, pipeline["connector_id"], self.secrets)

    async def _send(
        self, space: Space, pipeline: Row, connector: AirflowConnector, claim: Claim, request: RunRequest
    ) -> ProviderRun:
        """No connection to the database is held while Airflow thinks."""
        provider = self.open_provider(connector, pipeline["api_version"])
        try:
            async with asyncio.timeout(SENDING_SECONDS), self.turns:
                return await provider.trigger(request, may_exist=claim.was_tried)
        except TimeoutError:
            failure: ProviderFailed = ProviderTimedOut(f"Airflow did not answer within {SENDING_SECONDS:g} s.")
            failure.was_sent = claim.was_tried or provider.may_have_triggered
        except ProviderFailed as raised:
            failure = raised
        finally:
            await provider.aclose()
        told = relayed(failure, connector, claim)
        outcome: Outcome = "refused" if isinstance(failure, ProviderRefused) and failure.status < 500 else "unknown"  # noqa: PLR2004
        logger.warning("a trigger was not carried out", outcome=outcome, status=told.status, error=str(told))
        async with space.transaction() as tx:
            await finish_request(tx, space, claim.request_id, outcome, status=told.status, detail=str(told))
        raise told from None

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
    began, pause, has_waited = time.monotonic(), 0.05, False
    while True:
        async with space.transaction() as tx:
            claim = await claim_request(tx, space, pipeline_id, key, body_hash, has_waited=has_waited)
        if claim.is_mine or claim.is_created:
            return claim
        if time.monotonic() - began > WAITING_SECONDS:
            raise ProviderTimedOut(
                "A request with the same Idempotency-Key is still waiting for Airflow. Ask again with the same key."
            )
        has_waited = True
        await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - spreads load, hides nothing
        pause = min(pause * 2, 1.0)


def signed(note: str | None, caller: Caller) -> str:
    """The note with who triggered below it, as Airflow's people will read it."""
    signature = f"Triggered through Windsock by {caller.name} <{caller.email}>"[:LONGEST_SIGNATURE]
    if not note:
        return signature
    return f"{note}\n\n{signature}"


def relayed(failure: ProviderFailed, connector: AirflowConnector, claim: Claim) -> ProviderFailed:
    """The provider's refusal in its own words; where it gave none, which connector, and what to check."""
    hint = f" {failure.hints[0]}" if failure.hints else ""
    if isinstance(failure, ProviderRejectedCredentials):
        words = (
            f"{failure.said or 'No reason given'}. Airflow refuses the account of the connector {connector.name}.{hint}"
        )
        return ProviderRejectedCredentials(failure.status, words, is_transient=False)
    if isinstance(failure, ProviderRefused):
        words = failure.said or f"Airflow (connector {connector.name}) refused without a reason: {failure}"
        if failure.status == HTTPStatus.FORBIDDEN and failure.hints:
            words = f"{words.rstrip('.')}. {' '.join(failure.hints)}"
        return ProviderRefused(
            failure.status, words, is_transient=failure.is_transient, retry_after=failure.retry_after
        )
    known = (
        "No run was started."
        if not failure.was_sent
        else (
            f"Whether a run was started is not known; it would be {claim.run_external_id}. Asked again with the same "
            "Idempotency-Key, Windsock looks it up first."
        )
    )
    told = ProviderFailed(
        failure.status, f"Connector {connector.name}: {failure}{hint} {known}", is_transient=failure.is_transient
    )
    told.was_sent = failure.was_sent
    return told


def _hash(given: TriggerIn) -> bytes:
    meant = {
        "conf": given.conf or {},
        "logical_date": given.logical_date,
        "note": given.note or None,
    }
    return hashlib.sha256(orjson.dumps(meant, option=orjson.OPT_SORT_KEYS | orjson.OPT_UTC_Z)).digest()
