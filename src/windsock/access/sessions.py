"""Signed-in browsers: a session begins with an API key or with a link that works once."""

from uuid import UUID

from windsock.access.keys import hash_of, new_key
from windsock.db import Row, Transaction
from windsock.sql import load

QUERIES = load(__package__, "sessions.sql")
SESSION_PREFIX, LINK_PREFIX = "wss_", "wsl_"
SESSION_DAYS = 30
LINK_MINUTES = 15
LONGEST_USER_AGENT = 300


async def begin_session(tx: Transaction, user_id: UUID, user_agent: str, *, key_id: UUID | None) -> str:
    """The token of a new session, for the browser's cookie; only its hash is stored. It ends with the key, if any."""
    token = new_key(SESSION_PREFIX)
    await tx.run(QUERIES["forget_expired"])
    await tx.run(
        QUERIES["begin_session"],
        user_id=user_id,
        api_key_id=key_id,
        token_hash=hash_of(token),
        user_agent=user_agent[:LONGEST_USER_AGENT].replace("\x00", ""),
        days=SESSION_DAYS,
    )
    return token


async def end_session(tx: Transaction, user_id: UUID, session_id: UUID) -> bool:
    """Whether there was one of this user's."""
    return bool(await tx.run(QUERIES["end_session"], user_id=user_id, session_id=session_id))


async def end_other_sessions(tx: Transaction, user_id: UUID, session_id: UUID) -> None:
    """All of this user's but that one."""
    await tx.run(QUERIES["end_other_sessions"], user_id=user_id, session_id=session_id)


async def list_sessions(tx: Transaction, user_id: UUID) -> list[Row]:
    """Those that are signed in, the one used last first."""
    return await tx.rows(QUERIES["list_sessions"], user_id=user_id, limit=100, offset=0)


async def make_link(tx: Transaction, user_id: UUID) -> str:
    """The token of a link that signs this user in, once, within LINK_MINUTES."""
    token = new_key(LINK_PREFIX)
    await tx.run(QUERIES["make_link"], user_id=user_id, token_hash=hash_of(token), minutes=LINK_MINUTES)
    return token


async def find_link(tx: Transaction, token: str) -> Row | None:
    """`email` and `name` of whom it signs in; None for what is used, expired or no link."""
    return await tx.row(QUERIES["find_link"], token_hash=hash_of(token))


async def use_link(tx: Transaction, token: str) -> UUID | None:
    """Whom it signs in; it works no more."""
    row = await tx.row(QUERIES["use_link"], token_hash=hash_of(token))
    return row["user_id"] if row else None
