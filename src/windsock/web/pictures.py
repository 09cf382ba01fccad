"""Small pictures that are part of a row, as SVG: shape and colour say the same."""

from math import sqrt
from typing import Any

from markupsafe import Markup, escape

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


def kind_of(status: str) -> str:
    return KINDS.get(status, "other")


def strip(runs: list[dict[str, Any]], slug: str) -> Markup:
    """The newest runs, oldest first: as high as they took long (by the root), crossed where they failed."""
    if not runs:
        return Markup('<span class="quiet">no runs</span>')
    longest = max((run["duration_seconds"] or 0 for run in runs), default=0) or 1
    bars, failed, begin = [], 0, escape(f"/spaces/{slug}/runs/")
    for place, run in enumerate(runs, start=RUNS - len(runs)):
        kind = kind_of(run["status"])
        share = sqrt((run["duration_seconds"] or 0) / longest) if run["duration_seconds"] is not None else 0.5
        tall, left, mark = max(LEAST, round(share * (HEIGHT - 1))), place * (WIDTH + GAP), ""
        if kind == "bad":
            failed, mark = failed + 1, f'<path class="mark" d="M{left + 3} {HEIGHT - 6}l4 4m0 -4l-4 4"/>'
        title = escape(f"{run['external_id']}: {run['status']}")
        bars.append(
            f'<a href="{begin}{escape(run["id"])}"><title>{title}</title>'
            f'<rect class="hit" x="{left}" y="0" width="{WIDTH + GAP}" height="{HEIGHT}"/>'
            f'<rect class="{kind}" x="{left + 1}" y="{HEIGHT - tall}" width="{WIDTH}" height="{tall}" rx="1"/>'
            f"{mark}</a>"
        )
    label = f"The newest {len(runs)} runs, {failed} failed"
    frame = f'<svg class="strip" width="{RUNS * (WIDTH + GAP)}" height="{HEIGHT}" role="group" aria-label="{label}">'
    # Not by Markup.format, which looks at each number too: for 1,400 bars that was half of the time of a page.
    return Markup(f"{frame}{''.join(bars)}</svg>")  # noqa: S704 - escaped above
