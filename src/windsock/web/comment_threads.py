"""Comments of a run as threads, and the form that is open among them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import UUID

from windsock.auth.authenticator import Space
from windsock.comments.store import list_run_and_task_comments
from windsock.web.templates import to_jsonable

SHOWN_COMMENTS, ALL_COMMENTS = 100, 1_000

Action = Literal["reply", "edit", "delete"]


@dataclass(frozen=True, slots=True)
class CommentForm:
    """The open form: for a new comment, or about the comment `comment_id`; with what was written, if it was refused."""

    action: Action | None = None
    comment_id: UUID | None = None
    draft: str | None = None
    complaint: str | None = None

    @classmethod
    def of(cls, reply: UUID | None, edit: UUID | None, delete: UUID | None) -> "CommentForm":
        actions: Sequence[tuple[Action, UUID | None]] = (("reply", reply), ("edit", edit), ("delete", delete))
        return next((cls(action, comment_id) for action, comment_id in actions if comment_id), cls())


@dataclass(slots=True)
class Threads:
    """`groups`: the run's own threads under None, then those of each task run; each thread oldest first."""

    groups: list[tuple[dict[str, Any] | None, list[list[dict[str, Any]]]]] = field(default_factory=list)
    shown: int = 0
    total: int = 0
    form: CommentForm = field(default_factory=CommentForm)


async def read_threads(space: Space, run_id: UUID, form: CommentForm, *, show_all: bool) -> Threads:
    limit = ALL_COMMENTS if show_all else SHOWN_COMMENTS
    rows = to_jsonable(await list_run_and_task_comments(space, space.id, run_id, limit))
    return build_threads(rows, space, form)


def build_threads(rows: list[dict[str, Any]], space: Space, form: CommentForm) -> Threads:
    """A reply to a reply stands in the same thread. One whose parent is not shown begins a thread."""
    by_id = {row["id"]: row for row in rows}
    threads: dict[str, list[dict[str, Any]]] = {}
    starts: dict[str, str] = {}
    groups: dict[str | None, tuple[dict[str, Any] | None, list[list[dict[str, Any]]]]] = {None: (None, [])}
    for row in rows:  # oldest first: a parent precedes its replies
        is_own = row["author_id"] == str(space.caller.id)
        parent = by_id.get(row["parent_id"])
        can_edit, can_delete = is_own, is_own or space.role == "admin"
        is_allowed = {"edit": can_edit, "delete": can_delete}.get(form.action or "", True)
        is_open = is_allowed and row["id"] == str(form.comment_id)
        row |= {
            "can_edit": can_edit,
            "can_delete": can_delete,
            "in_reply_to": parent if parent and parent["parent_id"] in by_id else None,
            "action": form.action if is_open else None,
        }
        start = starts[row["id"]] = starts.get(row["parent_id"], row["id"])
        thread = threads.setdefault(start, [])
        if not thread:
            groups.setdefault(row["task"] and row["task"]["id"], (row["task"], []))[1].append(thread)
        thread.append(row)
    total = rows[0]["total"] if rows else 0
    return Threads([group for group in groups.values() if group[1]], len(rows), total, form)
