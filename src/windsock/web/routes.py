"""The pages of a space: its fleet, a pipeline, a run; and what is done on them."""

from typing import Annotated
from urllib.parse import parse_qsl, urlencode
from uuid import UUID

from fastapi import APIRouter, Form, Query, Request, Response

from windsock.access.space import IsSignedIn, PageView, PageWatch
from windsock.connectors.store import list_connectors_of
from windsock.errors import BadRequest, NotSignedIn, PageNotFound, WindsockError
from windsock.filters import WhichPipelines
from windsock.inputs import Word
from windsock.pages import LargePage, LongPage
from windsock.pipelines.routes import Days, NeverSucceeded, Sort
from windsock.pipelines.store import (
    DEFAULT_DAYS,
    count_totals,
    get_pipeline,
    list_pipelines,
    look_at_pipeline,
    set_watch,
)
from windsock.pipelines.summaries import Window
from windsock.runs.routes import WhichRuns
from windsock.runs.store import list_runs
from windsock.web import connecting, connectors, governing, keys, runs, settings, signing_in, timeline, triggering
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
router.include_router(runs.router)
router.include_router(timeline.router)

FOREVER = "public, max-age=31536000, immutable"
DOUBTFUL = {"late", "partial", "failing", "held"}
"""States of a connector in which what it shows may be old; the list says so."""
LATE = {"late", "failing"}
"""Of these, those in which nothing new has come for too long."""


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
    never_succeeded: NeverSucceeded = False,  # noqa: FBT002 - a query parameter
    days: Days = DEFAULT_DAYS,
    sort: Annotated[Sort, Query()] = "name",
) -> Response:
    """With the parameters of the API's list."""
    window = Window.ending_now(days)
    async with space.transaction() as tx:
        rows, total = await list_pipelines(
            tx, space, paging, which, status=status, never_succeeded=never_succeeded, window=window, sort=sort
        )
        totals = await count_totals(tx, space, which, window)
        sources, _ = await list_connectors_of(tx, space.id, connectors.MANY)
        teams = [] if is_for_part(request) else await governing.teams_to_choose(tx, space)
    doubtful = [one for one in plain(sources) if one["freshness"] and one["freshness"]["state"] in DOUBTFUL]
    pages = max(1, -(-total // paging.size))
    template = "fleet_list.html" if is_for_part(request) else "fleet.html"
    return page(
        request, template, **await around(space), pipelines=plain(rows), total=total, totals=totals, which=which,
        status=status or [], days=days, sort=sort, teams=teams, number=paging.page, pages=pages, size=paging.size,
        never_succeeded=never_succeeded, doubtful=doubtful,
        late=[one for one in doubtful if one["freshness"]["state"] in LATE],
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
    window = Window.ending_now(days)
    async with space.transaction() as tx:
        pipeline = await get_pipeline(tx, space, pipeline_id, window=window)
        look = await look_at_pipeline(tx, space, pipeline_id, window)
        rows, total, behind = await list_runs(tx, space.id, pipeline_id, paging, which)
        teams = await governing.teams_to_choose(tx, space)
    return page(
        request, "pipeline.html", **await around(space), pipeline=plain(pipeline), runs=plain(rows), total=total,
        behind=behind and str(behind), days=days, status=which.status or [],
        teams=teams, since=window.since, daily=plain(look.days), ended=plain(look.runs), said=plain(look.said),
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
