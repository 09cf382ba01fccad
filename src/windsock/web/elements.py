"""Elements that a page shows hundreds of times, as functions: a macro of Jinja takes several times as long."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from markupsafe import Markup, escape

from windsock.web.filters import ago, iso


def state(status: str) -> Markup:
    """The state of a run or task run with its mark."""
    name = escape(status)
    return Markup(f'<span class="state {name}">{name.replace("_", " ")}</span>')  # noqa: S704 - escaped


def relative_time(at: str | datetime | None, now: datetime) -> Markup:
    """A time by its distance from now."""
    if at is None:
        return Markup('<span class="quiet">never</span>')
    text = escape(iso(at))
    return Markup(f'<time datetime="{text}" title="{text}">{ago(at, now)}</time>')  # noqa: S704 - escaped


def due(at: str | datetime, now: datetime) -> Markup:
    """Since when a run should have started."""
    text = escape(iso(at))
    since = ago(at, now).removesuffix(" ago")
    return Markup(f'<time class="due" datetime="{text}" title="{text}">due since {since}</time>')  # noqa: S704 - escaped


def star(space: Any, pipeline: Mapping[str, Any]) -> Markup:  # noqa: ANN401 - a Space, or a row with its slug
    """The button that watches a pipeline or ends it.

    Without a delay after the swap, the new button is ready when the next key is pressed.
    """
    target = f"/spaces/{escape(space.slug)}/pipelines/{pipeline['id']}/watch"
    watched, other, sign = ("true", "false", "★") if pipeline["is_watched"] else ("false", "true", "☆")
    return Markup(  # noqa: S704 - escaped
        f'<form method="post" action="{target}" hx-post="{target}" hx-swap="outerHTML settle:0ms" class="star">'
        f'<input type="hidden" name="watched" value="{other}">'
        f'<button class="plain" id="watch-{pipeline["id"]}" aria-pressed="{watched}" aria-label="Watch">{sign}</button>'
        "</form>"
    )
