"""A typed client of Windsock's HTTP API: `Client`, and `AsyncClient` for asyncio."""

from windsock.client.async_client import AsyncClient
from windsock.client.client import Client
from windsock.client.errors import (
    ApiError,
    ClientError,
    Conflict,
    ConnectionFailed,
    Forbidden,
    Invalid,
    NotAuthenticated,
    NotFound,
    ServerError,
)

__all__ = [
    "ApiError",
    "AsyncClient",
    "Client",
    "ClientError",
    "Conflict",
    "ConnectionFailed",
    "Forbidden",
    "Invalid",
    "NotAuthenticated",
    "NotFound",
    "ServerError",
]
