"""A typed client of Windsock's HTTP API: `Client`, and `AsyncClient` for asyncio."""

from windsock.client.async_client import AsyncClient
from windsock.client.client import Client
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
