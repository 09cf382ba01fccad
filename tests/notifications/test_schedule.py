"""Quiet hours and digests by the clocks of a time zone, also on the days on which those change."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windsock.notifications.schedule import Schedule, latest_quiet_end, next_time

BERLIN = "Europe/Berlin"


@pytest.mark.parametrize(
    ("now", "at", "expected"),
    [
        ("2026-06-01T10:00Z", "12:30", "2026-06-01T10:30Z"),
        ("2026-06-01T10:30Z", "12:30", "2026-06-02T10:30Z"),
        ("2026-03-29T00:30Z", "02:30", "2026-03-29T01:30Z"),  # skipped: from 2:00 to 3:00
        ("2026-10-25T00:00Z", "02:30", "2026-10-25T00:30Z"),  # twice: first
        ("2026-10-25T00:45Z", "02:30", "2026-10-25T01:30Z"),  # and second
        ("2026-10-25T01:45Z", "02:30", "2026-10-26T01:30Z"),
    ],
)
def test_next_time_follows_clocks_of_zone(now: str, at: str, expected: str) -> None:
    found = next_time(datetime.fromisoformat(now), time.fromisoformat(at), BERLIN)
    assert found == datetime.fromisoformat(expected)


@pytest.mark.parametrize(
    ("now", "until"),
    [
        ("2026-03-28T20:59Z", None),
        ("2026-03-28T21:00Z", "2026-03-29T05:00Z"),  # an hour shorter
        ("2026-10-24T20:00Z", "2026-10-25T06:00Z"),  # an hour longer
        ("2026-10-25T06:00Z", None),
    ],
)
def test_quiet_hours_over_midnight_end_by_local_clock(now: str, until: str | None) -> None:
    schedule = Schedule(BERLIN, time(22), time(7))
    assert schedule.quiet_until(datetime.fromisoformat(now)) == (until and datetime.fromisoformat(until))


TIMES = st.times().map(lambda at: at.replace(second=0, microsecond=0))
INSTANTS = st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31)).map(lambda at: at.replace(tzinfo=UTC))  # noqa: DTZ001


@given(
    now=INSTANTS,
    start=TIMES,
    end=TIMES,
    zone=st.sampled_from([BERLIN, "America/St_Johns", "Australia/Lord_Howe", "UTC"]),
)
def test_quiet_end_is_later_within_a_day_and_not_quiet_itself(now: datetime, start: time, end: time, zone: str) -> None:
    if start == end:
        return
    until = Schedule(zone, start, end).quiet_until(now)
    if until is not None:
        assert now < until <= now + timedelta(hours=26)
        local = until.astimezone(ZoneInfo(zone))
        assert local.time() == end or local.utcoffset() != now.astimezone(ZoneInfo(zone)).utcoffset()


def test_quiet_hours_of_rule_and_user_are_both_waited_for() -> None:
    schedules = Schedule("UTC", time(22), time(6)), Schedule("UTC", time(5), time(8))
    now = datetime(2026, 6, 1, 23, tzinfo=UTC)
    assert latest_quiet_end(schedules, now) == datetime(2026, 6, 2, 8, tzinfo=UTC)
