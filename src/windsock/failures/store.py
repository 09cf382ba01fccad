"""Fingerprints as they are read, named, merged and split."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from windsock.auth.authenticator import Space
from windsock.db.database import Reader, Row, Statement, Transaction
from windsock.db.queries import load
from windsock.errors import Conflict, Invalid, NotFound
from windsock.failures.models import SplitInput
from windsock.failures.reader import QUERIES as READS
from windsock.http.pagination import PageParams
from windsock.pipelines.filters import escape_like
from windsock.spaces.store import expect_row

QUERIES = load(__package__, "fingerprints.sql")

MAX_LISTED = 50
"""Failures, comments and merged groups of a fingerprint's detail."""
KIND = "fingerprint"


@dataclass(frozen=True, slots=True, kw_only=True)
class FingerprintFilter:
    """Each condition given must hold; of the values of one, any may. Every word of `q` must occur."""

    pipeline_id: Sequence[UUID] | None = None
    team_id: Sequence[UUID] | None = None
    q: str | None = None

    def parameters(self, space_id: UUID) -> dict[str, Any]:
        words = (self.q or "").split()
        return {
            "space_id": space_id,
            "pipeline_id": self.pipeline_id,
            "team_id": self.team_id,
            "words": "\n".join(f"%{escape_like(word)}%" for word in words) or None,
        }


async def list_fingerprints(
    reader: Reader, space_id: UUID, paging: PageParams, which: FingerprintFilter
) -> tuple[list[Row], int]:
    """A page, those that occurred last first, and how many there are in all."""
    matching = which.parameters(space_id)
    rows, totals = await reader.fetch_batch(
        Statement(QUERIES["list_fingerprints"], {**matching, "limit": paging.size, "offset": paging.offset}),
        Statement(QUERIES["count_fingerprints"], matching),
    )
    return rows, totals[0]["total"]


async def get_fingerprint(tx: Transaction, space_id: UUID, fingerprint_id: UUID) -> Row:
    """With its newest failures, comments and its trend. One that was merged is the one it was merged into."""
    group_id = await find_group(tx, space_id, fingerprint_id)
    which = {"space_id": space_id, "fingerprint_id": group_id, "limit": MAX_LISTED}
    names = ("get_fingerprint", "newest_failures", "newest_comments", "get_trend", "merged_fingerprints")
    found, failures, comments, trend, merged = await tx.fetch_batch(
        *(Statement(QUERIES[name], which) for name in names)
    )
    if not found:
        raise NotFound(KIND)
    return found[0] | {"failures": failures, "comments": comments, "trend": trend, "merged": merged}


async def find_group(tx: Transaction, space_id: UUID, fingerprint_id: UUID) -> UUID:
    row = await tx.fetch_one(QUERIES["find_group"], space_id=space_id, fingerprint_id=fingerprint_id)
    if row is None:
        raise NotFound(KIND)
    group_id: UUID = row["id"]
    return group_id


async def merge_fingerprint(tx: Transaction, space: Space, fingerprint_id: UUID, into: UUID) -> UUID:
    """All failures of a group, and later ones with its hash, belong to another one; return the id of that.

    Raises NotFound, Conflict where the first is merged already or the other one is of another pipeline, and Invalid
    for a group and itself.
    """
    found = await _lock(tx, space, (fingerprint_id, into))
    source, target = found.get(fingerprint_id), found.get(into)
    if source is None or target is None:
        raise NotFound(KIND)
    if source["merged_into"] is not None:
        raise Conflict("This fingerprint is merged into another one already.")
    if target["merged_into"] is not None:
        into = target["merged_into"]
        await _lock(tx, space, (into,))
    if into == fingerprint_id:
        raise Invalid("A fingerprint cannot be merged into itself.", loc=("body", "into"))
    if source["pipeline_id"] != target["pipeline_id"]:
        raise Conflict("Both fingerprints must be of the same pipeline.")
    names = {"space_id": space.id, "fingerprint_id": fingerprint_id, "into": into}
    for query in ("keep_name_and_runbook", "merge_fingerprint", "move_all_failures"):
        await tx.execute(QUERIES[query], **names)
    await tx.execute(READS["refresh_fingerprints"], space_id=space.id, ids=[fingerprint_id, into])
    return into


async def split_fingerprint(tx: Transaction, space: Space, fingerprint_id: UUID, body: SplitInput) -> UUID:
    """Move failures into a group of their own, and return its id.

    Failures that are all of a group which was merged become that group again. Raises NotFound where one of them is not
    in the group, and Invalid for all of its failures.
    """
    group_id = await find_group(tx, space.id, fingerprint_id)
    await _lock(tx, space, (group_id,))
    names = {"space_id": space.id, "fingerprint_id": group_id}
    chosen = await tx.fetch_all(
        QUERIES["choose_failures"], **names, task_failure_ids=body.task_failure_ids, run_ids=body.run_ids
    )
    if not set(body.task_failure_ids) <= {row["id"] for row in chosen}:
        raise NotFound("failure of this fingerprint")
    if not set(body.run_ids) <= {row["run_id"] for row in chosen}:
        raise NotFound("run with a failure of this fingerprint")
    ids, first = [row["id"] for row in chosen], chosen[0]
    computed = {row["computed_fingerprint_id"] for row in chosen}
    computed_id = first["computed_fingerprint_id"]
    rest = expect_row(await tx.fetch_one(QUERIES["rest_of_failures"], **names, ids=ids, computed_id=computed_id))
    if not rest["total"]:
        raise Invalid("These are all failures of the fingerprint; nothing would be left in it.", loc=("body",))
    created = None
    if len(computed) == 1 and not rest["of_computed"]:
        created = await tx.fetch_one(QUERIES["separate_fingerprint"], **names, computed_id=computed_id)
    if created is None:
        created = expect_row(
            await tx.fetch_one(
                QUERIES["create_split"], **names, ids=ids, title=first["summary"], failed_at=first["failed_at"]
            )
        )
    split_id: UUID = created["id"]
    await tx.execute(QUERIES["move_failures"], space_id=space.id, ids=ids, into=split_id)
    await tx.execute(READS["refresh_fingerprints"], space_id=space.id, ids=[group_id, split_id])
    return split_id


async def set_runbook(tx: Transaction, space: Space, fingerprint_id: UUID, comment_id: UUID | None) -> UUID:
    group_id = await find_group(tx, space.id, fingerprint_id)
    if comment_id is not None and not await tx.fetch_one(
        QUERIES["find_comment"], space_id=space.id, comment_id=comment_id
    ):
        raise NotFound("comment")
    names = {"space_id": space.id, "fingerprint_id": group_id}
    await tx.execute(QUERIES["set_runbook"], **names, comment_id=comment_id)
    return group_id


async def rename_fingerprint(tx: Transaction, space: Space, fingerprint_id: UUID, name: str | None) -> UUID:
    group_id = await find_group(tx, space.id, fingerprint_id)
    await tx.execute(QUERIES["rename"], space_id=space.id, fingerprint_id=group_id, name=name)
    return group_id


async def _lock(tx: Transaction, space: Space, ids: Sequence[UUID]) -> dict[UUID, Row]:
    rows = await tx.fetch_all(QUERIES["lock_fingerprints"], space_id=space.id, ids=list(ids))
    return {row["id"]: row for row in rows}
