"""Sends the requests of the clouds' libraries through the egress policy, instead of their own HTTP stacks."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from windsock import egress
from windsock.providers.airflow.errors import ForbiddenByPolicy

FAILURES = (egress.HTTPError, egress.InvalidURL, TimeoutError, OSError)
"""What sending raises."""


@dataclass(frozen=True, slots=True)
class GoogleResponse:
    """As google.auth.transport.Response names it."""

    status: int
    headers: Mapping[str, str]
    data: bytes


class GoogleTransport:
    """A google.auth.transport.Request. `error` is google-auth's TransportError, raised from ours."""

    def __init__(self, policy: egress.Policy, timeout_seconds: float, error: type[Exception]) -> None:
        self._policy = policy
        self._timeout_seconds = timeout_seconds
        self._error = error

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        **_: object,
    ) -> GoogleResponse:
        seconds = min(timeout or self._timeout_seconds, self._timeout_seconds)
        try:
            received = egress.send_blocking(
                self._policy, method, url, headers=headers or {}, body=_to_bytes(body), timeout_seconds=seconds
            )
        except FAILURES as error:
            raise self._error(type(error).__name__) from error
        return GoogleResponse(received.status, received.headers, received.body)


@dataclass(frozen=True, slots=True)
class _Body:
    content: bytes

    def stream(self) -> Iterator[bytes]:
        yield self.content


def aws_sender(
    policy: egress.Policy, timeout_seconds: float, response: Callable[..., Any], error: Callable[..., Exception]
) -> Callable[..., Any]:
    """A handler of botocore's event `before-send`, which replaces its own sending.

    `response` is botocore's AWSResponse, `error` its HTTPClientError, raised from ours.
    """

    def send(request: Any, **_: object) -> Any:  # noqa: ANN401 - botocore has no types
        headers = {
            name: value.decode() if isinstance(value, bytes) else value for name, value in request.headers.items()
        }
        try:
            received = egress.send_blocking(
                policy,
                request.method,
                request.url,
                headers=headers,
                body=_to_bytes(request.body),
                timeout_seconds=timeout_seconds,
            )
        except FAILURES as failure:
            raise error(error=type(failure).__name__) from failure
        return response(request.url, received.status, received.headers, _Body(received.body))

    return send


def refused_sign_in(error: BaseException) -> ForbiddenByPolicy | None:
    """The refusal of the policy that a library's error stands for, if it stands for one."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, egress.BlockedByPolicy):
            return ForbiddenByPolicy(f"The sign-in was not sent: {seen}.")
        seen = seen.__cause__
    return None


def _to_bytes(body: bytes | str | None) -> bytes | None:
    return body.encode() if isinstance(body, str) else body
