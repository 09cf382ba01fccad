"""Credentials at rest: encrypted with keys that are not in the database."""

from collections.abc import Sequence
from typing import Any

import orjson
from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from windsock.errors import Conflict


class Encryption:
    """Fernet: the first key encrypts, all of them decrypt, so that keys can be changed without a pause."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._fernet = MultiFernet([Fernet(key) for key in keys])

    def encrypt(self, value: dict[str, Any]) -> bytes:
        return self._fernet.encrypt(orjson.dumps(value))

    def decrypt(self, token: bytes) -> dict[str, Any]:
        try:
            value: dict[str, Any] = orjson.loads(self._fernet.decrypt(token))
        except InvalidToken as error:
            raise Conflict(
                "The credentials were encrypted with a key that is not configured any more. "
                "Enter them again, or add the key to WINDSOCK_SECRET_KEYS."
            ) from error
        return value

    def rotate(self, token: bytes) -> bytes:
        """The same value, encrypted with the first key."""
        try:
            return self._fernet.rotate(token)
        except InvalidToken as error:
            raise Conflict("Some credentials were encrypted with a key that is not configured.") from error
