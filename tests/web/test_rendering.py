"""Words for times and shares."""

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from windsock.formatting import format_duration
from windsock.web.charts import run_sparkline
from windsock.web.filters import ago, duration_cell, is_past, percent, seconds_between

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)


def test_unknown_duration_is_rendered_as_dash_and_others_as_in_cli() -> None:
    assert [duration_cell(seconds) for seconds in (None, 0, 9.96, 65, 7500)] == [
        "\N{EN DASH}", *(format_duration(seconds) for seconds in (0, 9.96, 65, 7500))
    ]  # fmt: skip


def test_durations_differing_by_seconds_are_distinguished() -> None:
    assert (format_duration(62.4), format_duration(98), format_duration(3599.7)) == ("1 min 2 s", "1 min 38 s", "1 h")


@pytest.mark.parametrize(
    ("after", "text"),
    [
        (-1, "now"),
        (2, "now"),
        (9, "9.0 s ago"),
        (90, "1 min ago"),
        (59.97, "1 min ago"),
        (601, "10 min ago"),
        (7500, "2 h 5 min ago"),
        (-300, "in 5 min"),
        (86_400 * 3, "3 d ago"),
    ],
)
def test_time_is_rendered_relative_to_now(after: int, text: str) -> None:
    timestamp = (NOW - timedelta(seconds=after)).isoformat()
    assert ago(timestamp, NOW) == text
    assert is_past(timestamp, NOW) == (after >= 0)
    assert ago(None, NOW) == "never"


@pytest.mark.parametrize(
    ("share", "text"),
    [(None, "\N{EN DASH}"), (0.0, "0 %"), (0.0001, "1 %"), (0.5, "50 %"), (0.9999, "99 %"), (1.0, "100 %")],
)
def test_percentage_is_not_rounded_to_0_or_100(share: float | None, text: str) -> None:
    assert percent(share) == text


def test_duration_without_start_or_with_negative_length_is_unknown() -> None:
    at, later = NOW.isoformat(), (NOW + timedelta(seconds=5)).isoformat()
    assert seconds_between(None, None, NOW) is None
    assert seconds_between(at, None, NOW + timedelta(seconds=7)) == 7
    assert seconds_between(at, later, NOW) == 5
    assert seconds_between(later, None, NOW) == 0, "our clock is behind"
    assert seconds_between(later, at, NOW) is None, "clocks of workers differ"


def test_sparkline_shows_states_by_shape_and_labels_runs() -> None:
    runs: list[dict[str, Any]] = [
        {"id": "1", "external_id": '<a "b">', "status": "failed", "duration_seconds": 100.0},
        {"id": "2", "external_id": "two", "status": "success", "duration_seconds": 25.0},
        {"id": "3", "external_id": "three", "status": "running", "duration_seconds": None},
        {"id": "4", "external_id": "four", "status": "state_of_tomorrow", "duration_seconds": 0.0},
    ]
    picture = str(run_sparkline(orjson.dumps(runs), "finance"))
    assert "&lt;a &#34;b&#34;&gt;: failed" in picture
    assert [picture.count(f'class="{kind}"') for kind in ("bad", "ok", "on", "other", "mark bad")] == [1, 1, 1, 1, 1]
    assert 'aria-label="The newest 4 runs, 1 failed"' in picture
    assert 'height="15"' in picture, "the longest is as high as there is room below the cross"
    assert 'height="8"' in picture, "a quarter of the time is half as high"
    assert "no runs" in str(run_sparkline(orjson.dumps([]), "finance"))
