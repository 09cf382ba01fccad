"""Cells that a spreadsheet would execute, and which media type a client prefers."""

from datetime import UTC, datetime

import pytest

from factories import make_request
from windsock.http.csv_export import cell
from windsock.http.media_types import prefers_csv


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("\r=1", "'\r=1"),
        ("\n", "'\n"),
        ("  =1", "'  =1"),
        ("\N{FULLWIDTH EQUALS SIGN}1", "'\N{FULLWIDTH EQUALS SIGN}1"),
        ("daily=report", "daily=report"),
        (["=a", "b"], "'=a, b"),
        (-1.5, -1.5),
        (True, "true"),
        (None, ""),
        (datetime(2026, 11, 30, 3, 8, tzinfo=UTC), "2026-11-30T03:08:00Z"),
    ],
)
def test_cell_is_text_that_no_spreadsheet_executes(value: object, expected: object) -> None:
    assert cell(value) == expected


@pytest.mark.parametrize(
    ("accept", "is_csv"),
    [
        ("text/csv", True),
        ("TEXT/CSV; charset=utf-8", True),
        ("text/csv, application/json;q=0.9", True),
        ("application/json, text/csv;q=0.5", False),
        ("application/json, text/csv", False),
        ("text/csv;q=0", False),
        ("text/csv;q=x", False),
        ("*/*", False),
        ("text/*", False),
        ("", False),
    ],
)
def test_csv_is_preferred_only_where_it_is_named(accept: str, *, is_csv: bool) -> None:
    assert prefers_csv(make_request(accept=accept)) is is_csv
