"""Exceptions of the client, each with a sentence for a person."""

from http import HTTPStatus
from typing import Any

import httpx2
import orjson


class ClientError(Exception):
    """Everything the client raises."""


class ConnectionFailed(ClientError):
    """No answer came; whether the server got the request is not known, unless `request_sent` is False."""

    def __init__(self, sentence: str, *, request_sent: bool) -> None:
        super().__init__(sentence)
        self.request_sent = request_sent


class ApiError(ClientError):
    """An answer of 4xx. `provider` is set where it is the orchestrator's own, relayed by Windsock."""

    def __init__(self, status: int, detail: str, *, provider: str | None, request_id: str | None) -> None:
        prefix = "" if provider is None else f"{provider.capitalize()} answered {status}: "
        super().__init__(prefix + detail)
        self.status, self.detail, self.provider, self.request_id = status, detail, provider, request_id


class NotAuthenticated(ApiError):
    """401 of Windsock's own: the API key is unknown, expired or revoked."""


class Forbidden(ApiError):
    """403: no such space for this key, or not the role."""


class NotFound(ApiError):
    """404: unknown, or of another space."""


class Conflict(ApiError):
    """409."""


class Invalid(ApiError):
    """422: a value that cannot be accepted; the sentence says which."""


class ServerError(ApiError):
    """An answer of 5xx, of Windsock or relayed from the orchestrator."""


_BY_STATUS: dict[int, type[ApiError]] = {
    401: NotAuthenticated,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    422: Invalid,
}


def error_of(response: httpx2.Response) -> ApiError:
    """The error that an answer of 4xx or 5xx means."""
    status, provider = response.status_code, response.headers.get("x-provider")
    request_id = response.headers.get("x-request-id")
    detail = _detail(response)
    kind = ApiError if provider else _BY_STATUS.get(status, ApiError)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        kind = ServerError
        if request_id and provider is None:
            detail += f" (X-Request-ID {request_id})"
    return kind(status, detail, provider=provider, request_id=request_id)


def _detail(response: httpx2.Response) -> str:
    try:
        detail: Any = orjson.loads(response.content)["detail"]
    except (ValueError, KeyError, TypeError):
        return f"{response.request.url} answered {response.status_code}, and not as Windsock does. Check the address."
    if isinstance(detail, list):
        return " ".join(_complaint(item) for item in detail)
    return str(detail)


def _complaint(item: Any) -> str:  # noqa: ANN401 - JSON
    if not isinstance(item, dict):
        return str(item)
    where = ".".join(str(part) for part in item.get("loc", ()))
    return f"{where}: {item.get('msg', '')}." if where else f"{item.get('msg', '')}."
