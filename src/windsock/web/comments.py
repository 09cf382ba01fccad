"""Comments on the page of a run: writing, replying, editing and deleting, with and without JavaScript."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Form, Query, Request, Response
from pydantic import ValidationError

from windsock.auth.authenticator import Space
from windsock.auth.permissions import PageComment, PageView
from windsock.comments.models import CommentIn
from windsock.comments.store import Kind, change_comment, create_comment, delete_comment
from windsock.errors import NotFound
from windsock.web.comment_threads import CommentForm, read_threads
from windsock.web.forms import with_newlines
from windsock.web.runs import render_run_page
from windsock.web.templates import is_htmx_partial, redirect, render

router = APIRouter(include_in_schema=False, prefix="/spaces/{slug}/runs/{run_id}")

LENGTH = "A comment has 1 to 10,000 characters."
PARENT_DELETED = "The comment that you reply to was deleted. Your text is below, as a new comment."
COMMENT_DELETED = "The comment that you edit was deleted. Your text is below, as a new comment."

Content = Annotated[str, Form()]
Parent = Annotated[UUID | None, Form()]
OpenForm = Annotated[UUID | None, Query()]


@router.get("/comments")
async def show_comments(
    request: Request,
    space: PageView,
    run_id: UUID,
    reply: OpenForm = None,
    edit: OpenForm = None,
    delete: OpenForm = None,
    comments: str = "",
) -> Response:
    """The threads, for htmx; without it the page of the run."""
    if not is_htmx_partial(request):
        query = f"?{request.url.query}" if request.url.query else ""
        return redirect(f"/spaces/{space.slug}/runs/{run_id}{query}#comments")
    threads = await read_threads(space, run_id, CommentForm.of(reply, edit, delete), show_all=comments == "all")
    return render(request, "run_threads.html", space=space, run={"id": run_id}, threads=threads, is_partial=True)


@router.post("/comments")
async def comment_on_run(
    request: Request, space: PageComment, run_id: UUID, content: Content = "", parent_id: Parent = None
) -> Response:
    return await _create(request, space, run_id, None, content, parent_id)


@router.post("/task-runs/{task_run_id}/comments")
async def comment_on_task_run(
    request: Request,
    space: PageComment,
    run_id: UUID,
    task_run_id: UUID,
    content: Content = "",
    parent_id: Parent = None,
) -> Response:
    return await _create(request, space, run_id, task_run_id, content, parent_id)


@router.post("/comments/{comment_id}")
async def edit_comment(
    request: Request, space: PageComment, run_id: UUID, comment_id: UUID, content: Content = ""
) -> Response:
    try:
        body = CommentIn(content=with_newlines(content))
    except ValidationError:
        return await _refuse(request, space, run_id, CommentForm("edit", comment_id, content, LENGTH))
    try:
        async with space.transaction() as tx:
            await change_comment(tx, space, comment_id, body.content)
    except NotFound:
        return await _refuse(request, space, run_id, CommentForm(draft=content, complaint=COMMENT_DELETED))
    return _back(space, run_id, comment_id)


@router.post("/comments/{comment_id}/delete")
async def remove_comment(space: PageComment, run_id: UUID, comment_id: UUID) -> Response:
    async with space.transaction() as tx:
        await delete_comment(tx, space, comment_id)
    return redirect(f"/spaces/{space.slug}/runs/{run_id}#comments")


async def _create(
    request: Request, space: Space, run_id: UUID, task_run_id: UUID | None, content: str, parent_id: UUID | None
) -> Response:
    try:
        body = CommentIn(content=with_newlines(content), parent_id=parent_id)
    except ValidationError:
        form = CommentForm("reply" if parent_id else None, parent_id, content, LENGTH)
        return await _refuse(request, space, run_id, form, task_run_id)
    kind: Kind = "run" if task_run_id is None else "task run"
    try:
        async with space.transaction() as tx:
            created = await create_comment(tx, space, kind, task_run_id or run_id, body)
    except NotFound:
        if parent_id is None:
            raise
        return await _refuse(request, space, run_id, CommentForm(draft=content, complaint=PARENT_DELETED), task_run_id)
    return _back(space, run_id, created["id"])


async def _refuse(
    request: Request, space: Space, run_id: UUID, form: CommentForm, about: UUID | None = None
) -> Response:
    return await render_run_page(request, space, run_id, form=form, about=about, status=422)


def _back(space: Space, run_id: UUID, comment_id: Any) -> Response:  # noqa: ANN401 - of a row
    return redirect(f"/spaces/{space.slug}/runs/{run_id}#comment-{comment_id}")
