"""API keys: how they are made, written and compared."""

import hashlib
import secrets

PREFIX = "wsk_"
PREFIX_LENGTH = len(PREFIX) + 6
"""How much of a key is shown again in lists."""


def new_key(prefix: str = PREFIX) -> str:
    """`wsk_` (or another prefix, of a token of another kind) and 32 random bytes; shown once, never stored."""
    return prefix + secrets.token_urlsafe(32)


def hash_token(key: str) -> bytes:
    """SHA-256: the key has 256 random bits, so nothing slower makes it safer."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
