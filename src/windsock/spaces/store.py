"""The queries of users, keys, spaces and members, with what a violated constraint means."""

from uuid import UUID

from windsock.auth.authenticator import Caller, Space
from windsock.auth.keys import PREFIX_LENGTH, hash_token, new_key
from windsock.db.database import Row, Transaction, map_constraint_errors
from windsock.db.queries import load
from windsock.errors import Conflict, NotFound, UserNotFound
from windsock.spaces.models import SpaceIn

QUERIES = load(__package__, "spaces.sql")


async def create_space(tx: Transaction, *, slug: str, name: str) -> Row:
    with map_constraint_errors(
        {"spaces_slug_unique": Conflict(f"There is a space {slug} already; choose another slug.")}
    ):
        row = await tx.fetch_one(QUERIES["create_space"], slug=slug, name=name)
    return expect_row(row)


async def create_own_space(caller: Caller, body: SpaceIn) -> Row:
    """Create a space of which the caller is admin."""
    async with caller.transaction() as tx:
        row = await create_space(tx, slug=body.slug, name=body.name)
    async with caller.space_transaction(row["id"]) as tx:
        await upsert_member(tx, row["id"], caller.id, "admin")
    return row


async def upsert_member(tx: Transaction, space_id: UUID, user_id: UUID, role: str) -> Row:
    with map_constraint_errors({"memberships_user_id_fkey": NotFound("user")}):
        row = await tx.fetch_one(QUERIES["upsert_member"], space_id=space_id, user_id=user_id, role=role)
    return expect_row(row)


async def set_role(tx: Transaction, space: Space, user_id: UUID, role: str) -> Row:
    """As upsert_member. Raises Conflict for the demotion of the only admin."""
    if role != "admin":
        await require_another_admin(tx, space.id, user_id)
    return await upsert_member(tx, space.id, user_id, role)


async def add_member(tx: Transaction, space: Space, user: Row, role: str) -> None:
    """Add a user who is no member yet. Raises Conflict for a member, whose role stays, and for a deactivated user."""
    if not user["is_active"]:
        raise Conflict(f"{user['name']} is deactivated. A superadmin can reactivate this user.")
    if await tx.execute(QUERIES["insert_member"], space_id=space.id, user_id=user["id"], role=role):
        return
    member = await get_member(tx, space, user["id"])
    raise Conflict(
        f"{member['name']} is already a member, as {member['role']}. To change the role, use the list of members."
    )


async def get_member(tx: Transaction, space: Space, user_id: UUID) -> Row:
    row = await tx.fetch_one(QUERIES["get_member"], space_id=space.id, user_id=user_id)
    if row is None:
        raise NotFound("member")
    return row


async def delete_membership(tx: Transaction, space: Space, user_id: UUID) -> None:
    """Raises Conflict for the only admin."""
    await require_another_admin(tx, space.id, user_id)
    if not await tx.execute(QUERIES["delete_member"], space_id=space.id, user_id=user_id):
        raise NotFound("member")


async def require_another_admin(tx: Transaction, space_id: UUID, user_id: UUID) -> None:
    """Raise Conflict if this user is the only active admin of the space."""
    admins = expect_row(await tx.fetch_one(QUERIES["lock_admins"], space_id=space_id, user_id=user_id))
    if admins["includes_user"] and admins["total"] == 1:
        raise Conflict("This would leave the space without an admin. Make somebody else admin first.")


async def create_user(tx: Transaction, *, email: str, name: str, is_superadmin: bool) -> Row:
    with map_constraint_errors({"users_email_unique": Conflict(f"There is a user {email.lower()} already.")}):
        row = await tx.fetch_one(QUERIES["create_user"], email=email, name=name, is_superadmin=is_superadmin)
    return expect_row(row)


async def update_user(
    tx: Transaction,
    user_id: UUID,
    *,
    name: str | None = None,
    is_superadmin: bool | None = None,
    is_active: bool | None = None,
) -> Row:
    """Change what is not None. Deactivation ends the user's sessions, sign-in links and API keys.

    Raises Conflict if no active superadmin would be left.
    """
    if is_superadmin is False or is_active is False:
        await require_another_superadmin(tx, user_id)
    row = await tx.fetch_one(
        QUERIES["update_user"], user_id=user_id, name=name, is_superadmin=is_superadmin, is_active=is_active
    )
    if row is None:
        raise UserNotFound
    if is_active is False:
        await tx.execute(QUERIES["end_user_access"], user_id=user_id)
    return row


async def require_another_superadmin(tx: Transaction, user_id: UUID) -> None:
    """Raise Conflict if this user is the only active superadmin."""
    superadmins = expect_row(await tx.fetch_one(QUERIES["lock_superadmins"], user_id=user_id))
    if superadmins["includes_user"] and superadmins["total"] == 1:
        raise Conflict("This would leave Windsock without a superadmin. Make somebody else superadmin first.")


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
