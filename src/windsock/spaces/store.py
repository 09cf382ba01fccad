"""The queries of users, keys, spaces and members, with what a violated constraint means."""

from uuid import UUID

from windsock.auth.authenticator import Space
from windsock.auth.keys import PREFIX_LENGTH, hash_token, new_key
from windsock.db.database import Row, Transaction, map_constraint_errors
from windsock.db.queries import load
from windsock.errors import Conflict, NotFound

QUERIES = load(__package__, "spaces.sql")


async def create_space(tx: Transaction, *, slug: str, name: str) -> Row:
    with map_constraint_errors(
        {"spaces_slug_unique": Conflict(f"There is a space {slug} already; choose another slug.")}
    ):
        row = await tx.fetch_one(QUERIES["create_space"], slug=slug, name=name)
    return expect_row(row)


async def upsert_member(tx: Transaction, space_id: UUID, user_id: UUID, role: str) -> Row:
    with map_constraint_errors({"memberships_user_id_fkey": NotFound("user")}):
        row = await tx.fetch_one(QUERIES["upsert_member"], space_id=space_id, user_id=user_id, role=role)
    return expect_row(row)


async def set_role(tx: Transaction, space: Space, user_id: UUID, role: str) -> Row:
    """As upsert_member, for a person: the last admin stays one, unless a superadmin does it."""
    if role != "admin" and not space.caller.is_superadmin:
        await require_another_admin(tx, space.id, user_id)
    return await upsert_member(tx, space.id, user_id, role)


async def delete_membership(tx: Transaction, space: Space, user_id: UUID) -> None:
    """As set_role."""
    if not space.caller.is_superadmin:
        await require_another_admin(tx, space.id, user_id)
    if not await tx.execute(QUERIES["delete_member"], space_id=space.id, user_id=user_id):
        raise NotFound("member")


async def require_another_admin(tx: Transaction, space_id: UUID, user_id: UUID) -> None:
    row = expect_row(await tx.fetch_one(QUERIES["count_other_admins"], space_id=space_id, user_id=user_id))
    if row["total"] == 0:
        raise Conflict("This would leave the space without an admin. Make somebody else admin first.")


async def create_user(tx: Transaction, *, email: str, name: str, is_superadmin: bool) -> Row:
    with map_constraint_errors({"users_email_unique": Conflict(f"There is a user {email.lower()} already.")}):
        row = await tx.fetch_one(QUERIES["create_user"], email=email, name=name, is_superadmin=is_superadmin)
    return expect_row(row)


async def create_key(tx: Transaction, user_id: UUID, *, name: str, expires_in_days: int | None) -> Row:
    """The new key's row, with `full_key`: the only time it is seen."""
    key = new_key()
    row = await tx.fetch_one(
        QUERIES["create_key"],
        user_id=user_id,
        name=name,
        key_prefix=key[:PREFIX_LENGTH],
        key_hash=hash_token(key),
        expires_in_days=expires_in_days,
    )
    return expect_row(row) | {"full_key": key}


def expect_row(row: Row | None) -> Row:
    """The row of a query that always gives one."""
    if row is None:
        raise LookupError("a query that always gives a row gave none")
    return row
