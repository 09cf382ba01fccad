"""The one place that sends a request to Airflow: counts it, bounds it, retries it, and judges the answer."""

import asyncio
import random
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from typing import Any

import httpx2

from windsock.errors import ProviderFailed, ProviderNonsense, ProviderUnreachable
from windsock.providers.airflow import failures
from windsock.providers.airflow.config import AirflowConfig
from windsock.providers.airflow.values import decode

LARGEST_BODY = 64 * 1024 * 1024
LONGEST_WAIT = 30.0
LONGEST_RETRY_AFTER = 3600.0
"""A proxy that says a year would stop the connector for a year."""
MOST_BEHIND = timedelta(minutes=10)
"""A server whose clock we cannot see may be slow; to read too much again only costs time."""
_RETRIED = frozenset({429, 502, 503, 504})
_DROPPED = (httpx2.ReadError, httpx2.WriteError, httpx2.CloseError, httpx2.RemoteProtocolError)
_LARGE_TO_DECODE = 1_000_000

Sleep = Callable[[float], Awaitable[None]]
Params = Mapping[str, str | Sequence[str]]
"""A parameter with several values is sent several times."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """JSON with 200 or 201. `as_of`: the server's clock before it began to answer; `elapsed` in seconds."""

    status: int
    body: Any
    as_of: datetime
    elapsed: float


@dataclass(frozen=True, slots=True)
class _Outcome:
    answer: Answer | None
    failure: ProviderFailed | None = None
    may_retry: bool = False


@dataclass(frozen=True, slots=True)
class _Received:
    response: httpx2.Response
    body: bytes
    as_of: datetime
    elapsed: float


class Http:
    """Requests one after the other to one Airflow; raises ProviderFailed for all that is not JSON with 200 or 201.

    `tries` counts the first one. `secrets` are struck out of whatever the server says about its errors.
    """

    def __init__(
        self,
        config: AirflowConfig,
        *,
        transport: httpx2.AsyncBaseTransport | None = None,
        sleep: Sleep = asyncio.sleep,
        tries: int = 3,
        largest_body: int = LARGEST_BODY,
    ) -> None:
        self.requests = 0
        self.seconds = 0.0
        self.as_of: datetime | None = None
        self.secrets: set[str] = set()
        self._config = config
        self._transport = transport
        self._sleep = sleep
        self._tries = tries
        self._largest_body = largest_body
        self._opened: httpx2.AsyncClient | None = None
        self._turn = asyncio.Lock()

    async def send(
        self,
        method: str,
        path: str,
        *,
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
        json: Mapping[str, object] | None = None,
        tries: int | None = None,
    ) -> Answer:
        """`tries` is fewer than usual for what must not be sent again unseen."""
        tries = min(tries or self._tries, self._tries)
        for attempt in range(1, tries + 1):
            outcome = await self._once(method, path, params=params, headers=headers, json=json)
            if outcome.answer is not None:
                return outcome.answer
            failure = outcome.failure
            if failure is None or not outcome.may_retry or attempt == tries:
                break
            # A server that asks for a longer pause than we wait is not asked again; the caller is told how long.
            if (failure.retry_after or 0) > LONGEST_WAIT:
                break
            backoff = 0.5 * 2**attempt * random.uniform(0.5, 1)  # noqa: S311 - spreads load, hides nothing
            await self._sleep(max(backoff, failure.retry_after or 0))
        raise failure or ProviderNonsense(f"Airflow gave no answer to {method} {path}.")

    async def aclose(self) -> None:
        if self._opened is not None:
            await self._opened.aclose()
            self._opened = None

    async def cookies(self, path: str, form: Mapping[str, str]) -> dict[str, str]:
        """The cookies with which the form is answered, whatever its body: a sign-in. Sent once; raises for 4xx and 5xx.

        The client itself forgets them, so that a cookie of an earlier sync and one of now go the same way.
        """
        received = await self._receive("POST", path, data=form)
        if isinstance(received, _Outcome):
            raise received.failure or ProviderNonsense(f"Airflow gave no answer to POST {path}.")
        self._client().cookies.clear()
        response = received.response
        if response.status_code >= HTTPStatus.BAD_REQUEST:
            wait = _retry_after(response)
            raise failures.from_status(
                f"POST {path}", response.status_code, None, secrets=self.secrets, retry_after=wait
            )
        found: SimpleCookie = SimpleCookie()
        for line in response.headers.get_list("set-cookie"):
            with suppress(CookieError):
                found.load(line)
        return {name: morsel.value for name, morsel in found.items()}

    async def _once(self, method: str, path: str, **what: Any) -> _Outcome:  # noqa: ANN401 - as send takes it
        received = await self._receive(method, path, **what)
        return received if isinstance(received, _Outcome) else await self._judge(f"{method} {path}", received)

    async def _receive(self, method: str, path: str, **what: Any) -> _Received | _Outcome:  # noqa: ANN401
        """One request at a time; waiting for one's turn is not waiting for Airflow."""
        async with self._turn:
            return await self._receive_now(method, path, **what)

    async def _receive_now(self, method: str, path: str, **what: Any) -> _Received | _Outcome:  # noqa: ANN401
        """Failures are returned, never raised from within: httpx2's errors hold the sent headers."""
        asked = f"{method} {path}"
        try:
            client = self._client()
        except (ssl.SSLError, ValueError):
            return _Outcome(None, _unreadable_certificate(asked))
        self.requests += 1
        began, clock = datetime.now(UTC), time.monotonic()
        seconds = self._config.timeout_seconds
        try:
            async with asyncio.timeout(seconds), client.stream(method, path, **what) as response:
                body = await self._read(response)
        except (TimeoutError, httpx2.TimeoutException):
            return _Outcome(None, failures.timed_out(asked, seconds))
        except httpx2.DecodingError:
            return _Outcome(None, ProviderNonsense(f"The answer to {asked} could not be decompressed."))
        except (httpx2.RequestError, httpx2.InvalidURL, OSError) as error:
            return _Outcome(None, failures.from_transport(asked, error), may_retry=isinstance(error, _DROPPED))
        finally:
            elapsed = time.monotonic() - clock
            self.seconds += elapsed
        if body is None:
            return _Outcome(None, failures.AnswerTooLarge(f"The answer to {asked} is larger than can be taken in."))
        self.as_of = _server_time(response, began, elapsed)
        return _Received(response, body, self.as_of, elapsed)

    async def _judge(self, asked: str, received: _Received) -> _Outcome:
        response, body = received.response, received.body
        status = response.status_code
        if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
            is_https = self._config.base_url.startswith("https:")
            location = response.headers.get("location", "")
            return _Outcome(None, failures.redirected(asked, status, location, is_https=is_https, secrets=self.secrets))
        content_type = response.headers.get("content-type", "")
        data: Any = None
        is_json = _is_json(content_type)
        if is_json:
            try:
                # A page of thousands of task instances would hold up everybody else on this event loop.
                is_large = len(body) > _LARGE_TO_DECODE
                data = await asyncio.to_thread(decode, body) if is_large else decode(body)
            except (ValueError, RecursionError):
                is_json = False
                content_type = "JSON that is cut off or broken"
        if status >= HTTPStatus.BAD_REQUEST:
            wait = _retry_after(response)
            failure = failures.from_status(asked, status, data, secrets=self.secrets, retry_after=wait)
            return _Outcome(None, failure, may_retry=status in _RETRIED)
        if not is_json or status not in {200, 201}:
            return _Outcome(None, failures.not_json(asked, status, content_type))
        return _Outcome(Answer(status=status, body=data, as_of=received.as_of, elapsed=received.elapsed))

    async def _read(self, response: httpx2.Response) -> bytes | None:
        """The whole body, or None when it is larger than what is held in memory."""
        chunks, size = [], 0
        async for chunk in response.aiter_bytes():
            size += len(chunk)
            if size > self._largest_body:
                return None
            chunks.append(chunk)
        return b"".join(chunks)

    def _client(self) -> httpx2.AsyncClient:
        if self._opened is None:
            self._opened = httpx2.AsyncClient(
                base_url=self._config.base_url,
                verify=_tls(self._config),
                transport=self._transport,
                timeout=self._config.timeout_seconds,
                headers={"Accept": "application/json", "User-Agent": "windsock"},
                limits=httpx2.Limits(max_connections=1, max_keepalive_connections=1),
                follow_redirects=False,
            )
        return self._opened


def _tls(config: AirflowConfig) -> ssl.SSLContext:
    """Raises ssl.SSLError or ValueError for a ca_certificate that is no PEM."""
    if not config.base_url.startswith("https:"):
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context = httpx2.create_ssl_context()
    if config.ca_certificate:
        context.load_verify_locations(cadata=config.ca_certificate)
    if not config.verify_tls:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _unreadable_certificate(asked: str) -> ProviderUnreachable:
    return ProviderUnreachable(
        f"{asked} could not be sent to Airflow: ca_certificate is not a certificate.",
        hints=("ca_certificate must be PEM: it begins with -----BEGIN CERTIFICATE-----.",),
    )


def _is_json(content_type: str) -> bool:
    kind = content_type.partition(";")[0].strip().lower()
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))


def _server_time(response: httpx2.Response, began: datetime, elapsed: float) -> datetime:
    """The server's clock before it answered; where it does not tell, ours, less what its own may be behind."""
    with suppress(ValueError, TypeError, OverflowError):
        date = parsedate_to_datetime(response.headers["date"]) if "date" in response.headers else None
        if date is not None and date.tzinfo is not None:
            return date.astimezone(UTC) - timedelta(seconds=elapsed)
    return began - MOST_BEHIND


def _retry_after(response: httpx2.Response) -> float | None:
    """Seconds from a Retry-After header, which may hold seconds or a date; at most an hour, whatever it says."""
    value = response.headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return min(float(value[:9]), LONGEST_RETRY_AFTER)
    with suppress(ValueError, TypeError, OverflowError):
        seconds = (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds()
        return min(max(0.0, seconds), LONGEST_RETRY_AFTER)
    return None
