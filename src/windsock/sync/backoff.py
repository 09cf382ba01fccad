"""Exponential backoff: the delay before the next sync of a connector whose last syncs failed."""

from datetime import timedelta

MAX_DELAY = timedelta(minutes=15)
MAX_DOUBLINGS = 6


def delay_after_failure(interval: timedelta, failures: int, retry_after: float | None) -> timedelta:
    """Return the connector's interval, doubled for each earlier failure in a row, up to `MAX_DELAY`.

    A longer interval is not shortened, and the provider's Retry-After (in seconds) is respected.
    """
    delay = min(interval * 2.0 ** min(failures, MAX_DOUBLINGS), max(MAX_DELAY, interval))
    return max(delay, timedelta(seconds=retry_after or 0))
