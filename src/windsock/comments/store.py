"""Comments on runs and task runs, always found by way of the run or task run in the current space."""

from typing import Literal
from uuid import UUID

from windsock.auth.authenticator import Space
from windsock.comments.models import CommentIn
from windsock.db.database import Reader, Row, Statement, Transaction
from windsock.db.queries import load
from windsock.errors import Forbidden, NotFound
from windsock.http.pagination import PageParams
from windsock.spaces.store import expect_row

QUERIES = load(__package__, "comments.sql")

Kind = Literal["run", "task run"]


async def list_comments(
    tx: Transaction, space: Space, kind: Kind, resource_id: UUID, paging: PageParams
) -> tuple[list[Row], int]:
    """A page of the comments on one run or task run, oldest first, and how many there are in all."""
    where = await _resource(tx, space, kind, resource_id)
    rows = await tx.fetch_json(QUERIES["list_comments"], **where, limit=paging.size, offset=paging.offset)
    total = expect_row(await tx.fetch_one(QUERIES["count_comments"], **where))["total"]
    return rows, total


async def list_run_and_task_comments(reader: Reader, space_id: UUID, run_id: UUID, limit: int) -> list[Row]:
    """The newest comments on a run and on its task runs, oldest first; `total` is how many there are in all."""
    which = {"space_id": space_id, "run_id": run_id, "limit": limit}
    return (await reader.fetch_batch(Statement(QUERIES["recent_run_and_task_comments"], which)))[0]


async def create_comment(tx: Transaction, space: Space, kind: Kind, resource_id: UUID, body: CommentIn) -> Row:
    where = await _resource(tx, space, kind, resource_id)
    if body.parent_id is not None and not await tx.fetch_one(QUERIES["find_parent"], **where, parent_id=body.parent_id):
        raise NotFound("comment to reply to")
    created = await tx.fetch_one(
        QUERIES["create_comment"],
        **where,
        parent_id=body.parent_id,
        author_id=space.caller.id,
        content=body.content,
    )
    return await get_comment(tx, space, expect_row(created)["id"])


async def get_comment(tx: Transaction, space: Space, comment_id: UUID) -> Row:
    found = await tx.fetch_json(QUERIES["get_comment"], space_id=space.id, comment_id=comment_id)
    if not found:
        raise NotFound("comment")
    return found[0]


async def change_comment(tx: Transaction, space: Space, comment_id: UUID, content: str) -> Row:
    """Only the author's words are the author's: an admin may delete a comment, not rewrite it."""
    comment = await get_comment(tx, space, comment_id)
    if comment["author_id"] != space.caller.id:
        raise Forbidden("Only its author may edit a comment.")
    await tx.execute(QUERIES["update_comment"], space_id=space.id, comment_id=comment_id, content=content)
    return await get_comment(tx, space, comment_id)


async def delete_comment(tx: Transaction, space: Space, comment_id: UUID) -> None:
    """Replies stay; they then reply to nothing."""
    comment = await get_comment(tx, space, comment_id)
    if comment["author_id"] != space.caller.id and space.role != "admin":
        raise Forbidden("Only its author and admins of the space may delete a comment.")
    await tx.execute(QUERIES["delete_comment"], space_id=space.id, comment_id=comment_id)


async def _resource(tx: Transaction, space: Space, kind: Kind, resource_id: UUID) -> Row:
    query = QUERIES["find_run" if kind == "run" else "find_task_run"]
    found = await tx.fetch_one(query, space_id=space.id, id=resource_id)
    if found is None:
        raise NotFound(kind)
    return {**found, "space_id": space.id}
