"""The router of all pages, static files, and error pages."""

import json
from typing import Any

from fastapi import APIRouter, Request, Response

from windsock.errors import BadRequest, DatabaseFailed, NotSignedIn, PageNotFound, WindsockError
from windsock.web import (
    account,
    actions,
    approvals,
    audit,
    bulk_clear,
    bulk_edit,
    channels,
    comments,
    connector_form,
    connectors,
    exports,
    fingerprints,
    incidents,
    login,
    members,
    notifications,
    overview,
    palette,
    personal_notifications,
    pipeline,
    pipeline_list,
    run_errors,
    run_list,
    runs,
    saved_views,
    settings,
    spaces,
    task_log,
    teams,
    timeline,
    trigger_form,
    users,
)
from windsock.web.layout import error_context, offline_context
from windsock.web.login import redirect_to_login
from windsock.web.templates import HEADERS, STATIC, is_htmx_partial, redirect_without_empty_fields, render, static

router = APIRouter(include_in_schema=False)
# FastAPI tries the routes in this order; `connectors/new` must precede `connectors/{connector_id}`, and
# `pipelines/values` `pipelines/{pipeline_id}`.
for page in (
    overview,
    exports,
    pipeline_list,
    saved_views,
    pipeline,
    run_list,
    timeline,
    runs,
    task_log,
    run_errors,
    fingerprints,
    bulk_clear,
    incidents,
    comments,
    trigger_form,
    actions,
    approvals,
    bulk_edit,
    connector_form,
    connectors,
    settings,
    members,
    teams,
    audit,
    spaces,
    users,
    palette,
    account,
    notifications,
    channels,
    personal_notifications,
    login,
):
    router.include_router(page.router)

ERROR_TITLES = {
    400: "Bad request",
    403: "No permission",
    404: "Not found",
    405: "Not a page",
    409: "Not possible",
    413: "Too large",
    422: "Not accepted",
    503: "Not available",
}
FOREVER = "public, max-age=31536000, immutable"


@router.get("/static/{name}")
async def get_static(request: Request, name: str) -> Response:
    """A file is immutable under an address with the hash of its content."""
    if name not in STATIC:
        raise PageNotFound("There is no such file.")
    body, version = static(name)
    caching = FOREVER if request.url.query == version else "public, max-age=300"
    headers = {"Cache-Control": caching, "X-Content-Type-Options": "nosniff"}
    return Response(body, headers=headers, media_type=STATIC[name])


async def bad_request_page(request: Request) -> Response:
    """Without its empty parameters the address may be right."""
    if request.method == "GET" and (filled := redirect_without_empty_fields(request)):
        return filled
    where = "address of this page" if request.method == "GET" else "form that was sent"
    return await error_page(request, BadRequest(f"The {where} has a value that cannot be understood."))


async def error_page(request: Request, error: WindsockError) -> Response:
    """An error with the navigation of the user. Without a session, redirect to the login page and back."""
    if isinstance(error, NotSignedIn):
        return redirect_to_login(request)
    is_offline = is_htmx_partial(request) or isinstance(error, DatabaseFailed)
    return render_error(request, error, None if is_offline else await error_context(request))


def render_error(request: Request, error: WindsockError, context: dict[str, Any] | None = None) -> Response:
    """As error_page, without the database. htmx is sent the sentence, which the page shows as a toast."""
    if is_htmx_partial(request):
        event = json.dumps({"windsock:notice": str(error)})
        return Response(status_code=error.status, headers={**HEADERS, **error.headers, "HX-Trigger": event})
    title = ERROR_TITLES.get(error.status, "Something is wrong")
    return render(
        request, "error.html", status_code=error.status, headers=error.headers, title=title, sentence=str(error),
        **(context or offline_context(request)),
    )  # fmt: skip
