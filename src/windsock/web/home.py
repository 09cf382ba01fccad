"""The router of all pages, the first page, static files, and error pages."""

from urllib.parse import parse_qsl, urlencode

from fastapi import APIRouter, Request, Response

from windsock.auth.permissions import IsSignedIn, PageView
from windsock.errors import BadRequest, NotSignedIn, PageNotFound, WindsockError
from windsock.web import (
    account,
    bulk_edit,
    connector_form,
    connectors,
    login,
    pipelines,
    runs,
    settings,
    timeline,
    trigger_form,
)
from windsock.web.layout import list_visible_spaces
from windsock.web.login import redirect_to_login
from windsock.web.templates import STATIC, redirect, render, static

router = APIRouter(include_in_schema=False)
# FastAPI tries the routes in this order; `connectors/new` must precede `connectors/{connector_id}`.
for page in (pipelines, timeline, runs, trigger_form, bulk_edit, connector_form, connectors, settings, account, login):
    router.include_router(page.router)

FOREVER = "public, max-age=31536000, immutable"


@router.get("/static/{name}")
async def get_static(name: str) -> Response:
    if name not in STATIC:
        raise PageNotFound("There is no such file.")
    body, _ = static(name)
    headers = {"Cache-Control": FOREVER, "X-Content-Type-Options": "nosniff"}
    return Response(body, headers=headers, media_type=STATIC[name])


@router.get("/")
async def home(request: Request, caller: IsSignedIn) -> Response:
    """The first of one's spaces; a sentence where there is none."""
    spaces = await list_visible_spaces(caller)
    if not spaces:
        return render(request, "no_space.html", caller=caller, space=None)
    return redirect(f"/spaces/{spaces[0]['slug']}/pipelines")


@router.get("/spaces/{slug}")
async def show_space(space: PageView) -> Response:
    return redirect(f"/spaces/{space.slug}/pipelines")


def bad_request_page(request: Request) -> Response:
    """A form without JavaScript sends also what was left empty; without that the address may be right."""
    pairs = parse_qsl(request.url.query, keep_blank_values=True)
    filled = [(name, value) for name, value in pairs if value]
    if request.method == "GET" and len(filled) < len(pairs):
        return redirect(f"{request.url.path}?{urlencode(filled)}")
    where = "address of this page" if request.method == "GET" else "form that was sent"
    return error_page(request, BadRequest(f"The {where} has a value that cannot be understood."))


def error_page(request: Request, error: WindsockError) -> Response:
    """In the frame of a page; who is not signed in is led there, and back."""
    if isinstance(error, NotSignedIn):
        return redirect_to_login(request)
    title = {400: "Bad address", 403: "No permission", 404: "Not found"}.get(error.status, "Something is wrong")
    return render(
        request, "error.html", status_code=error.status, headers=error.headers, title=title, sentence=str(error),
        caller=None, space=None,
    )  # fmt: skip
