"""Times of day and time zones in bodies of requests."""

import re
from datetime import time
from typing import Annotated
from zoneinfo import available_timezones

from pydantic import AfterValidator, BeforeValidator, Field

ZONES = frozenset(available_timezones())
CLOCK = re.compile(r"(?:[01][0-9]|2[0-3]):[0-5][0-9]")


def _zone(name: str) -> str:
    if name not in ZONES:
        raise ValueError("must be a time zone of the IANA database, such as Europe/Berlin")
    return name


def _clock(value: object) -> object:
    """`22:00`; seconds and offsets would promise more than quiet hours keep."""
    if value is None or isinstance(value, time):
        return value
    return time.fromisoformat(value) if isinstance(value, str) and CLOCK.fullmatch(value) else _no_clock()


def _no_clock() -> object:
    raise ValueError("must be a time of day, such as 22:00")


TimeZone = Annotated[
    str, Field(max_length=64, description="Of the IANA database.", examples=["Europe/Berlin"]), AfterValidator(_zone)
]
ClockTime = Annotated[
    time,
    BeforeValidator(_clock),
    Field(json_schema_extra={"format": "", "pattern": r"^([01][0-9]|2[0-3]):[0-5][0-9]$"}, examples=["22:00"]),
]


def check_quiet_hours(start: time | None, end: time | None) -> None:
    if (start is None) != (end is None):
        raise ValueError("quiet hours need quiet_start and quiet_end")
    if start is not None and start == end:
        raise ValueError("quiet_start and quiet_end must differ")
