"""HTTP clients that check each address against the egress policy at the moment they connect to it."""

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

import httpcore2
import httpx2

from windsock.egress.policy import Policy

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""The addresses of a host, in the order to try them; raises OSError if there are none."""

SECONDS_BETWEEN_ATTEMPTS = 0.25
"""RFC 8305: the next address is tried when the one before has not answered by then."""
MAX_PORT = 65535
MAX_BLOCKING_BODY_BYTES = 1024 * 1024


class BlockedByPolicy(httpcore2.ConnectError):
    """The egress policy does not allow this connection; nothing was sent."""

    def __init__(self, destination: str) -> None:
        super().__init__(f"the egress policy of this Windsock does not allow connections to {destination}")


async def resolve(host: str, port: int) -> list[str]:
    """As the operating system resolves it: also `2130706433` and `0x7f.1` are addresses to it."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:  # a label of more than 63 characters
        raise socket.gaierror(socket.EAI_NONAME, "not a host name") from error
    return list(dict.fromkeys(_address_in(address) for *_, address in found))


def _address_in(address: tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]) -> str:
    text = str(address[0])
    scope = address[3] if len(address) == 4 else 0  # noqa: PLR2004 - of IPv6: address, port, flow, scope
    return f"{text}%{scope}" if scope and "%" not in text else text


class PolicyBackend(httpcore2.AsyncNetworkBackend):
    """Resolves a name once, and dials only addresses of that answer which the policy allows."""

    def __init__(self, policy: Policy, resolve: Resolve) -> None:
        self._policy = policy
        self._resolve = resolve
        self._sockets = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the interface of httpcore2
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        if not 0 < port <= MAX_PORT:
            raise httpcore2.ConnectError("a port that does not exist")
        try:
            async with asyncio.timeout(timeout):
                addresses = await self.allowed_addresses(host, port)
                dial = partial(
                    self._sockets.connect_tcp, port=port, local_address=local_address, socket_options=socket_options
                )
                return await self._first([partial(dial, address) for address in addresses])
        except TimeoutError as error:
            raise httpcore2.ConnectTimeout(str(error)) from error
        except OSError as error:
            raise httpcore2.ConnectError(str(error)) from error

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def allowed_addresses(self, host: str, port: int) -> list[str]:
        """Resolve a host. Raises BlockedByPolicy where the policy allows none of its addresses."""
        if (refusal := self._policy.name_refusal(host)) is not None:
            raise BlockedByPolicy(refusal)
        allowed = []
        for address in await self._resolve(host, port):
            refusal = self._policy.refusal(host, address, port)
            if refusal is None:
                allowed.append(address)
        if not allowed:
            raise BlockedByPolicy(refusal or "a host without an address")
        return allowed

    @staticmethod
    async def _first(
        attempts: Iterable[Callable[[], Awaitable[httpcore2.AsyncNetworkStream]]],
    ) -> httpcore2.AsyncNetworkStream:
        """The first connection that is made; raises what the last attempt raised."""
        waiting = deque(attempts)
        running: set[asyncio.Future[httpcore2.AsyncNetworkStream]] = set()
        failure: BaseException = httpcore2.ConnectError("no address")
        try:
            while waiting or running:
                if waiting:
                    running.add(asyncio.ensure_future(waiting.popleft()()))
                max_wait = SECONDS_BETWEEN_ATTEMPTS if waiting else None
                done, running = await asyncio.wait(running, timeout=max_wait, return_when=asyncio.FIRST_COMPLETED)
                while done:
                    attempt = done.pop()
                    if (error := attempt.exception()) is None:
                        running |= done
                        return attempt.result()
                    failure = error
            raise failure
        finally:
            for attempt in running:
                attempt.cancel()
            for outcome in await asyncio.gather(*running, return_exceptions=True):
                if isinstance(outcome, httpcore2.AsyncNetworkStream):
                    await outcome.aclose()


async def open_socket(
    policy: Policy, host: str, port: int, *, timeout_seconds: float, resolve: Resolve = resolve
) -> socket.socket:
    """Connect to the first address of a host that answers, for protocols other than HTTP.

    Raises OSError, TimeoutError, and BlockedByPolicy where the policy allows none of the addresses.
    """
    if not 0 < port <= MAX_PORT:
        raise OSError("a port that does not exist")
    failure: OSError = OSError("a host without an address")
    async with asyncio.timeout(timeout_seconds):
        for address in await PolicyBackend(policy, resolve).allowed_addresses(host, port):
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            connection = socket.socket(family, socket.SOCK_STREAM)
            connection.setblocking(False)  # noqa: FBT003 - the socket module
            try:
                await asyncio.get_running_loop().sock_connect(connection, (address, port))
            except OSError as error:
                connection.close()
                failure = error
            except BaseException:
                connection.close()
                raise
            else:
                return connection
    raise failure


class PolicyTransport(httpx2.AsyncHTTPTransport):
    def __init__(self, policy: Policy, tls: ssl.SSLContext, limits: httpx2.Limits, resolve: Resolve) -> None:
        super().__init__(verify=tls, trust_env=False, limits=limits)
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=tls,
            max_connections=limits.max_connections,
            max_keepalive_connections=limits.max_keepalive_connections,
            keepalive_expiry=limits.keepalive_expiry,
            network_backend=PolicyBackend(policy, resolve),
        )


def open_client(
    policy: Policy,
    *,
    tls: ssl.SSLContext,
    timeout_seconds: float,
    base_url: str = "",
    headers: Mapping[str, str] | None = None,
    transport: httpx2.AsyncBaseTransport | None = None,
    resolve: Resolve = resolve,
) -> httpx2.AsyncClient:
    """One connection at a time, no redirects, no proxy of the environment: it would connect where the policy forbids.

    `transport` replaces the network, policy included: for tests.
    """
    limits = httpx2.Limits(max_connections=1, max_keepalive_connections=1)
    return httpx2.AsyncClient(
        base_url=base_url,
        transport=transport or PolicyTransport(policy, tls, limits, resolve),
        timeout=timeout_seconds,
        headers=headers,
        follow_redirects=False,
        trust_env=False,
    )


@dataclass(frozen=True, slots=True)
class BlockingResponse:
    status: int
    headers: dict[str, str]
    body: bytes


def send_blocking(
    policy: Policy,
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    body: bytes | None,
    timeout_seconds: float,
) -> BlockingResponse:
    """Send one request from a thread without an event loop: for libraries that bring an HTTP stack of their own.

    Raises httpx2.HTTPError, httpx2.InvalidURL and TimeoutError; an answer of more than 1 MB is an HTTPError.
    """
    return asyncio.run(_send(policy, method, url, headers=headers, body=body, timeout_seconds=timeout_seconds))


async def _send(
    policy: Policy, method: str, url: str, *, headers: Mapping[str, str], body: bytes | None, timeout_seconds: float
) -> BlockingResponse:
    tls = httpx2.create_ssl_context()
    async with (
        open_client(policy, tls=tls, timeout_seconds=timeout_seconds) as client,
        asyncio.timeout(timeout_seconds),
        client.stream(method, url, headers=headers, content=body) as response,
    ):
        received = b""
        async for chunk in response.aiter_bytes():
            received += chunk
            if len(received) > MAX_BLOCKING_BODY_BYTES:
                raise httpx2.ReadError("the answer is too large")
        return BlockingResponse(response.status_code, dict(response.headers), received)
