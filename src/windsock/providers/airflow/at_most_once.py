"""Sends a request that changes something in Airflow; where its answer is lost, looks what became of it."""

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Literal

from windsock.errors import ProviderFailed, ProviderHTTPError, ProviderPartlyDone, ProviderTimedOut
from windsock.providers.airflow.http import Sleep

TRIES = 3
PAUSES = (0.3, 0.7, 2.0)
"""Seconds between looks that do not see the change: a transaction may end after its connection was cut."""

Done = Literal["yes", "partly", "no"]
Observe = Callable[[], Awaitable[Done]]


async def send_at_most_once(send: Callable[[], Awaitable[object]], observe: Observe, sleep: Sleep) -> None:
    """Send until the change is seen or refused, and again only after looks that did not see it.

    What took too long is not sent again: Airflow may still be working on it. Raises ProviderFailed, whose
    `request_sent` is False where nothing was changed.
    """
    for attempt in range(1, TRIES + 1):
        try:
            await send()
        except ProviderFailed as raised:
            failure = raised
        else:
            return
        if not failure.request_sent:
            raise failure
        is_refusal = isinstance(failure, ProviderHTTPError) and failure.status < HTTPStatus.INTERNAL_SERVER_ERROR
        if is_refusal and attempt == 1:
            raise failure
        done = await _observe(observe, sleep, failure)
        if done == "yes":
            return
        if done == "partly":
            raise ProviderPartlyDone
        if isinstance(failure, ProviderTimedOut) or failure.status == HTTPStatus.GATEWAY_TIMEOUT:
            raise failure
        if is_refusal or attempt == TRIES:
            failure.request_sent = False
            raise failure
    raise AssertionError


async def _observe(observe: Observe, sleep: Sleep, failure: ProviderFailed) -> Done:
    """Raises the failure itself where it cannot be seen what became of the request."""
    for pause in (*PAUSES, 0.0):
        try:
            done = await observe()
        except ProviderFailed:
            raise failure from None
        if done != "no":
            return done
        await sleep(pause)
    return "no"
