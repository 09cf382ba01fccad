"""The pages of a space: its fleet, a pipeline, a run; and what is done on them."""

from typing import Annotated, Any
from urllib.parse import parse_qsl, urlencode
from uuid import UUID

from fastapi import APIRouter, Form, Query, Request, Response
from pydantic import ValidationError

from windsock.access.space import IsSignedIn, PageComment, PageView, PageWatch, Space
from windsock.comments.models import CommentIn
from windsock.comments.store import Kind, create_comment, list_said_about_run
from windsock.connectors.store import list_connectors_of
from windsock.errors import BadRequest, NotSignedIn, PageNotFound, WindsockError
from windsock.filters import WhichPipelines
from windsock.inputs import Word
from windsock.pages import LargePage, LongPage
from windsock.pipelines.routes import Days, Sort
from windsock.pipelines.store import (
    DEFAULT_DAYS,
    Window,
    count_by_status,
    get_pipeline,
    list_pipelines,
    set_watch,
)
from windsock.runs.routes import WhichRuns
from windsock.runs.store import get_run, list_runs
from windsock.web import connecting, connectors, governing, keys, settings, signing_in, triggering
from windsock.web.frame import around, spaces_of
from windsock.web.rendering import STATIC, back, go, is_for_part, page, plain, static

router = APIRouter(include_in_schema=False)
router.include_router(signing_in.router)
router.include_router(connecting.router)
router.include_router(connectors.router)
router.include_router(governing.router)
router.include_router(triggering.router)
router.include_router(settings.router)
router.include_router(keys.router)

FOREVER = "public, max-age=31536000, immutable"
DOUBTFUL = {"late", "partial", "failing", "held"}
"""States of a connector in which what it shows may be old; the list says so."""
SHOWN_COMMENTS = 500
SHOWN_TASKS = 500
"""Task runs on the page of a run; the rest is in Airflow and in the API."""


@router.get("/static/{name}")
async def get_static(name: str) -> Response:
    if name not in STATIC:
        raise PageNotFound("There is no such file.")
    body, _ = static(name)
    headers = {"Cache-Control": FOREVER, "X-Content-Type-Options": "nosniff"}
    return Response(body, headers=headers, media_type=STATIC[name])


@router.get("/")
async def show_first(request: Request, caller: IsSignedIn) -> Response:
    """The first of one's spaces; a sentence where there is none."""
    spaces = await spaces_of(caller)
    if not spaces:
        return page(request, "no_space.html", caller=caller, space=None)
    return go(f"/spaces/{spaces[0]['slug']}/pipelines")


@router.get("/spaces/{slug}")
async def show_space(space: PageView) -> Response:
    return go(f"/spaces/{space.slug}/pipelines")


@router.get("/spaces/{slug}/pipelines")
async def show_fleet(
    request: Request,
    space: PageView,
    paging: LargePage,
    which: WhichPipelines,
    status: Annotated[list[Word] | None, Query()] = None,
    days: Days = DEFAULT_DAYS,
    sort: Annotated[Sort, Query()] = "name",
) -> Response:
    """With the parameters of the API's list."""
    window = Window.ending_now(days)
    async with space.transaction() as tx:
        rows, total = await list_pipelines(tx, space, paging, which, status=status, window=window, sort=sort)
        states = await count_by_status(tx, space, which)
        sources, _ = await list_connectors_of(tx, space.id, connectors.MANY)
        teams = await governing.teams_to_choose(tx, space)
    pages = max(1, -(-total // paging.size))
    template = "fleet_list.html" if is_for_part(request) else "fleet.html"
    return page(
        request, template, **await around(space), pipelines=plain(rows), total=total, states=states, which=which,
        status=status or [], days=days, sort=sort, teams=teams, number=paging.page, pages=pages, size=paging.size,
        doubtful=[one for one in plain(sources) if one["freshness"] and one["freshness"]["state"] in DOUBTFUL],
    )  # fmt: skip


@router.post("/spaces/{slug}/pipelines/{pipeline_id}/watch")
async def watch(
    request: Request,
    space: PageWatch,
    pipeline_id: UUID,
    watched: Annotated[bool, Form()] = False,  # noqa: FBT002 - a form field
) -> Response:
    async with space.transaction() as tx:
        await set_watch(tx, space, pipeline_id, is_watched=watched)
    if is_for_part(request):
        return page(request, "star.html", space=space, pipeline={"id": str(pipeline_id), "is_watched": watched})
    return back(request, f"/spaces/{space.slug}/pipelines/{pipeline_id}")


@router.get("/spaces/{slug}/pipelines/{pipeline_id}")
async def show_pipeline(
    request: Request, space: PageView, pipeline_id: UUID, paging: LongPage, which: WhichRuns, days: Days = DEFAULT_DAYS
) -> Response:
    async with space.transaction() as tx:
        pipeline = await get_pipeline(tx, space, pipeline_id, window=Window.ending_now(days))
        runs, total, behind = await list_runs(tx, space.id, pipeline_id, paging, which)
        teams = await governing.teams_to_choose(tx, space)
    return page(
        request, "pipeline.html", **await around(space), pipeline=plain(pipeline), runs=plain(runs), total=total,
        behind=behind and str(behind), days=days, status=which.status or [],
        teams=teams,
    )  # fmt: skip


@router.get("/spaces/{slug}/runs/{run_id}")
async def show_run(request: Request, space: PageView, run_id: UUID) -> Response:
    return await _run_page(request, space, run_id)


@router.post("/spaces/{slug}/runs/{run_id}/comments")
async def comment_on_run(
    request: Request, space: PageComment, run_id: UUID, content: Annotated[str, Form()] = ""
) -> Response:
    return await _comment(request, space, "run", run_id, run_id, content)


@router.post("/spaces/{slug}/runs/{run_id}/task-runs/{task_run_id}/comments")
async def comment_on_task_run(
    request: Request, space: PageComment, run_id: UUID, task_run_id: UUID, content: Annotated[str, Form()] = ""
) -> Response:
    return await _comment(request, space, "task run", task_run_id, run_id, content)


async def _comment(
    request: Request, space: Space, kind: Kind, resource_id: UUID, run_id: UUID, content: str
) -> Response:
    try:
        given = CommentIn(content=content, parent_id=None)
    except ValidationError:
        complaint = "A comment has 1 to 10,000 characters."
        return await _run_page(request, space, run_id, complaint=complaint, draft=content, status=422)
    async with space.transaction() as tx:
        await create_comment(tx, space, kind, resource_id, given)
    return go(f"/spaces/{space.slug}/runs/{run_id}#comments")


async def _run_page(
    request: Request, space: Space, run_id: UUID, *, complaint: str | None = None, draft: str = "", status: int = 200
) -> Response:
    async with space.transaction() as tx:
        run = plain(await get_run(tx, space.id, run_id))
        said = plain(await list_said_about_run(tx, space, run_id, SHOWN_COMMENTS))
    of_tasks: dict[str, list[dict[str, Any]]] = {}
    for one in said:
        if one["resource_type"] == "task_run":
            of_tasks.setdefault(one["resource_id"], []).append(one)
    comments = [one for one in said if one["resource_type"] == "pipeline_run"]
    return page(
        request, "run.html", status_code=status, **await around(space), run=run, tasks=run["task_runs"][:SHOWN_TASKS],
        comments=comments, of_tasks=of_tasks, complaint=complaint, draft=draft,
    )  # fmt: skip


def bad_address(request: Request) -> Response:
    """A form without JavaScript sends also what was left empty; without that the address may be right."""
    given = parse_qsl(request.url.query, keep_blank_values=True)
    said = [(name, value) for name, value in given if value]
    if request.method == "GET" and len(said) < len(given):
        return go(f"{request.url.path}?{urlencode(said)}")
    where = "address of this page" if request.method == "GET" else "form that was sent"
    return error_page(request, BadRequest(f"The {where} has a value that cannot be understood."))


def error_page(request: Request, error: WindsockError) -> Response:
    """In the frame of a page; who is not signed in is led there, and back."""
    if isinstance(error, NotSignedIn):
        return signing_in.lead_to_sign_in(request)
    title = {400: "Bad address", 403: "No permission", 404: "Not found"}.get(error.status, "Something is wrong")
    return page(
        request, "error.html", status_code=error.status, headers=error.headers, title=title, sentence=str(error),
        caller=None, space=None,
    )  # fmt: skip
