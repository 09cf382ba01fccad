"""The clock by which Airflow stamps its rows, read from the Date of its answers as carefully as it can be told."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

MOST_BEHIND = timedelta(minutes=10)
"""A server whose clock we cannot see may be slow; to read too much again only costs time."""


@dataclass(slots=True)
class ServerClock:
    """`behind`: how far the host that stamps rows is behind the one that answers. `latest`: the newest Date.

    `is_confirmed`: a host that stamps rows was heard to agree with Date, less `behind`. Where none was, the earlier of
    Date and our own clock counts: one that is ahead would let changes be missed, one that is late lets more be read.
    `ahead_of_ours`: of the newest Date, in seconds.
    """

    behind: timedelta = timedelta(0)
    is_confirmed: bool = False
    latest: datetime | None = None
    ahead_of_ours: float | None = None

    def read(self, header: str | None, sent_at: datetime, elapsed: float) -> datetime:
        """The time before the server began to answer a request that was sent at `sent_at`, by our clock."""
        date = _parse(header)
        if date is None:
            return sent_at - MOST_BEHIND
        self.latest = date
        at = date - timedelta(seconds=elapsed)
        self.ahead_of_ours = (at - sent_at).total_seconds()
        return (at if self.is_confirmed else min(at, sent_at)) - self.behind


def _parse(header: str | None) -> datetime | None:
    with suppress(ValueError, TypeError, OverflowError):
        date = parsedate_to_datetime(header) if header else None
        if date is not None and date.tzinfo is not None:
            return date.astimezone(UTC)
    return None
