"""Small pictures that are part of a row, as SVG: shape and colour say the same."""

from math import sqrt
from typing import Any

from markupsafe import Markup

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

_FRAME = Markup('<svg class="strip" width="{width}" height="{height}" role="group" aria-label="{label}">{bars}</svg>')
_BAR = Markup(
    '<a href="{href}"><title>{title}</title><rect class="hit" x="{left}" y="0" width="{step}" height="{height}"/>'
    '<rect class="{kind}" x="{x}" y="{y}" width="{width}" height="{tall}" rx="1"/>{mark}</a>'
)
_CROSS = Markup('<path class="mark" d="M{a} {b}l4 4m0 -4l-4 4"/>')


def kind_of(status: str) -> str:
    return KINDS.get(status, "other")


def strip(runs: list[dict[str, Any]], slug: str) -> Markup:
    """The newest runs, oldest first: as high as they took long (by the root), crossed where they failed."""
    if not runs:
        return Markup('<span class="quiet">no runs</span>')
    longest = max((run["duration_seconds"] or 0 for run in runs), default=0) or 1
    bars = []
    for place, run in enumerate(runs, start=RUNS - len(runs)):
        kind = kind_of(run["status"])
        share = sqrt((run["duration_seconds"] or 0) / longest) if run["duration_seconds"] is not None else 0.5
        tall = max(LEAST, round(share * (HEIGHT - 1)))
        left = place * (WIDTH + GAP)
        bars.append(
            _BAR.format(
                href=f"/spaces/{slug}/runs/{run['id']}",
                title=f"{run['external_id']}: {run['status']}",
                left=left,
                step=WIDTH + GAP,
                height=HEIGHT,
                kind=kind,
                x=left + 1,
                y=HEIGHT - tall,
                width=WIDTH,
                tall=tall,
                mark=_CROSS.format(a=left + 3, b=HEIGHT - 6) if kind == "bad" else "",
            )
        )
    failed = sum(kind_of(run["status"]) == "bad" for run in runs)
    label = f"The newest {len(runs)} runs, {failed} failed"
    return _FRAME.format(width=RUNS * (WIDTH + GAP), height=HEIGHT, label=label, bars=Markup("").join(bars))
