"""Charts of runs as SVG, in which shape and colour say the same: sparklines, run durations over time, runs per day."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache
from math import sqrt
from statistics import median
from typing import Any

import orjson
from markupsafe import Markup, escape

from windsock.formatting import format_duration
from windsock.web.filters import utc_midnight
from windsock.web.scales import count_ticks, duration_ticks, tick_text_place, time_ticks

RUNS, WIDTH, GAP, HEIGHT, MIN_HEIGHT = 14, 8, 2, 24, 4
KINDS = {
    "success": "ok",
    "failed": "bad",
    "upstream_failed": "upstream",
    "skipped": "skipped",
    "up_for_retry": "retry",
    "running": "on",
    "restarting": "on",
    "queued": "wait",
    "scheduled": "wait",
    "deferred": "wait",
    "up_for_reschedule": "wait",
}
"""The CSS class of a state in charts; any other state is `other`."""


def status_class(status: str) -> str:
    return KINDS.get(status, "other")


@lru_cache(maxsize=2_000)
def run_sparkline(recent_runs: bytes, slug: str) -> Markup:
    """The newest runs, oldest first: bar height is the root of the duration; a cross marks a failure.

    `recent_runs`: their JSON, as it is stored. It is the same for all who look, and at each refresh.
    """
    runs: list[dict[str, Any]] = orjson.loads(recent_runs)
    if not runs:
        return Markup('<span class="quiet">no runs</span>')
    longest = max((run["duration_seconds"] or 0 for run in runs), default=0) or 1
    bars, failed, begin = [], 0, escape(f"/spaces/{slug}/runs/")
    for place, run in enumerate(runs, start=RUNS - len(runs)):
        kind, seconds, mark, left = status_class(run["status"]), run["duration_seconds"], "", place * (WIDTH + GAP)
        share = 0.5 if seconds is None else sqrt(seconds / longest)
        tall = max(MIN_HEIGHT, round(share * (HEIGHT - 9)))
        if kind in {"bad", "upstream"}:
            failed, mark = failed + 1, f'<path class="mark {kind}" d="M{left + 2} 1l6 6m0 -6l-6 6"/>'
        title = escape(f"{run['external_id']}: {run['status']}")
        bars.append(
            f'<a href="{begin}{run["id"]}" tabindex="-1"><title>{title}</title>'
            f'<rect class="hit" x="{left}"/><rect class="{kind}" x="{left + 1}" y="{HEIGHT - tall}" height="{tall}"/>'
            f"{mark}</a>"
        )
    label = f"The newest {len(runs)} runs, {failed} failed"
    frame = f'<svg class="strip" width="{RUNS * (WIDTH + GAP)}" height="{HEIGHT}" role="group" aria-label="{label}">'
    # Not by Markup.format, which looks at each number too: for 1,400 bars that was half of the time of a page.
    return Markup(f"{frame}{''.join(bars)}</svg>")  # noqa: S704 - escaped above


LEVEL_DX = {"p50": -30, "p95": -4}
"""Where the names of levels stand: beside each other, since both levels may be the same."""
TOP, PLOT, TEXT = 12, 140, 13
"""Pixels above the plot, of the plot, and of a line of text below it. Horizontal positions are percentages."""


def duration_scatter(
    runs: list[dict[str, Any]],
    slug: str,
    since: datetime,
    now: datetime,
    lines: Mapping[str, float | None],
    zone: tzinfo = UTC,
) -> Markup:
    """Each run is a dot at its end, as high as its duration; failed ones are crosses. `lines`: names and seconds."""
    longest = max((*(run["duration_seconds"] for run in runs), *(value or 0 for value in lines.values())), default=0)
    ticks = duration_ticks(longest)
    begin, drawn = escape(f"/spaces/{slug}/runs/"), []
    for name, seconds in lines.items():
        if seconds is not None:
            y = _y(seconds, ticks)
            drawn.append(f'<line class="level {name}" x2="100%" y1="{y}" y2="{y}"/>')
            drawn.append(
                f'<text class="level {name}" x="100%" dx="{LEVEL_DX[name]}" y="{y - 3}" text-anchor="end">{name}</text>'
            )
    for run in runs:
        at = datetime.fromisoformat(run["ended_at"])
        x, y, kind = (
            f"{_share(at, since, now) * 100:.2f}%",
            _y(run["duration_seconds"], ticks),
            status_class(run["status"]),
        )
        took = format_duration(run["duration_seconds"])
        text = f"{took}, {run['status']}, ended {at.astimezone(zone):%Y-%m-%d %H:%M} {zone}: {run['external_id']}"
        shape = (
            f'<use class="cross" href="#chart-cross" x="{x}" y="{y}"/>'
            if kind == "bad"
            else f'<circle class="{kind}" cx="{x}" cy="{y}" r="3"/>'
        )
        drawn.append(f'<a href="{begin}{escape(run["id"])}" tabindex="-1"><title>{escape(text)}</title>{shape}</a>')
    label = f"Duration of {len(runs)} runs over time; the longest took {format_duration(longest)}"
    labels = ["0" if not tick else format_duration(tick).replace(".0 s", " s") for tick in ticks]
    return _chart("scatter", label, (ticks, labels), (since, now), drawn, zone)


def daily_runs_chart(days: list[dict[str, Any]], since: datetime, now: datetime) -> Markup:
    """A bar for each day in UTC, as high as it has runs; failures stand at the bottom, where they are compared."""
    first, last = since.date(), now.date()
    many, most = (last - first).days + 1, max((row["total"] for row in days), default=0) or 1
    begin, end, ticks = utc_midnight(first), utc_midnight(last + timedelta(days=1)), count_ticks(most)
    step, drawn = 100 / many, []
    for row in days:
        left = (date.fromisoformat(row["day"]) - first).days * step
        below, parts = 0, []
        other = row["total"] - row["success"] - row["failed"]
        for kind, count in (("bad", row["failed"]), ("other", other), ("ok", row["success"])):
            if count:
                top, bottom = _y(below + count, ticks), _y(below, ticks)
                place = f'x="{left + step * 0.1:.2f}%" width="{step * 0.8:.2f}%"'
                parts.append(f'<rect class="{kind}" {place} y="{top}" height="{bottom - top:.1f}"/>')
                below += count
        title = f"{row['day']} (UTC): {row['total']} {'run' if row['total'] == 1 else 'runs'}, {row['failed']} failed"
        hit = f'<rect class="hit" x="{left:.2f}%" width="{step:.2f}%" y="{TOP}" height="{PLOT}"/>'
        drawn.append(f"<g><title>{title}</title>{hit}{''.join(parts)}</g>")
    failed = sum(row["failed"] for row in days)
    label = f"Runs by the day: {sum(row['total'] for row in days)} in {many} days, {failed} failed"
    return _chart("days", label, (ticks, [f"{tick:,.0f}" for tick in ticks]), (begin, end), drawn)


def daily_values(days: Sequence[dict[str, Any]], runs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Values of the charts, newest day first: runs, failures, median and longest duration of the charted runs."""
    durations: dict[str, list[float]] = {}
    for run in runs:
        day = datetime.fromisoformat(run["ended_at"]).astimezone(UTC).date().isoformat()
        durations.setdefault(day, []).append(run["duration_seconds"])
    return [
        {
            **row,
            "median": median(durations[row["day"]]) if row["day"] in durations else None,
            "longest": max(durations.get(row["day"], []), default=None),
        }
        for row in reversed(days)
    ]


def _chart(
    kind: str, label: str, scale: tuple[Sequence[float], Sequence[str]], window: tuple[datetime, datetime],
    drawn: Sequence[str], zone: tzinfo = UTC,
) -> Markup:  # fmt: skip
    """`scale`: the ticks of the vertical axis and their labels, which stand in a column of fixed width."""
    lines, values = [], []
    for tick, text in zip(*scale, strict=True):
        y = _y(tick, scale[0])
        lines.append(f'<line class="grid" x2="100%" y1="{y}" y2="{y}"/>')
        values.append(f'<text x="100%" y="{y + 4}" text-anchor="end">{text}</text>')
    below = 0
    for number, time_tick in enumerate(time_ticks(*window, zone)):
        x, place = f"{time_tick.share * 100:.2f}%", tick_text_place(time_tick)
        texts = [text for text in (time_tick.clock, time_tick.date) if text]
        below = max(below, len(texts))
        lines.append(f'<line class="tick" x1="{x}" x2="{x}" y1="{TOP}" y2="{TOP + PLOT + 5}"/>')
        rows = [
            f'<text x="{x}" y="{TOP + PLOT + TEXT * row + 1}" {place}>{text}</text>'
            for row, text in enumerate(texts, start=1)
        ]
        lines.append(f'<g class="{"odd" if number % 2 else "even"}">{"".join(rows)}</g>')
    cross = '<defs><path id="chart-cross" d="M-3.5 -3.5l7 7m0-7l-7 7"/></defs>' if kind == "scatter" else ""
    height = TOP + PLOT + TEXT * below + 8
    return Markup(  # noqa: S704 - escaped by the callers
        f'<div class="chart {kind}">'
        f'<svg class="values" width="52" height="{height}" aria-hidden="true">{"".join(values)}</svg>'
        f'<svg class="plot" height="{height}" role="group" aria-label="{label}">{cross}'
        f'<g class="axes" aria-hidden="true">{"".join(lines)}</g>{"".join(drawn)}</svg></div>'
    )


def _y(value: float, ticks: Sequence[float]) -> float:
    return round(TOP + PLOT * (1 - value / ticks[-1]), 1)


def _share(at: datetime, begin: datetime, end: datetime) -> float:
    return min(1.0, max(0.0, (at - begin) / (end - begin)))
