"""SVG of the timeline, with positions in percent: the axis, and a lane of pieces for each pipeline."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from markupsafe import Markup, escape

from windsock.formatting import format_duration
from windsock.web.charts import status_class
from windsock.web.scales import TimeTick, tick_text_place

ORDER = ("ok", "other", "skipped", "wait", "retry", "on", "upstream", "bad")
"""Later ones cover earlier ones."""
CROSSED = ("bad", "upstream")


@dataclass(frozen=True, slots=True)
class Span:
    """The displayed period; `begin` and `end` in UTC."""

    begin: datetime
    end: datetime

    def share(self, time: datetime) -> float:
        """0 at its begin, 1 at its end; what lies outside is at the edge."""
        return min(1.0, max(0.0, (time - self.begin) / (self.end - self.begin)))

    def percent(self, time: datetime) -> str:
        return f"{self.share(time) * 100:.2f}%"


@dataclass(frozen=True, slots=True)
class ExpectedRun:
    """The next run of a pipeline; `is_overdue` when its time has passed."""

    at: datetime
    is_overdue: bool


def axis_svg(ticks: Sequence[TimeTick]) -> Markup:
    """Also defines the grid lines and the cross that the lanes use; timeline.js replaces the ticks."""
    labels, lines = [], []
    for tick in ticks:
        x, place = f"{tick.share * 100:.2f}%", tick_text_place(tick)
        day = ' class="day"' if tick.date else ""
        lines.append(f'<line{day} x1="{x}" x2="{x}" y2="100%"/>')
        if tick.date:
            date = f'<tspan class="weekday">{tick.weekday} </tspan><tspan class="date">{tick.date}</tspan>'
            labels.append(f'<text x="{x}" y="12" {place}>{date}</text>')
        if tick.clock:
            labels.append(f'<text x="{x}" y="27" {place}>{tick.clock}</text>')
    return Markup(  # noqa: S704 - numbers and dates
        '<svg class="axis" aria-hidden="true"><defs><path id="cross" d="M-3.5 1.5l7 7m0-7l-7 7"/>'
        f'<g id="gridlines">{"".join(lines)}</g></defs><use href="#gridlines"/>'
        f'<g id="ticks">{"".join(labels)}</g></svg>'
    )


def lane_svg(
    pipeline: dict[str, Any],
    pieces: Iterable[dict[str, Any]],
    expected: ExpectedRun | None,
    slug: str,
    span: Span,
    now: datetime,
) -> Markup:
    """Links are for the pointer; the keyboard has those beside the lane."""
    pieces = sorted(pieces, key=lambda piece: ORDER.index(status_class(piece["status"])))
    total, failed = count_runs(pieces)
    label = escape(f"{total} {'run' if total == 1 else 'runs'} of {pipeline['name']}, {failed} failed")
    drawn = [_piece(piece, pipeline["id"], slug, span, now) for piece in pieces]
    if expected:
        drawn.append(_expected(expected, span, now))
    if span.begin < now < span.end:
        drawn.append(f'<line class="now" x1="{span.percent(now)}" x2="{span.percent(now)}" y2="100%"/>')
    return Markup(  # noqa: S704 - escaped above
        f'<svg class="runs" role="group" aria-label="{label}"><use href="#gridlines"/>{"".join(drawn)}</svg>'
    )


def count_runs(pieces: Iterable[dict[str, Any]]) -> tuple[int, int]:
    """All, and failed ones."""
    total = failed = 0
    for piece in pieces:
        total += piece["total"]
        failed += piece["total"] if piece["status"] == "failed" else 0
    return total, failed


def runs_url(slug: str, pipeline_id: object, begin: datetime, end: datetime, status: str) -> str:
    """The page of a pipeline with the runs of a status that began between these times in UTC, to the second."""
    since, until = begin.isoformat()[:19], (end + timedelta(seconds=1)).isoformat()[:19]
    query = f"started_from={since}Z&started_to={until}Z&status={_quote(status)}"
    return f"/spaces/{_quote(slug)}/pipelines/{pipeline_id}?{query}#runs"


def _piece(piece: dict[str, Any], pipeline_id: object, slug: str, span: Span, now: datetime) -> str:
    """Called for thousands of pieces: `isoformat` takes a fifth of the time of `strftime`."""
    kind, total, status = status_class(piece["status"]), piece["total"], piece["status"].replace("_", " ")
    start, end = piece["began"], piece["ended_at"] or now
    x, right = span.share(start) * 100, span.share(end) * 100
    if total == 1:
        target = f"/spaces/{_quote(slug)}/runs/{piece['run_id']}"
        took = format_duration((end - start).total_seconds())
        title = f"{status}: {_text(start)} UTC, {took}{'' if piece['ended_at'] else ' so far'}"
    else:
        target = escape(runs_url(slug, pipeline_id, start, piece["last_began"], piece["status"]))
        title = f"{total} runs {status}: {_text(start)} UTC to {_text(piece['last_began'])} UTC"
    cross = f'<use class="cross {kind}" href="#cross" x="{x:.2f}%"/>' if kind in CROSSED else ""
    return (
        f'<a href="{target}" tabindex="-1"><title>{escape(title)}</title>'
        f'<rect class="{kind}" x="{x:.2f}%" width="{max(0.02, right - x):.2f}%"/>{cross}</a>'
    )


def _expected(expected: ExpectedRun, span: Span, now: datetime) -> str:
    """An overdue run is an outline from its time until now."""
    x, at = span.percent(expected.at), f"{_text(expected.at)} UTC"
    if not expected.is_overdue:
        return f'<rect class="expected" x="{x}" width="6"><title>expected: {at}</title></rect>'
    width = max(0.5, (span.share(now) - span.share(expected.at)) * 100)
    title = f"overdue: expected {at}, did not start"
    return f'<rect class="overdue" x="{x}" width="{width:.2f}%"><title>{title}</title></rect>'


def _text(time: datetime) -> str:
    """A time in UTC to the minute."""
    return time.isoformat(" ")[:16]


_quote = lru_cache(maxsize=1_000)(quote)
