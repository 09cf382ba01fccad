"""The one place that sends a request to Airflow: counts it, bounds it, retries it, and judges the answer."""

import asyncio
import random
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from typing import Any

from windsock import egress
from windsock.errors import ProviderBadResponse, ProviderFailed
from windsock.providers.airflow import content, errors
from windsock.providers.airflow.clock import ServerClock
from windsock.providers.airflow.config import AirflowConfig
from windsock.providers.airflow.connection import RequestTrace, open_airflow_client, peer_of, unreadable_certificate
from windsock.providers.airflow.parsing import decode
from windsock.providers.airflow.recognition import VERSION_PATHS, RecognizedServers, recognize

MAX_BODY_BYTES = 10 * 1024 * 1024
"""A page that is larger is asked for in smaller pages. CPython needs up to 40 times as much for the parsed JSON."""
MAX_WAIT = 30.0
_RETRIED = frozenset({429, 502, 503, 504})
_DROPPED = (egress.ReadError, egress.WriteError, egress.CloseError, egress.RemoteProtocolError)
_LARGE_TO_DECODE = 200_000

Sleep = Callable[[float], Awaitable[None]]
Params = Mapping[str, str | Sequence[str]]
"""A parameter with several values is sent several times."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiResponse:
    """JSON with 200 or 201. `as_of`: the server's clock before it began to answer; `elapsed` in seconds."""

    status: int
    body: Any
    as_of: datetime
    elapsed: float


@dataclass(frozen=True, slots=True)
class _Received:
    response: egress.Response
    body: bytes
    as_of: datetime
    elapsed: float
    peer: object
    is_streamed: bool


@dataclass(frozen=True, slots=True)
class HttpOutcome:
    response: ApiResponse | None
    failure: ProviderFailed | None = None
    may_retry: bool = False
    received: _Received | None = None


class AirflowHttp:
    """Requests one after the other to one Airflow; raises ProviderFailed for all that is not JSON with 200 or 201.

    `recognized` and `key`: the addresses that answered as an Airflow to this connector before.
    `tries` counts the first one. `secrets` are struck out of whatever the server says about its errors, and it says
    nothing before it was recognised as an Airflow: another program's words are not for those who read ours.
    """

    def __init__(
        self,
        config: AirflowConfig,
        *,
        policy: egress.Policy,
        recognized: RecognizedServers | None = None,
        key: str = "",
        transport: egress.AsyncBaseTransport | None = None,
        sleep: Sleep = asyncio.sleep,
        tries: int = 3,
        largest_body: int = MAX_BODY_BYTES,
    ) -> None:
        self.requests = 0
        self.seconds = 0.0
        self.as_of: datetime | None = None
        self.clock = ServerClock()
        self.secrets: set[str] = set()
        self._config = config
        self._policy = policy
        self._transport = transport
        self._sleep = sleep
        self._tries = tries
        self._largest_body = largest_body
        self._opened: egress.AsyncClient | None = None
        self._lock = asyncio.Lock()
        self._posts: list[tuple[str, RequestTrace]] = []
        self._recognized = recognized or RecognizedServers()
        self._key = key
        self._unrecognized: set[object] = set()

    async def send(
        self,
        method: str,
        path: str,
        *,
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
        json: Mapping[str, object] | None = None,
        tries: int | None = None,
    ) -> ApiResponse:
        """`tries` is fewer than usual for what must not be sent again unseen."""
        tries = min(tries or self._tries, self._tries)
        for attempt in range(1, tries + 1):
            outcome = await self._once(method, path, params=params, headers=headers, json=json)
            if outcome.response is not None:
                return outcome.response
            failure = outcome.failure
            if failure is None or not outcome.may_retry or attempt == tries:
                break
            # A server that asks for a longer pause than we wait is not asked again; the caller is told how long.
            if (failure.retry_after or 0) > MAX_WAIT:
                break
            backoff = 0.5 * 2**attempt * random.uniform(0.5, 1)  # noqa: S311 - spreads load, hides nothing
            await self._sleep(max(backoff, failure.retry_after or 0))
        raise await self._with_words(method, path, headers, outcome)

    async def stream(
        self, method: str, path: str, *, params: Params, headers: Mapping[str, str], sink: content.BodySink, accept: str
    ) -> ApiResponse:
        """A request, sent once, whose body `sink` takes as it comes: of a server that was recognised as an Airflow."""
        wanted = {**headers, "Accept": accept, "Accept-Encoding": "identity"}
        if not self._recognized.has_any(self._key):
            await self._once("GET", _version_path(path), headers=headers)
        outcome = await self._once(method, path, params=params, headers=wanted, sink=sink)
        received = outcome.received
        if outcome.response is None and received is not None and sink.accepts(received.response):
            await self._with_words(method, path, headers, outcome)  # recognises the server, if it is one
            outcome = await self._once(method, path, params=params, headers=wanted, sink=sink)
        if outcome.response is None:
            raise await self._with_words(method, path, headers, outcome)
        return outcome.response

    def may_have_posted(self, suffix: str) -> bool:
        """Whether a POST to a path with this ending may have reached the server."""
        return any(path.endswith(suffix) and trace.may_have_left for path, trace in self._posts)

    async def aclose(self) -> None:
        if self._opened is not None:
            await self._opened.aclose()
            self._opened = None

    async def cookies(self, path: str, form: Mapping[str, str]) -> dict[str, str]:
        """The cookies with which the form is answered, whatever its body: a sign-in. Sent once; raises for 4xx and 5xx.

        The client itself forgets them, so that a cookie of an earlier sync and one of now go the same way.
        """
        received = await self._receive("POST", path, data=form)
        if isinstance(received, HttpOutcome):
            raise received.failure or ProviderBadResponse(f"Airflow gave no answer to POST {path}.")
        self._client().cookies.clear()
        response = received.response
        if response.status_code >= HTTPStatus.BAD_REQUEST:
            wait = errors.retry_after(response)
            raise errors.from_status(
                f"POST {path}", response.status_code, None, secrets=self.secrets, retry_after=wait, shows_words=False
            )
        found: SimpleCookie = SimpleCookie()
        for line in response.headers.get_list("set-cookie"):
            with suppress(CookieError):
                found.load(line)
        return {name: morsel.value for name, morsel in found.items()}

    async def _once(self, method: str, path: str, **what: Any) -> HttpOutcome:  # noqa: ANN401 - as send takes it
        received = await self._receive(method, path, **what)
        return received if isinstance(received, HttpOutcome) else await self._interpret(f"{method} {path}", received)

    async def _receive(self, method: str, path: str, **what: Any) -> _Received | HttpOutcome:  # noqa: ANN401
        """One request at a time; waiting for one's turn is not waiting for Airflow."""
        async with self._lock:
            return await self._receive_now(method, path, **what)

    async def _receive_now(
        self,
        method: str,
        path: str,
        *,
        sink: content.BodySink | None = None,
        **what: Any,  # noqa: ANN401
    ) -> _Received | HttpOutcome:
        """Failures are returned, never raised from within: httpx2's errors hold the sent headers."""
        request_text, is_streamed = f"{method} {path}", False
        try:
            client = self._client()
        except (ssl.SSLError, ValueError):
            return HttpOutcome(None, unreadable_certificate(request_text))
        trace = RequestTrace(is_blind=self._transport is not None)
        if method == "POST":
            self._posts.append((path, trace))
        self.requests += 1
        started_at, clock, encoding = datetime.now(UTC), time.monotonic(), ""
        seconds = sink.seconds if sink else self._config.timeout_seconds
        try:
            async with (
                asyncio.timeout(seconds),
                client.stream(method, path, extensions={"trace": trace}, **what) as response,
            ):
                encoding = response.headers.get("content-encoding", "")
                peer = peer_of(response)
                if sink is None or not sink.accepts(response):
                    body = await content.read_bounded(response, self._largest_body)
                elif is_streamed := self._is_recognized(peer):
                    body = await content.fill(sink, response)
                else:
                    body = b""
        except (TimeoutError, egress.TimeoutException):
            return HttpOutcome(None, errors.timed_out(request_text, seconds, request_sent=trace.may_have_left))
        except egress.DecodingError:
            return HttpOutcome(None, errors.wrongly_compressed(request_text, encoding, is_known=True))
        except (egress.RequestError, egress.InvalidURL, OSError) as error:
            failure = errors.from_transport(request_text, error, request_sent=trace.may_have_left)
            return HttpOutcome(None, failure, may_retry=isinstance(error, _DROPPED))
        finally:
            elapsed = time.monotonic() - clock
            self.seconds += elapsed
        if body is None:
            return HttpOutcome(
                None, errors.ResponseTooLarge(f"The answer to {request_text} is larger than can be taken in.")
            )
        self.as_of = self.clock.read(response.headers.get("date"), started_at, elapsed)
        return _Received(response, body, self.as_of, elapsed, peer, is_streamed)

    async def _with_words(
        self, method: str, path: str, headers: Mapping[str, str] | None, outcome: HttpOutcome
    ) -> ProviderFailed:
        """The failure; with what the server says, if the address that answered is an Airflow's."""
        received, request_text = outcome.received, f"{method} {path}"
        if received is not None and path not in VERSION_PATHS.values():
            if not self._is_recognized(received.peer) and received.peer not in self._unrecognized:
                self._unrecognized.add(received.peer)
                await self._once("GET", _version_path(path), headers=headers)
            if self._is_recognized(received.peer):
                outcome = await self._interpret(request_text, received, shows_words=True)
        return outcome.failure or ProviderBadResponse(f"Airflow gave no answer to {request_text}.")

    def _is_recognized(self, address: object) -> bool:
        return self._recognized.has(self._key, address)

    async def _interpret(self, request_text: str, received: _Received, *, shows_words: bool = False) -> HttpOutcome:
        response, body = received.response, received.body
        status = response.status_code
        if received.is_streamed:
            return HttpOutcome(ApiResponse(status=status, body=None, as_of=received.as_of, elapsed=received.elapsed))
        if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
            is_https = self._config.base_url.startswith("https:")
            location = response.headers.get("location", "")
            failure: ProviderFailed = errors.redirected(
                request_text, status, location, is_https=is_https, secrets=self.secrets, shows_words=shows_words
            )
            return HttpOutcome(None, failure, received=received)
        content_type = response.headers.get("content-type", "")
        data: Any = None
        is_json, is_broken = content.is_json_type(content_type), False
        if is_json and content.holds_too_many_values(body):
            return HttpOutcome(
                None, errors.ResponseTooLarge(f"The answer to {request_text} holds more values than are read.")
            )
        if is_json:
            try:
                # A page of thousands of task instances would hold up everybody else on this event loop.
                is_large = len(body) > _LARGE_TO_DECODE
                data = await asyncio.to_thread(decode, body) if is_large else decode(body)
            except (ValueError, RecursionError):
                is_broken = True
        if status >= HTTPStatus.BAD_REQUEST:
            wait = errors.retry_after(response)
            failure = errors.from_status(
                request_text, status, data, secrets=self.secrets, retry_after=wait, shows_words=shows_words
            )
            return HttpOutcome(None, failure, may_retry=status in _RETRIED, received=received)
        complaint = content.complaint_about(
            request_text, response, is_json=is_json, is_broken=is_broken, shows_words=shows_words
        )
        if complaint is not None:
            return HttpOutcome(None, complaint, received=received)
        for api_version, path in VERSION_PATHS.items():
            if request_text == f"GET {path}" and recognize(api_version, data) is not None:
                self._recognized.add(self._key, received.peer)
        return HttpOutcome(ApiResponse(status=status, body=data, as_of=received.as_of, elapsed=received.elapsed))

    def _client(self) -> egress.AsyncClient:
        if self._opened is None:
            self._opened = open_airflow_client(self._config, self._policy, self._transport)
        return self._opened


def _version_path(path: str) -> str:
    """The version endpoint of the API that `path` belongs to."""
    return VERSION_PATHS["v1" if path.startswith("/api/v1/") else "v2"]
