"""Libraries that only some connectors need: loaded at first need, and run in a thread for a bounded time."""

import asyncio
from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeVar

from windsock.errors import ProviderFailed, ProviderRejectedCredentials, ProviderTimedOut

SECONDS = 30.0
"""For a whole sign-in, retries included; the libraries' own time-outs for one request are shorter."""

Done = TypeVar("Done")


class ExtraMissing(ProviderFailed):
    """A library is not installed, so nothing was sent; only who runs Windsock can mend it."""

    request_sent = False

    def __init__(self, library: str, extra: str) -> None:
        super().__init__(
            502,
            f"To sign in to this kind of Airflow Windsock needs {library}, which is not installed here.",
            is_transient=False,
            hints=(f"Install it where Windsock runs, then restart: pip install 'windsock[{extra}]'",),
        )


def load(module: str, *, library: str, extra: str) -> Any:  # noqa: ANN401 - the libraries have no types
    """A module of a library that may not be installed."""
    try:
        return import_module(module)
    except ImportError:
        raise ExtraMissing(library, extra) from None


async def run(work: Callable[[], Done | ProviderFailed], *, service: str, seconds: float = SECONDS) -> Done:
    """Return the result of `work`, or raise its failure: errors of the libraries contain what was sent.

    The thread of a call that takes too long goes on until the library's own time-outs end it.
    """
    try:
        async with asyncio.timeout(seconds):
            done = await asyncio.to_thread(work)
    except TimeoutError:
        done = ProviderTimedOut(
            f"{service} did not answer the sign-in within {seconds:g} s.",
            hints=("Check that the service is reachable from where Windsock runs.",),
        )
        done.request_sent = False
    if isinstance(done, ProviderFailed):
        raise done
    return done


def not_as_the_machine(instead: str) -> ProviderRejectedCredentials:
    """An editor of any space could otherwise use whatever the machine may do in the cloud."""
    return ProviderRejectedCredentials(
        401,
        "Windsock may not sign in as the machine on which it runs.",
        is_transient=False,
        hints=(f"Give the connector {instead}, or set WINDSOCK_MACHINE_IDENTITY=true where Windsock runs.",),
    )
