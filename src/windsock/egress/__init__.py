"""All outbound connections: the egress policy, the HTTP client that applies it, and what both raise and return."""

from httpx2 import (
    URL,
    AsyncBaseTransport,
    AsyncClient,
    CloseError,
    ConnectError,
    ConnectTimeout,
    DecodingError,
    HTTPError,
    InvalidURL,
    PoolTimeout,
    ReadError,
    RemoteProtocolError,
    RequestError,
    Response,
    TimeoutException,
    WriteError,
    create_ssl_context,
)

from windsock.egress.client import BlockedByPolicy, BlockingResponse, Resolve, open_client, resolve, send_blocking
from windsock.egress.policy import Policy

__all__ = [
    "URL",
    "AsyncBaseTransport",
    "AsyncClient",
    "BlockedByPolicy",
    "BlockingResponse",
    "CloseError",
    "ConnectError",
    "ConnectTimeout",
    "DecodingError",
    "HTTPError",
    "InvalidURL",
    "Policy",
    "PoolTimeout",
    "ReadError",
    "RemoteProtocolError",
    "RequestError",
    "Resolve",
    "Response",
    "TimeoutException",
    "WriteError",
    "create_ssl_context",
    "open_client",
    "resolve",
    "send_blocking",
]
