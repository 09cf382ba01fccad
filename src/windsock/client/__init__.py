"""A typed client of Windsock's HTTP API: `Client`, and `AsyncClient` for asyncio."""

from windsock.client.asynchronous import AsyncClient
from windsock.client.errors import (
    ClientError,
    Conflict,
    Forbidden,
    Invalid,
    NotAuthenticated,
    NotFound,
    Refused,
    ServerFailed,
    Unreachable,
)
from windsock.client.synchronous import Client

__all__ = [
    "AsyncClient",
    "Client",
    "ClientError",
    "Conflict",
    "Forbidden",
    "Invalid",
    "NotAuthenticated",
    "NotFound",
    "Refused",
    "ServerFailed",
    "Unreachable",
]
