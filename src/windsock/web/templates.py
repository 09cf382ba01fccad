"""Templates, what they may call, and the headers of a page."""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from hashlib import blake2b
from importlib.resources import files
from typing import Annotated, Any
from urllib.parse import parse_qsl, urlencode

import orjson
from fastapi import Depends, Request, Response
from jinja2 import Environment, PackageLoader, StrictUndefined

from windsock import __version__
from windsock.auth.permissions import PageView
from windsock.formatting import format_duration
from windsock.http.etag import check_etag
from windsock.http.responses import dump_json, in_header
from windsock.web.charts import daily_runs_chart, duration_scatter, run_sparkline

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
STATIC = {
    "windsock.css": "text/css",
    "windsock.js": "text/javascript",
    "gantt.js": "text/javascript",
    "timeline.js": "text/javascript",
    "htmx.min.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
EMPTY_CELL = "\N{EN DASH}"
DICT_METHODS = frozenset(dir(dict))


def to_jsonable(value: object) -> Any:  # noqa: ANN401 - JSON
    """As the API says it: what a page shows of a thing is what a client reads."""
    return orjson.loads(dump_json(value))


@cache
def static(name: str) -> tuple[bytes, str]:
    """A file that comes with the program, and a name for its content."""
    body = files(__package__).joinpath("static", name).read_bytes()
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
    """`etag`: a PartialETag."""
    names = {"request": request, "now": datetime.now(UTC), **values}
    body = _ENVIRONMENT.get_template(template).render(names)
    base = {**PARTIAL_HEADERS, "ETag": etag} if etag else HEADERS
    return Response(body, status_code, {**base, **(headers or {})}, "text/html")


def redirect(target: str) -> Response:
    """To another page, by GET."""
    return Response(status_code=303, headers={**HEADERS, "Location": in_header(target)})


def redirect_back(request: Request, otherwise: str) -> Response:
    """Redirect to the page of the submitted form, for browsers without JavaScript."""
    target = request.headers.get("referer", "")
    own = f"{request.url.scheme}://{request.url.netloc}/"
    return redirect(target if target.startswith(own) else otherwise)


def is_htmx_partial(request: Request) -> bool:
    """Htmx replaces a part of the page that is open; when it goes back in its history, it wants the whole."""
    return request.headers.get("hx-request") == "true" and "hx-history-restore-request" not in request.headers


async def _partial_etag(request: Request, space: PageView) -> str | None:
    is_partial = is_htmx_partial(request)
    return check_etag(request, space.etag_key, by_minute=True, headers=PARTIAL_HEADERS) if is_partial else None


PartialETag = Annotated[str | None, Depends(_partial_etag)]
"""The ETag of a part that htmx refreshes, or a 304; None for a whole page, whose layout shows more than the space.

It changes every minute: the server renders ages, and how late a connector is.
"""


def parse_stored_json(pipeline: Mapping[str, Any]) -> dict[str, Any]:
    """A pipeline of a list with the JSON that is stored as such parsed; a page needs no more than that."""
    return {
        **pipeline,
        **{name: pipeline[name] and orjson.loads(pipeline[name]) for name in ("last_run", "recent_runs")},
    }


def iso(time: str | datetime) -> str:
    """As the API writes it."""
    return time if isinstance(time, str) else time.isoformat().replace("+00:00", "Z")


def to_datetime(time: str | datetime) -> datetime:
    return datetime.fromisoformat(time) if isinstance(time, str) else time


def ago(time: str | datetime | None, now: datetime) -> str:
    """How long since then, or until then; from a minute on without seconds, which would be others before it is read."""
    if time is None:
        return "never"
    seconds = (now - to_datetime(time)).total_seconds()
    if abs(seconds) < 3:  # noqa: PLR2004 - clocks differ by as much
        return "now"
    away = round(abs(seconds), 1)
    text = format_duration(away if away < 60 else away // 60 * 60)  # noqa: PLR2004 - a minute
    return f"{text} ago" if seconds >= 0 else f"in {text}"


def is_past(time: str | datetime, now: datetime) -> bool:
    return to_datetime(time) <= now


def duration_cell(seconds: float | None) -> str:
    """As duration; a dash for what took no time that is known."""
    return format_duration(seconds) or EMPTY_CELL


def seconds_between(start: str | None, end: str | None, now: datetime) -> float | None:
    """Until now without an end; None without a start, and where the end is before the start (two machines' clocks)."""
    if start is None:
        return None
    begin = datetime.fromisoformat(start)
    if end is None:
        return max(0.0, (now - begin).total_seconds())
    seconds = (datetime.fromisoformat(end) - begin).total_seconds()
    return seconds if seconds >= 0 else None


def percent(share: float | None) -> str:
    """Never 100 % where something failed, never 0 % where something succeeded."""
    if share is None:
        return EMPTY_CELL
    rounded = min(99, max(1, round(share * 100))) if 0 < share < 1 else round(share * 100)
    return f"{rounded} %"


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
_ENVIRONMENT.filters |= {"ago": ago, "iso": iso, "span": duration_cell, "percent": percent}
_ENVIRONMENT.globals |= {
    "with_query": with_query,
    "strip": run_sparkline,
    "scatter": duration_scatter,
    "daily_runs_chart": daily_runs_chart,
    "is_past": is_past,
    "seconds_between": seconds_between,
    "static": lambda name: f"/static/{name}?{static(name)[1]}",
    "version": __version__,
}
