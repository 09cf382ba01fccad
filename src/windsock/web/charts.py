"""Small pictures that are part of a row, as SVG: shape and colour say the same."""

from datetime import date, datetime, timedelta
from math import sqrt
from typing import Any

from markupsafe import Markup, escape

from windsock.formatting import format_duration

RUNS, WIDTH, GAP, HEIGHT, LEAST = 14, 8, 2, 24, 4
KINDS = {
    "success": "ok",
    "failed": "bad",
    "upstream_failed": "bad",
    "running": "on",
    "queued": "on",
    "restarting": "on",
}
"""What a state is shown as; any other one as `other`."""


def status_class(status: str) -> str:
    return KINDS.get(status, "other")


def run_sparkline(runs: list[dict[str, Any]], slug: str) -> Markup:
    """The newest runs, oldest first: as high as they took long (by the root), crossed where they failed."""
    if not runs:
        return Markup('<span class="quiet">no runs</span>')
    longest = max((run["duration_seconds"] or 0 for run in runs), default=0) or 1
    bars, failed, begin = [], 0, escape(f"/spaces/{slug}/runs/")
    for place, run in enumerate(runs, start=RUNS - len(runs)):
        kind, seconds, mark, left = status_class(run["status"]), run["duration_seconds"], "", place * (WIDTH + GAP)
        share = 0.5 if seconds is None else sqrt(seconds / longest)
        tall = max(LEAST, round(share * (HEIGHT - 1)))
        if kind == "bad":
            failed, mark = failed + 1, f'<path class="mark" d="M{left + 3} {HEIGHT - 6}l4 4m0 -4l-4 4"/>'
        title = escape(f"{run['external_id']}: {run['status']}")
        bars.append(
            f'<a href="{begin}{run["id"]}"><title>{title}</title>'
            f'<rect class="hit" x="{left}"/><rect class="{kind}" x="{left + 1}" y="{HEIGHT - tall}" height="{tall}"/>'
            f"{mark}</a>"
        )
    label = f"The newest {len(runs)} runs, {failed} failed"
    frame = f'<svg class="strip" width="{RUNS * (WIDTH + GAP)}" height="{HEIGHT}" role="group" aria-label="{label}">'
    # Not by Markup.format, which looks at each number too: for 1,400 bars that was half of the time of a page.
    return Markup(f"{frame}{''.join(bars)}</svg>")  # noqa: S704 - escaped above


WIDE, TALL, EDGE = 800, 140, 6
"""Units of the larger pictures; they become as wide as their place."""


def duration_scatter(
    runs: list[dict[str, Any]], slug: str, since: datetime, now: datetime, lines: dict[str, float | None]
) -> Markup:
    """Each run a dot, at its end and as high as it took long; failed ones are crosses. `lines`: names and seconds."""
    longest = (
        max((*(run["duration_seconds"] for run in runs), *(value or 0 for value in lines.values())), default=0) or 1
    )
    window, begin = (now - since).total_seconds() or 1, escape(f"/spaces/{slug}/runs/")
    drawn = []
    for name, seconds in lines.items():
        if seconds is not None:
            drawn.append(f'<path class="level {name}" d="M0 {_height(seconds, longest)}h{WIDE}"/>')
    for run in runs:
        at = (datetime.fromisoformat(run["ended_at"]) - since).total_seconds() / window
        x, y = round(EDGE + at * (WIDE - 2 * EDGE), 1), _height(run["duration_seconds"], longest)
        kind = status_class(run["status"])
        title = escape(f"{run['external_id']}: {run['status']}, {format_duration(run['duration_seconds'])}")
        shape = (
            f'<path class="cross" d="M{x - 3} {y - 3}l6 6m0 -6l-6 6"/>'
            if kind == "bad"
            else f'<circle class="{kind}" cx="{x}" cy="{y}" r="3"/>'
        )
        drawn.append(f'<a href="{begin}{escape(run["id"])}"><title>{title}</title>{shape}</a>')
    label = f"How long {len(runs)} runs took, over time; the longest {format_duration(longest)}"
    return Markup(f"{_frame('scatter', label)}{''.join(drawn)}</svg>")  # noqa: S704 - escaped above


def daily_runs_chart(days: list[dict[str, Any]], since: datetime, now: datetime) -> Markup:
    """A bar for each day, as high as it has runs, failures on top."""
    first, last = since.date(), now.date()
    many, most = (last - first).days + 1, max((row["total"] for row in days), default=0) or 1
    step, drawn = WIDE / many, []
    for row in days:
        left = round((date.fromisoformat(row["day"]) - first) / timedelta(days=1) * step, 2)
        width, bottom = round(max(1.0, step - min(2.0, step / 4)), 2), TALL
        parts = []
        for kind, count in (
            ("ok", row["success"]), ("other", row["total"] - row["success"] - row["failed"]), ("bad", row["failed"]),
        ):  # fmt: skip
            tall = round(count / most * (TALL - EDGE), 2)
            bottom -= tall
            if count:
                parts.append(f'<rect class="{kind}" x="{left}" y="{bottom:g}" width="{width}" height="{tall}"/>')
        title = f"{row['day']}: {row['total']} runs, {row['failed']} failed"
        drawn.append(f"<g><title>{title}</title>{''.join(parts)}</g>")
    failed = sum(row["failed"] for row in days)
    label = f"Runs by the day: {sum(row['total'] for row in days)} in {many} days, {failed} failed"
    return Markup(f"{_frame('days', label)}{''.join(drawn)}</svg>")  # noqa: S704 - numbers and dates


def _height(seconds: float, longest: float) -> float:
    return round(TALL - EDGE - seconds / longest * (TALL - 2 * EDGE), 1)


def _frame(kind: str, label: str) -> str:
    box = f'viewBox="0 0 {WIDE} {TALL}" preserveAspectRatio="none"'
    return f'<svg class="chart {kind}" {box} role="group" aria-label="{label}">'
