"""The web application: routers, error answers, what it opens and closes."""

import contextlib
import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from http import HTTPStatus
from typing import Annotated, Any, Literal

import psycopg
from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import PlainTextResponse
from fastapi.routing import iter_route_contexts
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.types import Scope

from windsock import __version__
from windsock.actions import bulk_routes as bulk_clears
from windsock.actions import routes as actions
from windsock.audit import routes as audit
from windsock.auth.authorizer import QUERIES as CALLERS
from windsock.auth.authorizer import Authorizer
from windsock.auth.permissions import PERMISSIONS, require_caller
from windsock.comments import routes as comments
from windsock.connectors import routes as connectors
from windsock.context import AppContext
from windsock.errors import (
    BadRequest,
    Conflict,
    DatabaseFailed,
    Invalid,
    MethodNotAllowed,
    PageNotFound,
    WindsockError,
)
from windsock.failures import log_routes as logs
from windsock.failures import routes as failures
from windsock.failures.log_stream import LogStreams
from windsock.http import docs_ui, openapi
from windsock.http.etag import NotModified
from windsock.http.middleware import SCOPE_METHOD, CompressionMiddleware, RequestMiddleware, shorten
from windsock.http.responses import dump_json
from windsock.http.validation import MAX_ERRORS, TOO_DEEP, TOO_LARGE, request_validator
from windsock.incidents import routes as incidents
from windsock.notifications import routes as notifications
from windsock.notifications.metrics import update_notification_gauges
from windsock.pipelines import routes as pipelines
from windsock.runs import routes as runs
from windsock.saved_views import routes as saved_views
from windsock.spaces import routes as spaces
from windsock.spaces import teams, users
from windsock.sync import routes as syncs
from windsock.sync.metrics import update_freshness_gauges
from windsock.web import home as web
from windsock.web.tries import PreviousTriesCache

API = "/api/v1.0"
FORM_ADDRESS = "This address only receives forms. Open the page with the form, and send it from there."
health = APIRouter(tags=["health"])


def create_app(context: AppContext, *, run_worker: bool = True) -> FastAPI:
    """The API over one process's resources, which it opens at start and closes at the end."""

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with context.lifespan(run_worker=run_worker):
            yield

    app = FastAPI(
        title="Windsock",
        version=__version__,
        summary="Makes Apache Airflow visible to everybody who depends on it.",
        openapi_url=f"{API}/openapi.json",
        generate_unique_id_function=lambda route: route.name,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        # Otherwise it looks for OpenTelemetry at each request.
        telemetry={"tracing": False, "metrics": False, "logs": False},
        lifespan=lifespan,
    )
    app.state.db, app.state.secrets, app.state.jobs = context.db, context.secrets, context.jobs
    app.state.triggers, app.state.settings = context.triggers, context.settings
    app.state.actions, app.state.approvals = context.actions, context.approvals
    app.state.bulk_clears, app.state.bulk_clear_jobs = context.bulk_clears, context.bulk_clear_jobs
    app.state.diagnose = context.diagnose
    app.state.failure_jobs = context.failure_jobs
    app.state.delivery, app.state.notification_jobs = context.delivery, context.notification_jobs
    app.state.authorizer = Authorizer(context.db, uses=context.uses)
    app.state.sessions = Authorizer(context.db, CALLERS["authorize_session"], context.uses)
    app.state.tries = PreviousTriesCache(context.triggers)
    app.state.logs, app.state.log_streams = context.logs, LogStreams(context.logs)
    app.add_middleware(CompressionMiddleware)
    app.add_middleware(RequestMiddleware, max_body_bytes=context.settings.max_body_bytes, on_error=handle_unhandled)
    app.include_router(health)
    validates_request = Depends(request_validator(require_caller))
    # FastAPI tries the routes in this order: the most requested come first.
    for feature in (
        pipelines,
        runs,
        comments,
        logs,
        failures,
        incidents,
        saved_views,
        actions,
        bulk_clears,
        syncs,
        connectors,
        spaces,
        teams,
        users,
        audit,
        notifications,
    ):
        app.include_router(feature.router, prefix=API, dependencies=[validates_request])
    app.include_router(docs_ui.router, prefix=API)
    app.include_router(web.router)
    describe = functools.partial(openapi.describe, app, permissions=PERMISSIONS, require_caller=require_caller)
    setattr(app, "openapi", functools.cache(describe))  # noqa: B010 - FastAPI's own way
    handlers: dict[type[Exception], Callable[[Request, Any], Response | Awaitable[Response]]] = {
        NotModified: handle_not_modified,
        WindsockError: handle_windsock_error,
        RequestValidationError: handle_validation_error,
        HTTPException: handle_http_error,
        psycopg.DataError: handle_data_error,
        psycopg.IntegrityError: handle_integrity_error,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)
    return app


class Health(BaseModel):
    status: Literal["ok"]
    version: str


class Ready(BaseModel):
    status: Literal["ready"]


class NotReady(BaseModel):
    status: Literal["not ready"]
    detail: Annotated[str, Field(description="Why it is not.")]


@health.get("/health", response_model=Health, summary="Is the process alive?")
async def get_health() -> Response:
    return _json(200, {"status": "ok", "version": __version__})


@health.get(
    "/health/ready",
    response_model=Ready,
    responses={503: {"model": NotReady, "description": "It cannot: the database does not answer."}},
    summary="Can it answer? Checks the database.",
)
async def get_readiness(request: Request) -> Response:
    try:
        await request.app.state.db.ping()
    except DatabaseFailed as error:
        return _json(503, {"status": "not ready", "detail": str(error)})
    return _json(200, {"status": "ready"})


@health.get("/metrics", response_class=PlainTextResponse, summary="Numbers for Prometheus")
async def get_metrics(request: Request) -> Response:
    await update_freshness_gauges(request.app.state.db)
    await update_notification_gauges(request.app.state.db)
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


def _json(status: int, value: object, headers: dict[str, str] | None = None) -> Response:
    return Response(dump_json(value), status, headers, "application/json")


async def handle_windsock_error(request: Request, error: WindsockError) -> Response:
    if _wants_page(request):
        return await web.error_page(request, error)
    if isinstance(error, Invalid):
        return _json(error.status, {"detail": [{"loc": error.loc, "msg": str(error), "type": error.kind}]})
    return _json(error.status, {"detail": str(error)}, error.headers)


async def handle_not_modified(_request: Request, found: NotModified) -> Response:
    return Response(status_code=304, headers=found.headers)


async def handle_validation_error(request: Request, error: RequestValidationError) -> Response:
    """Where, what, of which kind; never the value itself, which may be a credential."""
    if _wants_page(request):
        return await web.bad_request_page(request)
    if any(complaint["type"] == "json_invalid" for complaint in error.errors()) and (
        refusal := await _unauthenticated(request)
    ):
        return refusal
    detail = [
        {"loc": complaint["loc"], "msg": complaint["msg"], "type": complaint["type"]}
        for complaint in error.errors()[:MAX_ERRORS]
    ]
    return _json(422, {"detail": detail})


def _wants_page(request: Request) -> bool:
    """A browser that opened an address which is not the API's."""
    of_the_api = request.url.path.startswith(("/api/", "/health", "/metrics"))
    accepts = "text/html" in request.headers.get("accept", "") or request.headers.get("hx-request") == "true"
    return accepts and not of_the_api


async def _unauthenticated(request: Request) -> Response | None:
    """The 401 of a request whose body cannot be read: FastAPI reads it before any dependency could ask for a key."""
    try:
        await require_caller(request)
    except WindsockError as error:
        return await handle_windsock_error(request, error)
    return None


def handle_unhandled(scope: Scope) -> Response:
    """Handle an unexpected error: log it and respond 500, with a page for browsers."""
    request = Request(scope)
    sentence = "A fault of Windsock's own; X-Request-ID finds it in the log."
    if _wants_page(request):
        return web.render_error(request, WindsockError(sentence))
    return _json(500, {"detail": sentence}, {"Connection": "close"})


async def handle_http_error(request: Request, error: HTTPException) -> Response:
    if _wants_page(request):
        if error.status_code == HTTPStatus.NOT_FOUND:
            return await web.error_page(request, PageNotFound("There is no page at this address."))
        if error.status_code == HTTPStatus.BAD_REQUEST:
            return await web.error_page(request, BadRequest(f"The form cannot be read: {error.detail}"))
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            headers = {"Allow": _methods_at(request)}
            return await web.error_page(request, MethodNotAllowed(FORM_ADDRESS, headers=headers))
    elif error.status_code == HTTPStatus.BAD_REQUEST and (refusal := await _unauthenticated(request)):
        return refusal
    path, method = shorten(request.url.path), shorten(request.scope.get(SCOPE_METHOD, request.method))
    sentences = {
        400: f"The body cannot be read: it must be JSON in UTF-8; it {TOO_DEEP}, and {TOO_LARGE}.",
        404: f"There is nothing at {path}.",
        405: f"{method} is not possible at {path}.",
    }
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = _methods_at(request)
    return _json(error.status_code, {"detail": sentences.get(error.status_code, error.detail)}, headers)


def _methods_at(request: Request) -> str:
    """Of all routes at this place; the router would name those of the first one."""
    contexts = [
        route_context
        for route_context in iter_route_contexts(request.app.routes)
        if route_context.matches(request.scope)[0] is not Match.NONE
    ]
    methods = {method for context in contexts for method in context.methods or ()}
    return ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set())))


async def handle_integrity_error(request: Request, _error: psycopg.IntegrityError) -> Response:
    """Handle a constraint violation that no store maps: a referenced row was deleted meanwhile."""
    sentence = "Something this depends on was changed or deleted at the same moment. Look again, then try again."
    if _wants_page(request):
        return await web.error_page(request, Conflict(sentence))
    return _json(409, {"detail": sentence})


async def handle_data_error(request: Request, _error: psycopg.DataError) -> Response:
    sentence = "A value in the request is out of the range that can be stored."
    if _wants_page(request):
        return await web.error_page(request, Invalid(sentence, loc=()))
    return _json(422, {"detail": [{"loc": [], "msg": sentence, "type": "value_error"}]})
