"""A trigger form that nobody touched sends what it showed, whatever the DAG's params hold: in a real browser."""

import json
from typing import Any

import pytest
from playwright.sync_api import expect

from browser.conftest import Visitor

STRING, NULLABLE = {"type": "string"}, {"type": ["null", "string"]}
LINES = {"type": "string", "format": "multiline"}
INTEGER, NUMBER, BOOLEAN = {"type": "integer"}, {"type": "number"}, {"type": "boolean"}


def param(value: Any, schema: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"value": value, "schema": schema or {}, "description": None}


def nested(depth: int) -> Any:
    return [] if depth == 0 else [nested(depth - 1)]


DEFAULTS: dict[str, dict[str, Any]] = {
    # Text, and what browsers do to it.
    "lines": param("SELECT 1\nFROM x\n", LINES),
    "lines of a plain string": param("one\ntwo", STRING),
    "lines without a type": param("one\n\ntwo"),
    "leading newline": param("\n\nindented", LINES),
    "only a newline": param("\n", LINES),
    "carriage returns": param("a\r\nb\rc\n", LINES),
    "trailing blanks": param("  a \t ", STRING),
    "trailing blanks of lines": param("  a \n  \n ", LINES),
    "separators": param("a\u2028b\u2029c\u0085d", STRING),
    "markup": param("</textarea><b>&amp;\"'", LINES),
    "markup in one line": param("\"'<>&amp;&#10;", STRING),
    "right to left": param("\u202eabc\ufeff", STRING),
    "emoji at the limit": param("😀" * 20, {**STRING, "maxLength": 20}),
    "longer than its limit": param("x" * 30, {**STRING, "maxLength": 3}),
    "empty": param("", STRING),
    "empty without a type": param(""),
    "looks like JSON": param('{"a": 1}', STRING),
    "looks like null": param("null", NULLABLE),
    "date": param("2026-11-24", {**STRING, "format": "date"}),
    "date and time": param("2026-11-24T06:00:00+00:00", {**STRING, "format": "date-time"}),
    # Null.
    "null": param(None, NULLABLE),
    "empty and nullable": param("", NULLABLE),
    "lines and nullable": param("a\nb", {"type": ["null", "string"], "format": "multiline"}),
    "null number": param(None, {"type": ["null", "integer"]}),
    "null flag": param(None, {"type": ["null", "boolean"]}),
    "flag and nullable": param(False, {"type": ["boolean", "null"]}),
    "null array": param(None, {"type": ["array", "null"]}),
    "null of any type": param(None),
    # Flags and numbers.
    "true": param(True, BOOLEAN),
    "false": param(False, BOOLEAN),
    "one": param(1, INTEGER),
    "one as a float": param(1.0, NUMBER),
    "one as a float where an integer belongs": param(1.0, INTEGER),
    "minus nothing": param(-0.0, NUMBER),
    "small": param(1.5e-7, NUMBER),
    "large": param(1e16, NUMBER),
    "beyond a double": param(2**53 + 1, INTEGER),
    "largest": param(2**64 - 1, INTEGER),
    "third": param(1 / 3, NUMBER),
    "above its maximum": param(200, {**INTEGER, "maximum": 90}),
    "below its minimum": param(-1, {**INTEGER, "minimum": 0, "maximum": 5}),
    "between the steps": param(1.5, {**INTEGER, "minimum": 1}),
    # What does not fit its schema.
    "text for a number": param("abc", INTEGER),
    "text for a flag": param("yes", BOOLEAN),
    "number for a flag": param(1, BOOLEAN),
    "number for text": param(5, STRING),
    "object for text": param({"a": [1]}, STRING),
    # Choices.
    "choice": param("b", {**STRING, "enum": ["a", "b"]}),
    "choice with null": param(None, {"type": ["string", "null"], "enum": ["a", None]}),
    "choice of null and text null": param("null", {"type": ["string", "null"], "enum": [None, "null"]}),
    "choice of numbers": param(1.0, {**NUMBER, "enum": [1, 1.0, "1"]}),
    "choice of lines": param("a\nb", {**STRING, "enum": ["a\nb", " a", ""]}),
    "empty choice": param("", {**STRING, "enum": ["", "a"]}),
    "choice that is none of them": param("c", {"type": ["string", "null"], "enum": ["a", "b"]}),
    "choice of objects": param({"a": {"b": 1}}, {"enum": [{"a": {"b": 1}}, [1]]}),
    # JSON.
    "array": param(["a", "b\n", 1.0, None], {"type": "array"}),
    "empty array": param([], {"type": "array"}),
    "object": param({"b": 1, "a": {"c": ["\n", "\r\n"]}}, {"type": "object"}),
    "any of two": param("text", {"type": ["string", "integer"]}),
    "object without a type": param({"k": " v "}),
    # Names that are those of controls, or hard to send.
    **{name: param(f"of {name}", STRING) for name in ("key", "conf", "note", "defaults", "submit", "_charset_")},
    'a:b? "c" \\ d': param("x", STRING),
    "name\nof\ntwo lines\t": param("x", STRING),
    "\u202e\u00e4\u20ac": param("x", STRING),
    "": param("without a name", STRING),
}  # fmt: skip
LEFT_OUT: dict[str, dict[str, Any]] = {
    "wider than 64 bits": param(2**70 + 1, INTEGER),
    "deeper than a conf may be": param(nested(60), {"type": "array"}),
    "wide number inside": param([{"a": -(2**80)}], {"type": "array"}),
    "with a character that is not stored": param("a\0b", STRING),
    "with such a character inside": param({"a\0": ["b"]}, {"type": "object"}),
}
"""Airflow's own default holds for these: they could not be sent as they are."""


def submit_untouched(visitor: Visitor, params: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The conf that was sent."""
    runs, tenants = visitor.live.runs, visitor.live.tenants
    runs.details, before = (200, {"params": params}), len(runs.posts)
    visitor.sign_in("editor")
    visitor.page.goto(
        f"{visitor.live.url}/spaces/finance/pipelines/{tenants.finance.pipelines['daily_report']}/trigger"
    )
    visitor.page.get_by_role("button", name="Trigger", exact=True).click()
    expect(visitor.page.locator(".head .state")).to_have_text("queued")
    assert len(runs.posts) == before + 1
    conf: dict[str, Any] = runs.posts[-1]["conf"]
    return conf


def test_untouched_form_sends_defaults_unaltered(visitor: Visitor) -> None:
    conf = submit_untouched(visitor, DEFAULTS)
    sent = {name: conf.pop(name, "left out") for name in DEFAULTS}
    assert conf == {}, "nothing else is sent"
    expected = {name: default["value"] for name, default in DEFAULTS.items()} | {"null of any type": "left out"}
    wrong = {
        name: (sent[name], value) for name, value in expected.items() if json.dumps(sent[name]) != json.dumps(value)
    }
    assert wrong == {}


def test_unsendable_default_is_omitted_from_conf(visitor: Visitor) -> None:
    assert submit_untouched(visitor, LEFT_OUT | {"other": param("x", STRING)}) == {"other": "x"}


@pytest.mark.parametrize("number", [299, 1_200, 5_000])
def test_form_with_thousands_of_params_sends_all_defaults(visitor: Visitor, number: int) -> None:
    params = {f"param {index}": param(f"value\r\n{index}" if index % 50 == 0 else index) for index in range(number)}
    assert submit_untouched(visitor, params) == {name: item["value"] for name, item in params.items()}


def test_changed_fields_are_sent_and_others_unchanged(visitor: Visitor) -> None:
    params = {
        "changed": param("a\r\nb", LINES),
        "cleared": param("a\r\nb", {"type": ["null", "string"]}),
        "switched": param(None, {"type": ["null", "boolean"]}),
        "untouched": param("a\r\nb", LINES),
    }
    runs, page, tenants = visitor.live.runs, visitor.page, visitor.live.tenants
    runs.details = (200, {"params": params})
    visitor.sign_in("editor")
    page.goto(f"{visitor.live.url}/spaces/finance/pipelines/{tenants.finance.pipelines['daily_report']}/trigger")
    page.get_by_label("changed").fill("a\nb\nc")
    page.get_by_label("cleared").fill("")
    page.get_by_label("switched").select_option("no")
    page.get_by_role("button", name="Trigger", exact=True).click()
    expect(page.locator(".head .state")).to_have_text("queued")
    expected = {"changed": "a\nb\nc", "cleared": None, "switched": False, "untouched": "a\r\nb"}
    assert runs.posts[-1]["conf"] == expected


def test_required_flag_without_value_blocks_submit(visitor: Visitor) -> None:
    runs, page, tenants = visitor.live.runs, visitor.page, visitor.live.tenants
    runs.details, before = (200, {"params": {"sure": param(None, BOOLEAN)}}), len(runs.posts)
    visitor.sign_in("editor")
    page.goto(f"{visitor.live.url}/spaces/finance/pipelines/{tenants.finance.pipelines['daily_report']}/trigger")
    page.get_by_role("button", name="Trigger", exact=True).click()
    assert len(runs.posts) == before, "the browser asks first"
    page.get_by_label("sure").select_option("yes")
    page.get_by_role("button", name="Trigger", exact=True).click()
    expect(page.locator(".head .state")).to_have_text("queued")
    assert runs.posts[-1]["conf"] == {"sure": True}
