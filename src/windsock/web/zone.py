"""The viewer's time zone, which the browser reports in a cookie; UTC without JavaScript."""

import re
from datetime import UTC, datetime, tzinfo
from typing import Annotated
from urllib.parse import unquote
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from fastapi import Depends, Request

ZONE_COOKIE = "windsock_zone"
"""Written by zone.js."""
NAME = re.compile(r"[A-Za-z0-9_+-]{1,40}(?:/[A-Za-z0-9_+-]{1,40}){0,2}")


def read_zone(request: Request) -> tzinfo:
    """Return the zone of the cookie, UTC if it names none."""
    name = unquote(request.cookies.get(ZONE_COOKIE, ""))
    if NAME.fullmatch(name) is None or name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: a directory of the database, such as Europe
        return UTC


async def _viewer_zone(request: Request) -> tzinfo:
    return read_zone(request)


ViewerZone = Annotated[tzinfo, Depends(_viewer_zone)]


def last_midnight(now: datetime, zone: tzinfo) -> datetime:
    """Return the last midnight of the zone, in UTC; the end of the gap in which a zone skips midnight."""
    local = now.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    return min(local.astimezone(UTC), now)


def utc_day_begin(now: datetime, zone: tzinfo) -> str:
    """Return the time of day in the zone at which a day in UTC begins, at present: `01:00`."""
    return f"{now.astimezone(UTC).replace(hour=0, minute=0).astimezone(zone):%H:%M}"


def clock_time(at: datetime, zone: tzinfo, now: datetime) -> str:
    """Return the time of day in the zone, with the date unless it is today's: `03:08`, `29 Nov 03:08`."""
    local, today = at.astimezone(zone), now.astimezone(zone)
    if local.date() == today.date():
        return f"{local:%H:%M}"
    year = "" if local.year == today.year else f" {local.year}"
    return f"{local.day} {local:%b}{year} {local:%H:%M}"
