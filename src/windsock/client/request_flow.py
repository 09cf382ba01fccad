"""How a call becomes an answer: what is sent, when it is sent again, what the answer means; sends nothing itself."""

import os
import random
from collections.abc import Generator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import httpx2
import orjson
from pydantic import ValidationError

from windsock.client.errors import ClientError, ConnectionFailed, ServerError, error_of
from windsock.client.operations import Call

T = TypeVar("T")

TRIES = 3
LONGEST_PAUSE = 30.0
REPEATED = frozenset({429, 502, 503, 504})
DEFAULT_URL = "http://127.0.0.1:8420"
DEFAULT_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Send:
    """To be answered with a response, or with the error that came instead."""

    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Pause:
    seconds: float


@dataclass(frozen=True, slots=True)
class PageResult:
    """`pages` is how many pages the list has; 1 for what is no list. `next_cursor`: of a list that has cursors."""

    value: Any
    page: int = 1
    pages: int = 1
    next_cursor: str | None = None

    def next_page(self, call: Call[T]) -> Call[T] | None:
        """By cursor where there is one: a row that moves in the list meanwhile then lets no other one be skipped."""
        if self.next_cursor is not None:
            return call.page_behind(self.next_cursor)
        return call.page(self.page + 1) if self.page < self.pages else None


Exchange = Generator[Send | Pause, httpx2.Response | Exception | None, PageResult]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientConfig:
    """Where the server is and who asks. The key is in no representation of this."""

    url: str
    space: str | None
    seconds: float
    headers: Mapping[str, str]

    def __repr__(self) -> str:
        return f"Target({self.url!r}, space={self.space!r})"

    @classmethod
    def create(cls, url: str | None, api_key: str | None, space: str | None, seconds: float) -> "ClientConfig":
        """Read missing values from WINDSOCK_URL, WINDSOCK_API_KEY and WINDSOCK_SPACE."""
        url = (url or os.environ.get("WINDSOCK_URL") or DEFAULT_URL).rstrip("/")
        key = (api_key or os.environ.get("WINDSOCK_API_KEY") or "").strip()
        if not key:
            raise ClientError("An API key is needed: set WINDSOCK_API_KEY, or give it.")
        if not key.isascii() or not key.isprintable() or " " in key:
            raise ClientError("The API key holds characters that no key has. Copy it again, without quotes.")
        headers = {"Authorization": f"Bearer {key}", "Accept": "application/json", "User-Agent": "windsock-client"}
        return cls(url=url, space=space or os.environ.get("WINDSOCK_SPACE"), seconds=seconds, headers=headers)

    def slug(self) -> str:
        if not self.space:
            raise ClientError("Which space? Set WINDSOCK_SPACE, or give it.")
        return self.space

    def exchange(self, call: Call[Any]) -> Exchange:
        """Yields what to do, is sent what came of it, and returns the answer; raises ClientError."""
        request = Send(
            {
                "method": call.method,
                "url": f"{self.url}/api/v1.0{call.path}",
                "params": dict(call.params),
                "json": call.body,
                "headers": {**self.headers, **call.headers},
                "timeout": call.seconds or self.seconds,
            }
        )
        for attempt in range(1, TRIES + 1):
            outcome = yield request
            if isinstance(outcome, httpx2.Response):
                if not self._should_retry(outcome, call) or attempt == TRIES:
                    return _parse_response(outcome, call)
            else:
                failure = self._unreachable(outcome)
                if attempt == TRIES or not (call.is_repeatable or not failure.request_sent) or failure.is_hopeless:
                    raise failure
            pause = 0.5 * 2**attempt * random.uniform(0.5, 1)  # noqa: S311 - spreads load, hides nothing
            retry_after = _retry_after(outcome) if isinstance(outcome, httpx2.Response) else 0.0
            yield Pause(min(max(pause, retry_after), LONGEST_PAUSE))
        raise ClientError("No answer came.")

    @staticmethod
    def _should_retry(response: httpx2.Response, call: Call[Any]) -> bool:
        is_too_many = response.status_code == httpx2.codes.TOO_MANY_REQUESTS
        if is_too_many and "x-provider" not in response.headers:
            return True  # nothing was done
        return call.is_repeatable and not is_too_many and response.status_code in REPEATED

    def _unreachable(self, error: object) -> "_NoResponse":
        unsent = isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout)
        hopeless = isinstance(error, httpx2.UnsupportedProtocol | httpx2.InvalidURL)
        why = "took too long" if isinstance(error, httpx2.TimeoutException) else "cannot be reached"
        hint = "Check the address (WINDSOCK_URL), and that it runs."
        sentence = f"Windsock at {self.url} {why} ({type(error).__name__}). {hint}"
        return _NoResponse(sentence, request_sent=not (unsent or hopeless), is_hopeless=hopeless)


class _NoResponse(ConnectionFailed):
    def __init__(self, sentence: str, *, request_sent: bool, is_hopeless: bool) -> None:
        super().__init__(sentence, request_sent=request_sent)
        self.is_hopeless = is_hopeless


def _parse_response(response: httpx2.Response, call: Call[Any]) -> PageResult:
    if response.is_error:
        raise error_of(response)
    if response.status_code == httpx2.codes.NO_CONTENT:
        return PageResult(None)
    try:
        # Not validate_json, which ends at 200 levels of nesting: a run's conf may have more.
        value = call.response_type.validate_python(orjson.loads(response.content))
    except (ValidationError, orjson.JSONDecodeError):
        detail = f"{response.request.url} answered something that this version of the client does not understand."
        request_id = response.headers.get("x-request-id")
        raise ServerError(response.status_code, detail, provider=None, request_id=request_id) from None
    page, pages = (_number(response.headers.get(name, "1")) for name in ("x-page", "x-total-pages"))
    return PageResult(value, page, pages, response.headers.get("x-next-cursor"))


def _number(text: str) -> int:
    return int(text) if text.isdigit() else 1


def _retry_after(response: httpx2.Response) -> float:
    value = response.headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    with suppress(ValueError, TypeError, OverflowError):
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    return 0.0
