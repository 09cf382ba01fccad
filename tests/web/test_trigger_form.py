"""A run by hand: the form of the DAG's params, what it becomes, and what Airflow says to it."""

import json
import re
from html import unescape
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from actions.fake_runs import Runs, install
from factories import TwoTenants
from web.conftest import OWN, Browser
from windsock.context import AppContext
from windsock.errors import BadRequest
from windsock.providers.airflow.dialect import parse_param
from windsock.web.forms import MAX_FIELDS
from windsock.web.params import form_field, parse_conf

pytestmark = pytest.mark.anyio

PARAMS: dict[str, Any] = {
    "campaign": {"value": None, "schema": {"type": "string", "maxLength": 40}, "description": "Its <b>name</b>."},
    "country": {"value": "DE", "schema": {"type": "string", "enum": ["DE", "FR"], "title": "Country"}},
    "days": {"value": 7, "schema": {"type": "integer", "minimum": 1, "maximum": 90}},
    "mail": {"value": True, "schema": {"type": "boolean"}},
    "centre": {"value": None, "schema": {"type": ["null", "string"]}},
    "tables": {"value": ["a"], "schema": {"type": "array"}},
    "bare": "text",
}


@pytest.fixture
def runs(app: FastAPI, process: AppContext) -> Runs:
    fake_runs = install(app, process)
    fake_runs.details = (200, {"params": PARAMS})
    return fake_runs


def path_of(tenants: TwoTenants) -> str:
    return f"/spaces/finance/pipelines/{tenants.finance.pipelines['daily_report']}/trigger"


async def open_form(browser: Browser, tenants: TwoTenants) -> httpx2.Response:
    """The address of each form holds its idempotency key."""
    away = await browser.open(path_of(tenants))
    assert away.status_code == 303
    return await browser.open(away.headers["location"])


def hidden(text: str) -> str:
    found = re.search(r'name="key" value="([^"]+)"', text)
    assert found
    return found[1]


async def test_trigger_form_is_built_from_params_and_submits_values(
    editor: Browser, tenants: TwoTenants, runs: Runs
) -> None:
    form = await open_form(editor, tenants)
    assert form.status_code == 200
    fields = [unescape(match) for match in re.findall(r'name="(param:[^"]+)"', form.text)]
    assert fields == [
        "param:text:campaign", "param:choice:country", "param:number:days", "param:flag:mail", "param:text?:centre",
        "param:json:tables", "param:text:bare",
    ]  # fmt: skip
    assert "Its &lt;b&gt;name&lt;/b&gt;." in form.text
    assert 'min="1" max="90"' in form.text
    filled = {
        "param:text:campaign": "spring", "param:choice:country": '"FR"', "param:number:days": "3",
        "param:flag:mail": "false", "param:text?:centre": "", "param:json:tables": '["x", "y"]',
        "conf": '{"extra": 1}', "note": "By hand.", "key": hidden(form.text),
    }  # fmt: skip
    sent = await editor.send_form(path_of(tenants), **filled)
    assert sent.status_code == 303
    (post,) = runs.posts
    assert post["conf"] == {
        "campaign": "spring", "country": "FR", "days": 3, "mail": False, "centre": None, "tables": ["x", "y"],
        "extra": 1,
    }  # fmt: skip
    assert post["note"].startswith("By hand.")
    assert (await editor.open(sent.headers["location"])).status_code == 200
    again = await editor.send_form(path_of(tenants), **filled)
    assert again.headers["location"] == sent.headers["location"], "a double click starts one run"
    assert len(runs.stored) == 1


async def test_trigger_form_keeps_its_key_after_back_and_reload(
    editor: Browser, tenants: TwoTenants, runs: Runs
) -> None:
    address = (await editor.open(path_of(tenants))).headers["location"]
    key = hidden((await editor.open(address)).text)
    first = await editor.send_form(path_of(tenants), key=key, note="one")
    assert "The run is started." in (await editor.open(first.headers["location"])).text
    assert hidden((await editor.open(address)).text) == key, "Back shows the same form"
    second = await editor.send_form(path_of(tenants), key=key, note="one")
    assert second.headers["location"] == first.headers["location"]
    assert "had started this run before" in (await editor.open(second.headers["location"])).text
    changed = await editor.send_form(path_of(tenants), key=key, note="two")
    assert changed.status_code == 409
    assert "sent before with other values, so nothing was started" in changed.text
    assert len(runs.posts) == 1
    assert (await editor.send_form(path_of(tenants), key=hidden(changed.text), note="two")).status_code == 303
    assert len(runs.posts) == 2
    for other in ("x", "0" * 31, key.upper(), "0" * 33):
        assert (await editor.open(f"{path_of(tenants)}?key={other}")).status_code == 303, "it gets a key of its own"


async def test_airflow_rejection_is_shown_and_form_input_preserved(
    editor: Browser, tenants: TwoTenants, runs: Runs
) -> None:
    runs.faults = [(400, "Invalid input for param campaign: 'x' is <too> short")]
    key = hidden((await open_form(editor, tenants)).text)
    refused = await editor.send_form(path_of(tenants), key=key, note="Mine", **{"param:text:campaign": "x"})
    assert refused.status_code == 422
    assert "Invalid input for param campaign: &#39;x&#39; is &lt;too&gt; short" in refused.text
    assert 'value="Mine"' in refused.text
    assert 'value="x"' in refused.text
    assert hidden(refused.text) != key, "what is mended is another request"
    done = await editor.send_form(path_of(tenants), key=hidden(refused.text), **{"param:text:campaign": "spring"})
    assert done.status_code == 303


async def test_ambiguous_trigger_form_resubmission_finds_run(editor: Browser, tenants: TwoTenants, runs: Runs) -> None:
    runs.faults, runs.lookups_fail = ["lost"], True
    key = hidden((await open_form(editor, tenants)).text)
    lost = await editor.send_form(path_of(tenants), key=key)
    assert lost.status_code == 502
    assert "not known" in lost.text
    assert hidden(lost.text) == key
    runs.lookups_fail = False
    assert (await editor.send_form(path_of(tenants), key=key)).status_code == 303
    assert len(runs.posts) == 1


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"conf": "{"}, "Other conf is not JSON"),
        ({"conf": "[1]"}, "Other conf is no JSON object"),
        ({"param:json:tables": "a, b"}, "tables is not JSON"),
        ({"param:number:days": "many"}, "days is not JSON"),
        ({"conf": f'{{"a": {2**64}}}'}, "Other conf must not contain whole numbers beyond 64 bits"),
        ({"param:json:tables": "[" * 300 + "]" * 300}, "tables must not be nested deeper than 32 levels"),
        ({"param:json:tables": "[" * 2_000 + "]" * 2_000}, "tables must not be nested deeper than 32 levels"),
        ({"param:json:tables": '["\\ud800"]'}, "tables must not contain half of a surrogate pair"),
        ({"note": "x" * 601}, "at most 600 characters"),
        ({"param:text:campaign": "a\0b"}, "U+0000"),
    ],
)
async def test_unsendable_trigger_is_rejected_before_request(
    editor: Browser, tenants: TwoTenants, runs: Runs, fields: dict[str, str], sentence: str
) -> None:
    response = await editor.send_form(path_of(tenants), **fields)
    assert response.status_code == 400
    assert sentence in response.text
    assert runs.posts == []


@pytest.mark.parametrize("details", [(503, {"detail": "down"}), (200, {"no": "params"}), (404, {"detail": "gone"})])
async def test_trigger_form_without_readable_params_offers_json_field(
    editor: Browser, tenants: TwoTenants, runs: Runs, details: tuple[int, dict[str, Any]]
) -> None:
    runs.details = details
    form = await open_form(editor, tenants)
    assert form.status_code == 200
    assert "could not be read" in form.text
    assert 'name="conf"' in form.text


async def test_trigger_form_is_denied_to_viewers_and_other_spaces(
    browser: Browser, tenants: TwoTenants, runs: Runs
) -> None:
    await browser.sign_in(tenants.keys["viewer"])
    assert (await browser.open(f"{path_of(tenants)}?key={'0' * 32}")).status_code == 403
    assert (await browser.send_form(path_of(tenants))).status_code == 403
    await browser.sign_in(tenants.keys["editor"])
    theirs = next(iter(tenants.marketing.pipelines.values()))
    assert (await browser.open(f"/spaces/finance/pipelines/{theirs}/trigger?key={'0' * 32}")).status_code == 404
    assert (await browser.send_form(f"/spaces/finance/pipelines/{theirs}/trigger?key={'0' * 32}")).status_code == 404
    assert runs.posts == []


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_params_of_each_api_version_become_form_fields(version: str) -> None:
    """What 2.11.2 and 3.3.2 answered for one DAG."""
    inner: dict[str, dict[str, Any]] = {
        "env": {"value": "dev", "schema": {"enum": ["dev", "prod"], "type": "string"}, "description": "Target"},
        "count": {"value": None, "schema": {"type": "integer", "maximum": 10, "minimum": 1}, "description": None},
        "note": {"value": None, "schema": {"type": ["null", "string"], "maxLength": 20}, "description": None},
    }
    more: dict[str, Any] = {"__class": "airflow.models.param.Param"} if version == "v1" else {"source": None}
    fields = [form_field(parse_param(name, value | more), {}) for name, value in inner.items()]
    assert [(field.field, field.is_required, field.value) for field in fields] == [
        ("param:choice:env", False, '"dev"'),
        ("param:number:count", True, ""),
        ("param:text?:note", False, ""),
    ]


def test_param_with_malformed_schema_becomes_valid_form_field() -> None:
    schemas: list[Any] = [
        {},
        {"type": 3},
        {"type": [1, None]},
        {"enum": "x"},
        {"type": "string", "maxLength": "9"},
        {"title": 4},
    ]
    for schema in schemas:
        for value in (None, 1, "x", [1], {"a": 1}, True, 1.5):
            field = form_field(parse_param("p", {"value": value, "schema": schema, "description": 3}), {})
            json.dumps(field.value)
            conf = parse_conf([(field.field, field.value)], "")
            assert conf.get("p") in (value, None, "")
    with pytest.raises(BadRequest):
        parse_conf([], "nonsense")


@pytest.mark.parametrize("path", ["trigger", "govern"])
async def test_form_with_too_many_fields_is_rejected_with_html_page(
    editor: Browser, tenants: TwoTenants, runs: Runs, path: str
) -> None:
    """Not as the API would: nobody sends a key with a form."""
    where = path_of(tenants) if path == "trigger" else "/spaces/finance/pipelines/govern"
    body = "&".join(f"pipeline=x{number}" for number in range(MAX_FIELDS + 1))
    headers = {**OWN, "Content-Type": "application/x-www-form-urlencoded"}
    refused = await editor.post(where, content=body, headers=headers)
    assert (refused.status_code, refused.headers["content-type"].partition(";")[0]) == (400, "text/html")
    assert "The form cannot be read: Too many fields" in refused.text
    assert runs.posts == []


@pytest.mark.parametrize("defaults", ["{", "[1]", "null", "1e999", '{"param:text:x": ', "[" * 2_000])
async def test_malformed_defaults_field_is_rejected(
    editor: Browser, tenants: TwoTenants, runs: Runs, defaults: str
) -> None:
    response = await editor.send_form(path_of(tenants), defaults=defaults, **{"param:text:x": "y"})
    assert response.status_code == 400
    assert runs.posts == []


async def test_field_with_invalid_name_is_rejected(editor: Browser, tenants: TwoTenants, runs: Runs) -> None:
    response = await editor.send_form(path_of(tenants), **{"param:text:a\\x": "y"})
    assert (response.status_code, runs.posts) == (400, [])


async def test_comment_from_form_has_normalized_line_breaks(editor: Browser, tenants: TwoTenants) -> None:
    content = "\r\n".join(["x" * 99] * 100)  # 10,000 characters with line breaks of one
    run = f"/spaces/finance/runs/{tenants.finance.run_id}"
    assert (await editor.send_form(f"{run}/comments", content=content)).status_code == 303
    key = {"Authorization": f"Bearer {tenants.keys['editor']}"}
    listed = await editor.get(
        f"/api/v1.0/spaces/finance/orchestration/runs/{tenants.finance.run_id}/comments", headers=key
    )
    assert listed.json()[-1]["content"] == "\n".join(["x" * 99] * 100)


@pytest.mark.parametrize("depth", [250, 260, 600, 1000])
@pytest.mark.parametrize("kind", ["object", "array", "enum", "default"])
async def test_deeply_nested_parameter_is_shown_as_text(
    editor: Browser, tenants: TwoTenants, runs: Runs, depth: int, kind: str
) -> None:
    deep: Any = "planted"
    for _ in range(depth):
        deep = {"a": deep} if kind == "object" else [deep]
    schemas: dict[str, Any] = {"enum": {"enum": [deep]}, "default": {}}
    schema = schemas.get(kind, {"type": kind})
    runs.details = (200, {"params": {"deep": {"value": deep, "schema": schema}}})
    form = await open_form(editor, tenants)
    assert form.status_code == 200
    if depth < 1000:  # no JSON library reads deeper ones: then the page says that the params could not be read
        assert "planted" in form.text
        assert "param:" in form.text
