"""Axes of charts: round ticks of times in a zone, of durations and of counts."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo

MINUTE, HOUR, DAY = 60, 3600, 86_400
TIME_STEPS = (
    *(5 * MINUTE, 10 * MINUTE, 15 * MINUTE, 30 * MINUTE),
    *(HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR),
    *(DAY, 2 * DAY, 7 * DAY, 14 * DAY, 28 * DAY, 56 * DAY),
)
DURATION_STEPS = (
    *(0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30),
    *(MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE, 15 * MINUTE, 30 * MINUTE),
    *(HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 7 * DAY, 14 * DAY, 28 * DAY),
)
MAX_TIME_TICKS, MAX_VALUE_TICKS = 8, 4
MONDAY = date(1999, 12, 27)
"""Steps of weeks are counted from a Monday."""


@dataclass(frozen=True, slots=True)
class TimeTick:
    """`share` of the axis, 0 to 1. `clock` is empty where all ticks are midnights, `date` where it is as before."""

    share: float
    clock: str
    weekday: str
    date: str


def time_step(begin: datetime, end: datetime) -> int:
    """The smallest round step, in seconds, with at most MAX_TIME_TICKS ticks."""
    length = (end - begin).total_seconds()
    return next((step for step in TIME_STEPS if length / step <= MAX_TIME_TICKS), TIME_STEPS[-1])


def time_ticks(begin: datetime, end: datetime, zone: tzinfo = UTC) -> list[TimeTick]:
    """Ticks at round times of the zone: times that it skips have none, and of those that it repeats the first has."""
    step = time_step(begin, end)
    ticks, shown_day = [], None
    for at, is_midnight in _round_times(begin, end, step, zone):
        local = at.astimezone(zone)
        clock = "" if step >= DAY and is_midnight else f"{local:%H:%M}"
        is_new_day, shown_day = local.date() != shown_day, local.date()
        day, weekday = (f"{local.day} {local:%b}", f"{local:%a}") if is_new_day else ("", "")
        ticks.append(TimeTick((at - begin) / (end - begin), clock, weekday, day))
    return ticks


def _round_times(begin: datetime, end: datetime, step: int, zone: tzinfo) -> list[tuple[datetime, bool]]:
    """Times in UTC, each with whether it is a midnight."""
    first, last = begin.astimezone(zone).date(), end.astimezone(zone).date()
    found = []
    for number in range((last - first).days + 1):
        day = first + timedelta(days=number)
        if step > DAY and (day - MONDAY).days % (step // DAY):
            continue
        for seconds in range(0, DAY, min(step, DAY)):
            local = datetime.combine(day, time(seconds // HOUR, seconds % HOUR // MINUTE), zone)
            at = local.astimezone(UTC)
            if begin <= at < end and at.astimezone(zone).time() == local.time():
                found.append((at, seconds == 0))
    return found


def tick_text_place(tick: TimeTick) -> str:
    """Attributes of a label: right of its tick, except of the last one, which has no room there."""
    if tick.share > 0.94:  # noqa: PLR2004 - of any width
        return 'class="last" dx="-3" text-anchor="end"'
    return 'dx="3" text-anchor="start"'


def duration_ticks(longest: float) -> list[float]:
    """Seconds from 0 to at least `longest`."""
    step = next((step for step in DURATION_STEPS if longest / step <= MAX_VALUE_TICKS), DURATION_STEPS[-1])
    return _multiples(step, longest)


def count_ticks(most: int) -> list[float]:
    steps = (factor * 10**power for power in range(10) for factor in (1, 2, 5))
    return _multiples(next(step for step in steps if most / step <= MAX_VALUE_TICKS), most)


def _multiples(step: float, largest: float) -> list[float]:
    return [round(step * number, 1) for number in range(max(1, int(-(-largest // step))) + 1)]
