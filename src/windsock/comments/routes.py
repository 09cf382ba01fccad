"""Comments on runs and on task runs."""

from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request, Response

from windsock.auth.permissions import CanComment, ConditionalView
from windsock.comments.models import Comment, CommentIn, CommentUpdate
from windsock.comments.store import change_comment, create_comment, delete_comment, list_comments
from windsock.http.pagination import LIST_HEADERS, PageQuery20
from windsock.http.responses import json_response, page_response

router = APIRouter(prefix="/spaces/{slug}/orchestration", tags=["comments"])

LIST: dict[int | str, dict[str, Any]] = {200: {"headers": LIST_HEADERS}}


@router.get("/runs/{run_id}/comments", response_model=list[Comment], responses=LIST, summary="Comments on a run")
async def list_run_comments(request: Request, space: ConditionalView, run_id: UUID, paging: PageQuery20) -> Response:
    async with space.transaction() as tx:
        rows, total = await list_comments(tx, space, "run", run_id, paging)
    return page_response(request, rows, total, paging, etag=space.etag)


@router.post(
    "/runs/{run_id}/comments",
    response_model=Comment,
    status_code=201,
    name="create_run_comment",
    summary="Comment on a run",
)
async def comment_on_run(request: Request, space: CanComment, run_id: UUID, body: CommentIn) -> Response:
    async with space.transaction() as tx:
        row = await create_comment(tx, space, "run", run_id, body)
    return json_response(request, row, status=201)


@router.get(
    "/task-runs/{task_run_id}/comments", response_model=list[Comment], responses=LIST, summary="Comments on a task run"
)
async def list_task_run_comments(
    request: Request, space: ConditionalView, task_run_id: UUID, paging: PageQuery20
) -> Response:
    async with space.transaction() as tx:
        rows, total = await list_comments(tx, space, "task run", task_run_id, paging)
    return page_response(request, rows, total, paging, etag=space.etag)


@router.post(
    "/task-runs/{task_run_id}/comments",
    response_model=Comment,
    status_code=201,
    name="create_task_run_comment",
    summary="Comment on a task run",
)
async def comment_on_task_run(request: Request, space: CanComment, task_run_id: UUID, body: CommentIn) -> Response:
    async with space.transaction() as tx:
        row = await create_comment(tx, space, "task run", task_run_id, body)
    return json_response(request, row, status=201)


@router.put("/comments/{comment_id}", response_model=Comment, summary="Edit one's own comment")
async def replace_comment(request: Request, space: CanComment, comment_id: UUID, body: CommentUpdate) -> Response:
    """Only the author may; PUT and PATCH are the same."""
    return await _change(request, space, comment_id, body)


@router.patch(
    "/comments/{comment_id}",
    response_model=Comment,
    name="update_comment",
    summary="Edit one's own comment; the same as PUT",
)
async def edit_comment(request: Request, space: CanComment, comment_id: UUID, body: CommentUpdate) -> Response:
    return await _change(request, space, comment_id, body)


async def _change(request: Request, space: CanComment, comment_id: UUID, body: CommentUpdate) -> Response:
    async with space.transaction() as tx:
        row = await change_comment(tx, space, comment_id, body.content)
    return json_response(request, row)


@router.delete(
    "/comments/{comment_id}", status_code=204, name="delete_comment", summary="Delete a comment; its replies stay"
)
async def remove_comment(space: CanComment, comment_id: UUID) -> Response:
    """The author may, and admins of the space. Replies stay, and reply to nothing."""
    async with space.transaction() as tx:
        await delete_comment(tx, space, comment_id)
    return Response(status_code=204)
