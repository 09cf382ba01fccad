"""Fingerprints: groups of failures with the same fault, which editors name, merge and split."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response

from windsock.auth.permissions import CanEditFingerprints, ConditionalViewByMinute
from windsock.failures.models import (
    Fingerprint,
    FingerprintDetail,
    FingerprintUpdate,
    MergeInput,
    RunbookInput,
    SplitInput,
)
from windsock.failures.store import (
    FingerprintFilter,
    get_fingerprint,
    list_fingerprints,
    merge_fingerprint,
    rename_fingerprint,
    set_runbook,
    split_fingerprint,
)
from windsock.http.pagination import LIST_HEADERS, PageQuery20
from windsock.http.responses import json_response, page_response
from windsock.http.validation import StorableText

router = APIRouter(prefix="/spaces/{slug}/orchestration/fingerprints", tags=["failures"])

LIST: dict[int | str, dict[str, Any]] = {200: {"headers": LIST_HEADERS}}


async def _fingerprint_filter(
    pipeline_id: Annotated[list[UUID] | None, Query(description="Several mean any of them.")] = None,
    team_id: Annotated[
        list[UUID] | None, Query(description="The team that owns the pipeline. Several mean any of them.")
    ] = None,
    q: Annotated[
        StorableText | None,
        Query(max_length=500, description="Every word must occur in name or title, or in the name of the pipeline."),
    ] = None,
) -> FingerprintFilter:
    return FingerprintFilter(pipeline_id=pipeline_id, team_id=team_id, q=q)


FingerprintFilterQuery = Annotated[FingerprintFilter, Depends(_fingerprint_filter)]


@router.get(
    "",
    response_model=list[Fingerprint],
    responses=LIST,
    name="list_fingerprints",
    summary="Groups of failures, those that occurred last first",
)
async def list_all_fingerprints(
    request: Request, space: ConditionalViewByMinute, paging: PageQuery20, which: FingerprintFilterQuery
) -> Response:
    """Groups that users merged into others are not listed."""
    rows, total = await list_fingerprints(space, space.id, paging, which)
    return page_response(request, rows, total, paging, etag=space.etag)


@router.get(
    "/{fingerprint_id}",
    response_model=FingerprintDetail,
    name="get_fingerprint",
    summary="One group of failures, with runs, comments and trend",
)
async def get_one_fingerprint(request: Request, space: ConditionalViewByMinute, fingerprint_id: UUID) -> Response:
    """The id of a merged group returns the group that it was merged into."""
    async with space.transaction() as tx:
        row = await get_fingerprint(tx, space.id, fingerprint_id)
    return json_response(request, row, etag=space.etag)


@router.patch(
    "/{fingerprint_id}",
    response_model=FingerprintDetail,
    name="update_fingerprint",
    summary="Name a group of failures",
)
async def change_fingerprint(
    request: Request, space: CanEditFingerprints, fingerprint_id: UUID, body: FingerprintUpdate
) -> Response:
    async with space.transaction() as tx:
        row = await get_fingerprint(tx, space.id, await rename_fingerprint(tx, space, fingerprint_id, body.name))
    return json_response(request, row)


@router.post(
    "/{fingerprint_id}/merge",
    response_model=FingerprintDetail,
    name="merge_fingerprint",
    summary="Merge a group of failures into another one",
)
async def merge_into(request: Request, space: CanEditFingerprints, fingerprint_id: UUID, body: MergeInput) -> Response:
    """Returns the other one. Later failures with the fingerprint that was merged belong to it, too."""
    async with space.transaction() as tx:
        row = await get_fingerprint(tx, space.id, await merge_fingerprint(tx, space, fingerprint_id, body.into))
    return json_response(request, row)


@router.post(
    "/{fingerprint_id}/split",
    response_model=FingerprintDetail,
    status_code=201,
    name="split_fingerprint",
    summary="Split failures off a group",
)
async def split_off(request: Request, space: CanEditFingerprints, fingerprint_id: UUID, body: SplitInput) -> Response:
    """Returns the group of the failures that were split off. Later failures with their messages belong to it.

    All failures of a group that was merged into this one become that group again.
    """
    async with space.transaction() as tx:
        row = await get_fingerprint(tx, space.id, await split_fingerprint(tx, space, fingerprint_id, body))
    return json_response(request, row, status=201)


@router.put(
    "/{fingerprint_id}/runbook",
    response_model=FingerprintDetail,
    name="update_runbook",
    summary="Pin a comment as the runbook of a group of failures",
)
async def put_runbook(
    request: Request, space: CanEditFingerprints, fingerprint_id: UUID, body: RunbookInput
) -> Response:
    async with space.transaction() as tx:
        row = await get_fingerprint(tx, space.id, await set_runbook(tx, space, fingerprint_id, body.comment_id))
    return json_response(request, row)
