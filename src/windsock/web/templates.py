"""Templates, what they may call, and the headers of a page."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from hashlib import blake2b
from importlib.resources import files
from typing import Annotated, Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import orjson
from fastapi import Depends, Request, Response
from jinja2 import Environment, PackageLoader, StrictUndefined

from windsock import __version__
from windsock.auth.permissions import PageView
from windsock.http.etag import check_etag
from windsock.http.responses import dump_json, in_header
from windsock.web.charts import status_class
from windsock.web.elements import due, relative_time, star, state
from windsock.web.filters import (
    ago,
    date_time,
    duration_cell,
    format_minute,
    is_past,
    iso,
    ordinal,
    percent,
    seconds_between,
    short_date,
)
from windsock.web.layout import NO_LAYOUT, SPACE_COOKIE, navigation_links
from windsock.web.markdown import render_markdown
from windsock.web.notices import clear_notice, read_notice, set_notice
from windsock.web.zone import clock_time, read_zone

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "private, no-store",
    "Vary": "Cookie, HX-Request",
}
PARTIAL_HEADERS = {**HEADERS, "Cache-Control": "private, no-cache"}
"""Of a part of a page that htmx refreshes: the browser stores it, and sends its ETag each time."""
REFUSED_HEADERS = {"Cache-Control": "private, no-cache"}
"""Of a page that answers a POST: the browser may store it, so that Back shows the form as it was sent."""
STATIC = {
    "windsock.css": "text/css",
    "theme.js": "text/javascript",
    "windsock.js": "text/javascript",
    "forms.js": "text/javascript",
    "palette.js": "text/javascript",
    "gantt.js": "text/javascript",
    "gantt_rows.js": "text/javascript",
    "run.js": "text/javascript",
    "task_log.js": "text/javascript",
    "timeline.js": "text/javascript",
    "zone.js": "text/javascript",
    "htmx.min.js": "text/javascript",
    "inbox.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
STYLESHEETS = (
    "base",
    "frame",
    "controls",
    "tables",
    "states",
    "charts",
    "overview",
    "pipelines",
    "pipeline",
    "run",
    "task_log",
    "failures",
    "incidents",
    "timeline",
    "connectors",
    "settings",
)
"""Files of static/css, which are one file to the browser; a later one overrides."""
SPACE_SECONDS = 365 * 86_400
DICT_METHODS = frozenset(dir(dict))


def to_jsonable(value: object) -> Any:  # noqa: ANN401 - JSON
    """As the API says it: what a page shows of a thing is what a client reads."""
    return orjson.loads(dump_json(value))


@cache
def static(name: str) -> tuple[bytes, str]:
    """A file that comes with the program, and a name for its content."""
    folder = files(__package__).joinpath("static")
    names = [f"css/{sheet}.css" for sheet in STYLESHEETS] if name == "windsock.css" else [name]
    body = b"".join(folder.joinpath(part).read_bytes() for part in names)
    return body, blake2b(body, digest_size=6).hexdigest()


def render(
    request: Request,
    template: str,
    *,
    status_code: int = 200,
    headers: Mapping[str, str] | None = None,
    etag: str | None = None,
    **values: object,
) -> Response:
    """Render a template. `etag`: a PartialETag. A whole page shows the notice of the last redirect, once."""
    is_page = not is_htmx_partial(request)
    notice = read_notice(request) if is_page else None
    names: dict[str, Any] = {"request": request, "now": datetime.now(UTC), **NO_LAYOUT, "notice": notice, **values}
    body = _ENVIRONMENT.get_template(template).render(names)
    base = {**PARTIAL_HEADERS, "ETag": etag} if etag else HEADERS
    if request.method == "POST":
        base = {**base, **REFUSED_HEADERS}
    response = Response(body, status_code, {**base, **(headers or {})}, "text/html")
    if notice:
        clear_notice(response)
    space = names["space"]
    if is_page and space and request.cookies.get(SPACE_COOKIE) != space.slug:
        response.set_cookie(SPACE_COOKIE, space.slug, max_age=SPACE_SECONDS, path="/", httponly=True, samesite="lax")
    return response


def redirect(target: str, notice: str | None = None, count: int = 0) -> Response:
    """Redirect to another page, by GET, which shows the notice of this code; see notices.py."""
    response = Response(status_code=303, headers={**HEADERS, "Location": in_header(target)})
    if notice:
        set_notice(response, notice, count)
    return response


def redirect_back(request: Request, otherwise: str, notice: str | None = None, count: int = 0) -> Response:
    """Redirect to the page of the submitted form. htmx is sent HX-Redirect: it would swap a followed redirect in."""
    return load_page(request, redirect(form_page(request) or otherwise, notice, count))


def load_page(request: Request, response: Response) -> Response:
    """Let htmx load the page that `response` redirects to; other browsers do so anyway."""
    if is_htmx_partial(request):
        response.status_code = 204
        response.headers["HX-Redirect"] = response.headers["Location"]
        del response.headers["Location"]
    return response


def form_page(request: Request) -> str | None:
    """Path and query of the page that a form or htmx sent the request from; None if that was another site."""
    address = request.headers.get("hx-current-url") or request.headers.get("referer", "")
    try:
        parts = urlsplit(address)
    except ValueError:  # a host in brackets that is none
        return None
    is_own = (parts.scheme, parts.netloc) == (request.url.scheme, request.url.netloc)
    if not is_own or not parts.path.startswith("/") or parts.path.startswith(("//", "/\\")):
        return None
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


def redirect_without_empty_fields(request: Request) -> Response | None:
    """Redirect to the address without its empty parameters, which forms send without JavaScript; None without any."""
    pairs = parse_qsl(request.url.query, keep_blank_values=True)
    filled = [(name, value) for name, value in pairs if value]
    return redirect(f"{request.url.path}?{urlencode(filled)}") if len(filled) < len(pairs) else None


def redirect_past_end(request: Request, page: int, pages: int) -> Response | None:
    """Redirect from a page number behind the last page of a list to the last page; None where there is no need."""
    return redirect(with_query(request, page=pages if pages > 1 else None)) if page > pages else None


def is_htmx_partial(request: Request) -> bool:
    """Htmx replaces a part of the page that is open; when it goes back in its history, it wants the whole."""
    return request.headers.get("hx-request") == "true" and "hx-history-restore-request" not in request.headers


async def _partial_etag(request: Request, space: PageView) -> str | None:
    is_partial = is_htmx_partial(request)
    key = (space.etag_key, read_zone(request))
    return check_etag(request, key, by_minute=True, headers=PARTIAL_HEADERS) if is_partial else None


PartialETag = Annotated[str | None, Depends(_partial_etag)]
"""The ETag of a part that htmx refreshes, or a 304; None for a whole page, whose layout shows more than the space.

It changes every minute: the server renders ages, and how late a connector is. It depends on the viewer's time zone.
"""


def parse_stored_json(pipeline: Mapping[str, Any]) -> dict[str, Any]:
    """A pipeline of a list with the JSON that is stored as such parsed; a page needs no more than that."""
    return {
        **pipeline,
        **{name: pipeline[name] and orjson.loads(pipeline[name]) for name in ("last_run", "recent_runs")},
    }


def with_query(request: Request, **changes: object) -> str:
    """The address of this page with other parameters; None takes one away, a list gives it several times.

    What changes begins at its first page.
    """
    pairs = [(name, value) for name, value in parse_qsl(request.url.query) if name not in changes and name != "page"]
    added = [
        (name, str(item))
        for name, value in changes.items()
        for item in (value if isinstance(value, list) else [value])
        if item is not None
    ]
    query = urlencode(pairs + added)
    return f"{request.url.path}?{query}" if query else request.url.path


def contact_link(text: str | None) -> str | None:
    """Return the address that a contact of a team links to; None for free text. Only http, https and mailto."""
    if text and re.fullmatch(r"https?://\S+", text, re.IGNORECASE):
        return text
    return f"mailto:{quote(text, safe='@+')}" if text and re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", text) else None


class _Environment(Environment):
    """Looks a key of a dict up first, unless a method has its name: Jinja raises and catches an exception for each."""

    def getattr(self, obj: Any, attribute: str) -> Any:  # noqa: ANN401 - as in Jinja
        if isinstance(obj, dict) and attribute in obj and attribute not in DICT_METHODS:
            return obj[attribute]
        return super().getattr(obj, attribute)


_ENVIRONMENT = _Environment(
    loader=PackageLoader("windsock.web"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters |= {
    "ago": ago,
    "clock_time": clock_time,
    "iso": iso,
    "minute": format_minute,
    "span": duration_cell,
    "ordinal": ordinal,
    "short_date": short_date,
    "percent": percent,
    "date_time": date_time,
    "markdown": render_markdown,
}
_ENVIRONMENT.globals |= {
    "with_query": with_query,
    "state": state,
    "moment": relative_time,
    "due": due,
    "star": star,
    "status_class": status_class,
    "is_past": is_past,
    "seconds_between": seconds_between,
    "static": lambda name: f"/static/{name}?{static(name)[1]}",
    "navigation_links": navigation_links,
    "contact_link": contact_link,
    "version": __version__,
}
