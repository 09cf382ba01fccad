"""Quiet hours and daily digests in a time zone: until when messages wait."""

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo


@dataclass(frozen=True, slots=True)
class Schedule:
    """Quiet hours of a rule, or of a user for personal messages."""

    time_zone: str = "UTC"
    quiet_start: time | None = None
    quiet_end: time | None = None
    digest_at: time | None = None
    critical_passes: bool = True

    def quiet_until(self, now: datetime) -> datetime | None:
        """When the quiet hours end that `now` is in; None outside of them. A start behind the end spans midnight."""
        if self.quiet_start is None or self.quiet_end is None:
            return None
        local = now.astimezone(ZoneInfo(self.time_zone)).time()
        if self.quiet_start <= self.quiet_end:
            is_quiet = self.quiet_start <= local < self.quiet_end
        else:
            is_quiet = local >= self.quiet_start or local < self.quiet_end
        return next_time(now, self.quiet_end, self.time_zone) if is_quiet else None

    def digest_due(self, now: datetime) -> datetime | None:
        return None if self.digest_at is None else next_time(now, self.digest_at, self.time_zone)


def next_time(now: datetime, at: time, time_zone: str) -> datetime:
    """The next moment after `now` at which clocks of the zone show `at`, in UTC.

    A time that the clocks skip is taken as the same distance after midnight; one that they show twice counts at its
    first, and at its second where the first is over.
    """
    zone = ZoneInfo(time_zone)
    today = now.astimezone(zone).date()
    candidates = (
        datetime.combine(today + timedelta(days=days), at.replace(fold=fold), zone).astimezone(UTC)
        for days in (-1, 0, 1, 2)
        for fold in (0, 1)
    )
    return min(candidate for candidate in candidates if candidate > now)


def latest_quiet_end(schedules: tuple[Schedule, ...], now: datetime) -> datetime | None:
    """When none of several quiet hours holds any more; None if none does now."""
    until: datetime | None = None
    for _ in range(4):  # the end of one may be within another; two that cover the day never end
        ends = [end for schedule in schedules if (end := schedule.quiet_until(until or now)) is not None]
        if not ends:
            return until
        until = max(ends)
    return until
