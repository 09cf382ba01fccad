"""Claims an action before it is sent, limits its time, and puts its failure into words."""

import asyncio
import random
import time
from http import HTTPStatus

from windsock import log
from windsock.actions.store import Claim, NewAction, Outcome, claim_action, finish_action
from windsock.auth.authenticator import Space
from windsock.connectors.store import AirflowConnector
from windsock.db.database import Row
from windsock.errors import (
    Conflict,
    Invalid,
    ProviderFailed,
    ProviderHTTPError,
    ProviderPartlyDone,
    ProviderRejectedCredentials,
    ProviderTimedOut,
)

SENDING_SECONDS = 60.0
"""Within LEASE, whatever the connector's own time-out."""
WAITING_SECONDS = 75.0
REQUEST_SECONDS = 10.0
"""Somebody looks at a page meanwhile."""
CRITICAL = frozenset({"high", "critical"})
"""Criticalities for which a space may require a reason."""

logger = log.get(__name__)


def check_active(connector: AirflowConnector) -> None:
    if not connector.is_active:
        raise Conflict("This pipeline's connector is switched off (is_active is false). Switch it on first.")


def check_reason(target: Row, reason: str | None, field: str) -> None:
    """Raise Invalid where the space requires a reason for a pipeline of this criticality, and there is none."""
    if target["requires_reason"] and target["criticality"] in CRITICAL and not reason:
        raise Invalid(
            f"This space requires a reason for actions on pipelines of {target['criticality']} criticality. "
            f"Say why in {field}.",
            loc=("body", field),
        )


async def claim_or_wait(space: Space, action: NewAction) -> Claim:
    """Ours to send, or done; while another process or request sends the same, its end is waited for."""
    started, pause, has_waited = time.monotonic(), 0.05, False
    while True:
        async with space.transaction() as tx:
            claim = await claim_action(tx, space, action, has_waited=has_waited)
        if claim.acquired or claim.is_done:
            return claim
        if time.monotonic() - started > WAITING_SECONDS:
            raise ProviderTimedOut(
                "A request with the same Idempotency-Key is still waiting for Airflow. Ask again with the same key."
            )
        has_waited = True
        await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - spreads load, hides nothing
        pause = min(pause * 2, 1.0)


async def record_failure(
    space: Space, claim: Claim, failure: ProviderFailed, connector: AirflowConnector, consequence: str
) -> ProviderFailed:
    """Write down that an action failed; return the error for the one who asked."""
    reply, outcome = relay_error(failure, connector, consequence), outcome_of(failure)
    logger.warning("an action was not carried out", outcome=outcome, status=reply.status, error=str(reply))
    async with space.transaction() as tx:
        await finish_action(tx, space, claim.action_id, outcome, status=reply.status, detail=str(reply))
    return reply


def outcome_of(failure: ProviderFailed) -> Outcome:
    """Classify the failure of an action."""
    if isinstance(failure, ProviderPartlyDone):
        return "partial"
    if isinstance(failure, ProviderHTTPError) and failure.status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return "refused"
    return "unknown" if failure.request_sent else "failed"


def relay_error(failure: ProviderFailed, connector: AirflowConnector, consequence: str) -> ProviderFailed:
    """The provider's refusal in its own words; where it gave none, the connector, what to check, and `consequence`."""
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
    sentence = ProviderFailed(
        failure.status, f"Connector {connector.name}: {failure}{hint} {consequence}", is_transient=failure.is_transient
    )
    sentence.request_sent = failure.request_sent
    return sentence
