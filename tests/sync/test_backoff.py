"""The delay after a failed sync."""

from datetime import timedelta

import pytest

from windsock.sync.backoff import delay_after_failure


@pytest.mark.parametrize(
    ("interval", "failures", "retry_after", "seconds"),
    [
        (60, 0, None, 60),
        (60, 1, None, 120),
        (60, 3, None, 480),
        (60, 4, None, 900),
        (1, 50, None, 64),
        (3600, 5, None, 3600),
        (60, 0, 200.0, 200),
        (60, 4, 30.0, 900),
    ],
)
def test_delay_doubles_up_to_limit_and_respects_retry_after(
    interval: int, failures: int, retry_after: float | None, seconds: float
) -> None:
    assert delay_after_failure(timedelta(seconds=interval), failures, retry_after) == timedelta(seconds=seconds)
