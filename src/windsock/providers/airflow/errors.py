"""Turns what went wrong on the way to Airflow into an error with a sentence and hints that a person can act on."""

import errno
import socket
import ssl
from collections.abc import Collection, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from urllib.parse import urlsplit

from windsock import egress
from windsock.errors import (
    ProviderBadResponse,
    ProviderFailed,
    ProviderHTTPError,
    ProviderRejectedCredentials,
    ProviderTimedOut,
    ProviderUnreachable,
)
from windsock.providers.airflow.permissions import permission_hint

_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
MAX_RETRY_AFTER = 3600.0
"""A proxy that says a year would stop the connector for a year."""
_LONGEST_DETAIL = 2000
_SHORTEST_SECRET = 4
_REMOVED = "has been removed in Airflow 3"

LOGIN_HINT = (
    "Something in front of Airflow wants a person to sign in (a login page, a proxy). Give Windsock an address or a "
    "token with which a program gets in."
)
PATH_HINT = (
    "Check the path of base_url: it must be what stands before /home or /dags in the browser when Airflow is open, "
    "for instance https://example.com/airflow."
)


class ResponseTooLarge(ProviderBadResponse):
    """More bytes than are read into memory; a smaller window of time may fit."""


class BrokenJson(ProviderBadResponse):
    """JSON that ends too early, or that cannot be parsed: a row may have broken it."""


class WrongApiVersion(ProviderBadResponse):
    """This Airflow has the other API: upgraded, or api_version is set wrongly; `identify` finds the right one."""

    def __init__(self, sentence: str, *, hints: tuple[str, ...] = ()) -> None:
        super().__init__(sentence, hints=hints, is_transient=False)


class ForbiddenByPolicy(ProviderUnreachable):
    """The egress policy of this installation does not allow the connection; only its operator can change that."""

    def __init__(self, sentence: str) -> None:
        hint = "Check the host in base_url. The operator of this Windsock decides where it connects to."
        super().__init__(sentence, hints=(hint,), request_sent=False)
        self.is_transient = False


class SignInDemanded(ProviderBadResponse):
    """A redirect or a page instead of an answer: refused by what guards the server, before it was carried out."""

    request_sent = False


def redact(words: str, secrets: Collection[str]) -> str:
    """Some servers repeat in their error what they were sent, passwords included."""
    for secret in secrets:
        if len(secret) >= _SHORTEST_SECRET:
            words = words.replace(secret, "…")
    return words


def _detail(body: object, secrets: Collection[str]) -> str:
    """Return the message of a JSON error in one line: v2 sends text, a list or an object; v1 title and detail."""
    if not isinstance(body, dict):
        return ""
    found = body.get("detail") or body.get("title") or body.get("error")
    if isinstance(found, list):
        found = "; ".join(str(item.get("msg", "")) if isinstance(item, dict) else str(item) for item in found)
    if isinstance(found, dict):
        found = ": ".join(str(found[name]) for name in ("reason", "message") if found.get(name))
    # Before it is cut: half a password is a secret too.
    words = " ".join(redact(str(found or ""), secrets).split())
    return words if len(words) <= _LONGEST_DETAIL else f"{words[:_LONGEST_DETAIL]}…"


def from_status(
    request_text: str,
    status: int,
    body: object,
    *,
    secrets: Collection[str],
    retry_after: float | None,
    shows_words: bool,
) -> ProviderFailed:
    """Return the failure for a 4xx or 5xx response; `body` is its JSON, None if it had none.

    Without `shows_words` nothing that the server says is in it: it may be another program than Airflow.
    """
    detail = _detail(body, secrets)
    shown = detail if shows_words else ""
    sentence = f"Airflow answered {request_text} with {status}" + (f": {shown.rstrip('.')}." if shown else ".")
    if status == HTTPStatus.NOT_FOUND:
        if body is None:
            return ProviderBadResponse(f"{sentence} It is a page, not an answer of Airflow's API.", hints=(PATH_HINT,))
        if _REMOVED in detail:
            return WrongApiVersion(
                sentence, hints=("This is an Airflow 3, which has only /api/v2: set api_version to auto or v2.",)
            )
        if detail in {"", "Not Found"}:
            return ProviderBadResponse(f"{sentence} There is no such address in this API.", hints=(PATH_HINT,))
    is_v1, is_forbidden = " /api/v1/" in request_text, status == HTTPStatus.FORBIDDEN
    method, _, path = request_text.partition(" ")
    permission = tuple(filter(None, (permission_hint(method, path),))) if is_forbidden else ()
    if status == HTTPStatus.UNAUTHORIZED or (is_forbidden and (is_v1 or "Invalid JWT" in detail)):
        hints = _hints_for_v1(status) if is_v1 else _HINTS_FOR_V2
        if is_forbidden and is_v1:
            # Who is refused a trigger could sign in to read before.
            hints = (*permission, *hints) if request_text.startswith("POST ") else (*hints, *permission)
        if body is None:
            hints = (*hints, LOGIN_HINT)
        refused = f"Airflow refused the credentials. {sentence}"
        return ProviderRejectedCredentials(status, refused, is_transient=False, hints=hints, provider_message=shown)
    hints = ()
    if is_forbidden:
        hints = (LOGIN_HINT,) if body is None else permission or (_PERMISSION_HINT,)
    is_transient = status in _TRANSIENT
    return ProviderHTTPError(
        status, sentence, is_transient=is_transient, hints=hints, retry_after=retry_after, provider_message=shown
    )


_PERMISSION_HINT = "The account can sign in, but lacks a permission."
_HINTS_FOR_V2 = (
    "Check username and password, or whether the token has expired or is one of another Airflow.",
    "Airflow 3 knows no basic authentication: user and password are exchanged for a token at /auth/token.",
)


_BASIC_AUTH_HINT = (
    "The API of Airflow 2 must allow basic authentication: [api] auth_backends must contain "
    "airflow.api.auth.backend.basic_auth (the default, session, lets only browsers in)."
)


def _hints_for_v1(status: int) -> tuple[str, ...]:
    first = "Check username and password" + (
        ", and the permissions of the account" if status == HTTPStatus.FORBIDDEN else ""
    )
    return (
        f"{first}: Airflow 2.11 answers 403 to a wrong password too.",
        _BASIC_AUTH_HINT,
    )


def redirected(
    request_text: str, status: int, location: str, *, is_https: bool, secrets: Collection[str], shows_words: bool
) -> ProviderBadResponse:
    try:
        target = urlsplit(location)
    except ValueError:
        target = urlsplit("")
    where = redact(f"{target.netloc.rpartition('@')[2]}{target.path}", secrets)[:_LONGEST_DETAIL]
    hint = LOGIN_HINT
    if not is_https and target.scheme == "https":
        hint = "base_url should start with https://."
    to = f" to {where or 'nowhere'}" if shows_words else ""
    return SignInDemanded(f"Airflow answered {request_text} with {status}, a redirect{to}.", hints=(hint,))


def not_json(request_text: str, status: int, content_type: str, *, shows_words: bool) -> ProviderBadResponse:
    kind = content_type.partition(";")[0].strip()[:80]
    is_page = kind.lower() in {"text/html", "application/xhtml+xml"}
    shown = kind or "no content type"
    if not shows_words:
        shown = "a page" if is_page else "something else"
    failure = SignInDemanded if is_page else ProviderBadResponse
    return failure(f"{request_text} was answered with {status} and {shown} where JSON was due.", hints=(LOGIN_HINT,))


def broken_json(request_text: str, status: int) -> BrokenJson:
    hint = "Something on the way may cut off answers that are large or take long: a proxy's limit of size or time."
    return BrokenJson(f"{request_text} was answered with {status} and JSON that is cut off or broken.", hints=(hint,))


def not_plain_success(request_text: str, status: int) -> ProviderBadResponse:
    """Return the failure for a 2xx status other than 200 and 201."""
    meaning = _NOT_WHOLE.get(status, "which is not how Airflow's API answers")
    hint = "Something between Windsock and Airflow (a proxy, a cache) seems to change the answers; check its settings."
    return ProviderBadResponse(f"Airflow answered {request_text} with {status}, {meaning}.", hints=(hint,))


_NOT_WHOLE = {
    203: "which says that a proxy has changed the answer",
    204: "which is an answer without content",
    206: "which is only a part of the answer",
}


def wrongly_compressed(request_text: str, encoding: str, *, is_known: bool) -> ProviderBadResponse:
    name = encoding.strip()[:80] or "something"
    why = "and cannot be decompressed as such" if is_known else "which Windsock did not ask for and cannot read"
    hint = f"Check what compresses the answers between Windsock and Airflow: it must use {_ENCODINGS}, or nothing."
    return ProviderBadResponse(
        f"The answer to {request_text} is marked as compressed with {name}, {why}.", hints=(hint,)
    )


_ENCODINGS = "gzip or deflate"


def timed_out(request_text: str, seconds: float, *, request_sent: bool) -> ProviderTimedOut:
    failure = ProviderTimedOut(
        f"Airflow did not answer {request_text} within {seconds:g} s.",
        hints=("Check that the address is reachable from here, or set timeout_seconds higher.",),
    )
    failure.request_sent = request_sent
    return failure


def from_transport(request_text: str, error: BaseException, *, request_sent: bool) -> ProviderUnreachable:
    """Return the failure for a missing response. Report only the type of the error: its text may contain a header."""
    refusal = next((cause for cause in _causes(error) if isinstance(cause, egress.BlockedByPolicy)), None)
    if refusal is not None:
        return ForbiddenByPolicy(f"{request_text} was not sent: {refusal}.")
    why, hint = _reason(error)
    request_sent = request_sent and not isinstance(error, egress.ConnectError)
    return ProviderUnreachable(
        f"{request_text} could not be sent to Airflow: {why}.", hints=(hint,), request_sent=request_sent
    )


def _reason(error: BaseException) -> tuple[str, str]:
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return (
                f"its TLS certificate is not trusted ({cause.verify_message.rstrip('.')})",
                "Self-signed, or of a private authority? Give its PEM as ca_certificate, or turn verify_tls off.",
            )
        if isinstance(cause, ssl.SSLError):
            return "TLS failed", "Check http:// against https:// in base_url, and the port."
        if isinstance(cause, socket.gaierror):
            return "the name of the host is not known", "Check the host in base_url; it is looked up from this machine."
        if isinstance(cause, ConnectionRefusedError) or getattr(cause, "errno", None) == errno.ECONNREFUSED:
            return "the connection was refused", "Check host and port in base_url, and that Airflow's webserver runs."
    return (
        f"the connection failed or was dropped ({type(error).__name__})",
        "Check http:// against https:// in base_url, the port, and the network between Windsock and Airflow.",
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    waiting, seen = [error], set()
    while waiting:
        current = waiting.pop(0)
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        waiting += [cause for cause in (current.__cause__, current.__context__) if cause is not None]
        if isinstance(current, BaseExceptionGroup):
            waiting += current.exceptions


def retry_after(response: egress.Response) -> float | None:
    """Seconds from a Retry-After header, which may hold seconds or a date; at most an hour, whatever it says."""
    value = response.headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return min(float(value[:9]), MAX_RETRY_AFTER)
    with suppress(ValueError, TypeError, OverflowError):
        seconds = (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds()
        return min(max(0.0, seconds), MAX_RETRY_AFTER)
    return None
