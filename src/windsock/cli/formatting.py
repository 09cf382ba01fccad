"""How runs and times are written on a terminal."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import click
from rich.markup import escape
from rich.text import Text

from windsock.formatting import format_duration
from windsock.pipelines.models import RunSummary

MARKS = {"success": ("✓", "green"), "failed": ("✗", "red"), "running": ("▸", "yellow"), "queued": ("…", "yellow")}
WORDS = {**MARKS, "upstream_failed": ("✗", "red"), "skipped": ("»", "dim"), "up_for_retry": ("↻", "yellow")}


def status_text(status: str) -> Text:
    mark, style = WORDS.get(status, ("·", ""))
    return Text(f"{mark} {status}", style)


def status_marks(runs: Iterable[RunSummary]) -> Text:
    """A mark for each run, the oldest first."""
    text = Text()
    for run in runs:
        text.append(*MARKS.get(run.status, ("·", "dim")))
    return text


def ago(at: datetime | None) -> str:
    if at is None:
        return ""
    seconds = (datetime.now(UTC) - at).total_seconds()
    return "just now" if seconds < 60 else f"{format_duration(seconds)} ago"  # noqa: PLR2004 - a minute


def until(at: datetime | None) -> str:
    """How long until a run is due, or since when it is."""
    if at is None:
        return ""
    seconds = (at - datetime.now(UTC)).total_seconds()
    return f"in {format_duration(seconds)}" if seconds > 0 else f"due since {format_duration(-seconds)}"


def plain(text: str | None) -> str:
    """Escape text for a table that interprets [brackets] as style; one line."""
    return escape(" ".join((text or "").split()))


class AirflowWord(click.ParamType[str]):
    """A state or a kind of run, as Airflow has it: in any case, with hyphens or underscores."""

    name = "word"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value).strip().lower().replace("-", "_")
        if not re.fullmatch(r"[a-z0-9_]{1,64}", text):
            several = "," in text or " " in text
            hint = "repeat the option for each of several" if several else "write a word such as failed or running"
            self.fail(f"{value!r} is no such word: {hint}.", param, ctx)
        return text


class SinceParam(click.ParamType[datetime]):
    """`24h`, `7d`, `30min`, `today`, or a time; one without an offset is local."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        text = str(value).strip()
        now = datetime.now().astimezone()
        if text == "today":
            return now.replace(hour=0, minute=0, second=0, microsecond=0)
        if span := re.fullmatch(r"(\d{1,5})\s*(min|m|h|d)", text):
            unit = {"m": "minutes", "min": "minutes", "h": "hours", "d": "days"}[span[2]]
            return now - timedelta(**{unit: int(span[1])})
        try:
            return datetime.fromisoformat(text).astimezone()
        except (ValueError, OverflowError):
            self.fail(f"{text!r} is no time: write 24h, 7d, today, or 2026-11-24T06:00.", param, ctx)
