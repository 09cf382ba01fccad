"""Signed-in browsers: a session begins with an API key or with a link that works once."""

from uuid import UUID

from windsock.auth.keys import hash_token, new_key
from windsock.db.database import Row, Transaction
from windsock.db.queries import load

QUERIES = load(__package__, "sessions.sql")
SESSION_PREFIX, LINK_PREFIX = "wss_", "wsl_"
SESSION_DAYS = 30
LINK_MINUTES = 15
MAX_USER_AGENT_LENGTH = 300


async def create_session(tx: Transaction, user_id: UUID, user_agent: str, *, key_id: UUID | None) -> str:
    """The token of a new session, for the browser's cookie; only its hash is stored. It ends with the key, if any."""
    token = new_key(SESSION_PREFIX)
    await tx.execute(QUERIES["delete_expired_sessions"])
    await tx.execute(
        QUERIES["create_session"],
        user_id=user_id,
        api_key_id=key_id,
        token_hash=hash_token(token),
        user_agent=user_agent[:MAX_USER_AGENT_LENGTH].replace("\x00", ""),
        days=SESSION_DAYS,
    )
    return token


async def revoke_session(tx: Transaction, user_id: UUID, session_id: UUID) -> bool:
    """Whether there was one of this user's."""
    return bool(await tx.execute(QUERIES["revoke_session"], user_id=user_id, session_id=session_id))


async def revoke_other_sessions(tx: Transaction, user_id: UUID, session_id: UUID) -> None:
    """All of this user's but that one."""
    await tx.execute(QUERIES["revoke_other_sessions"], user_id=user_id, session_id=session_id)


async def list_sessions(tx: Transaction, user_id: UUID) -> list[Row]:
    """List the sessions of a user, most recently used first."""
    return await tx.fetch_all(QUERIES["list_sessions"], user_id=user_id, limit=100, offset=0)


async def create_login_link(tx: Transaction, user_id: UUID) -> str:
    """The token of a link that signs this user in, once, within LINK_MINUTES."""
    token = new_key(LINK_PREFIX)
    await tx.execute(QUERIES["create_login_link"], user_id=user_id, token_hash=hash_token(token), minutes=LINK_MINUTES)
    return token


async def find_login_link(tx: Transaction, token: str) -> Row | None:
    """`email` and `name` of whom it signs in; None for what is used, expired or no link."""
    return await tx.fetch_one(QUERIES["find_login_link"], token_hash=hash_token(token))


async def consume_login_link(tx: Transaction, token: str) -> UUID | None:
    """Whom it signs in; it works no more."""
    row = await tx.fetch_one(QUERIES["consume_login_link"], token_hash=hash_token(token))
    return row["user_id"] if row else None
