"""Filters and tests of templates: times, durations, shares."""

from datetime import UTC, date, datetime, tzinfo

from windsock.formatting import format_duration

EMPTY_CELL = "\N{EN DASH}"


def iso(time: str | datetime) -> str:
    """As the API writes it."""
    return time if isinstance(time, str) else time.isoformat().replace("+00:00", "Z")


def to_datetime(time: str | datetime) -> datetime:
    return datetime.fromisoformat(time) if isinstance(time, str) else time


def format_minute(time: datetime, zone: tzinfo = UTC) -> str:
    """In the zone, as `2026-11-29 03:08`."""
    return f"{time.astimezone(zone):%Y-%m-%d %H:%M}"


def utc_midnight(day: date) -> datetime:
    """Return the begin of a day in UTC."""
    return datetime.combine(day, datetime.min.time(), UTC)


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


def date_time(time: str | datetime, now: datetime, *, seconds: bool = False) -> str:
    """In UTC: `29 Nov 03:08 UTC`, with the year in another one. run.js writes the same in the viewer's zone."""
    at = to_datetime(time).astimezone(UTC)
    year = f" {at.year}" if at.year != now.year else ""
    clock = f"{at:%H:%M:%S}" if seconds else f"{at:%H:%M}"
    return f"{at.day} {at:%b}{year} {clock} UTC"


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


def ordinal(number: int) -> str:
    """Write a number as `1st`, `2nd`, `11th`."""
    is_teen = number % 100 in range(11, 14)
    return f"{number:,}{'th' if is_teen else {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th')}"


def short_date(time: str | datetime, now: datetime) -> str:
    """In UTC: `3 Nov`, with the year in another one."""
    at = to_datetime(time).astimezone(UTC)
    return f"{at.day} {at:%b}{f' {at.year}' if at.year != now.year else ''}"


def percent(share: float | None) -> str:
    """Never 100 % where something failed, never 0 % where something succeeded."""
    if share is None:
        return EMPTY_CELL
    rounded = min(99, max(1, round(share * 100))) if 0 < share < 1 else round(share * 100)
    return f"{rounded} %"
