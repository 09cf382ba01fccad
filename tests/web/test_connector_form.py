"""A connector is added, tried and changed from the pages; its credentials are seen by nobody."""

import re
from html import unescape
from typing import Any

import pytest

from factories import PASSWORD, TwoTenants
from validating_client import ValidatingClient
from web.conftest import OWN, Browser

pytestmark = pytest.mark.anyio

PATH = "/spaces/finance/connectors"
API = "/catalog/spaces/finance/connectors"
NOWHERE = "http://127.0.0.1:9"
PLANTED = "planted-password-4711"
NEW = {
    "name": "second", "base_url": NOWHERE, "auth_type": "password", "username": "ada", "password": PLANTED,
    "verify_tls": "true",
}  # fmt: skip


async def connectors(client: ValidatingClient, tenants: TwoTenants) -> dict[str, dict[str, Any]]:
    return {item["name"]: item for item in (await client.as_(tenants.keys["viewer"], "GET", API)).json()}


async def test_connector_form_creates_connector_with_its_values(
    editor: Browser, client: ValidatingClient, tenants: TwoTenants
) -> None:
    form = (await editor.open(f"{PATH}/new")).text
    assert f'<form class="card form" method="post" action="{PATH}/new">' in form
    more = {"sync_interval_seconds": "90", "include_dags": "finance_*\n tax_*", "history_days": ""}
    response = await editor.send_form(f"{PATH}/new", **NEW, **more)
    found = (await connectors(client, tenants))["second"]
    assert (response.status_code, response.headers["location"]) == (303, f"{PATH}/{found['id']}")
    assert found["has_credentials"] is True
    assert found["config"]["sync_interval_seconds"] == 90
    assert found["config"]["history_days"] == 14
    assert found["config"]["include_dags"] == ["finance_*", "tax_*"]
    for page in (response.headers["location"], f"{response.headers['location']}/edit", PATH):
        assert PLANTED not in (await editor.open(page)).text


async def test_connection_test_reports_diagnosis_and_stores_no_rows(
    editor: Browser, client: ValidatingClient, tenants: TwoTenants
) -> None:
    before = await connectors(client, tenants)
    whole = await editor.send_form(f"{PATH}/new", **NEW, action="test")
    assert whole.status_code == 200
    assert "It does not work yet." in whole.text
    assert f'value="{NOWHERE}"' in whole.text, "what was typed stays"
    assert PLANTED not in whole.text
    part = await editor.post(f"{PATH}/new", data=NEW | {"action": "test"}, headers=OWN | {"HX-Request": "true"})
    assert part.text.lstrip().startswith('<div id="connection-test"')
    bad = {**NEW, "base_url": "ftp://x", "action": "test"}
    refused = await editor.post(f"{PATH}/new", data=bad, headers=OWN | {"HX-Request": "true"})
    assert refused.status_code == 200
    assert "complaint" in refused.text
    assert await connectors(client, tenants) == before


@pytest.mark.parametrize(
    ("changes", "field", "sentence"),
    [
        ({"name": ""}, "name", ""),
        ({"name": "prod"}, "name", "There is a connector named 'prod' already."),
        ({"base_url": ""}, "base_url", "Give the URL"),
        ({"base_url": "airflow.example.com"}, "base_url", ""),
        ({"base_url": f"http://ada:{PLANTED}@x"}, "base_url", ""),
        ({"sync_interval_seconds": "1"}, "sync_interval_seconds", ""),
        ({"sync_interval_seconds": "often"}, "sync_interval_seconds", ""),
        ({"auth_type": "other", "credentials": "{"}, "credentials", "no JSON"),
        ({"auth_type": "other", "credentials": "[]"}, "credentials", "no JSON object"),
        (
            {"auth_type": "other", "credentials": f'{{"auth_type": "{PLANTED}"}}'},
            "credentials",
            "auth_type must be one of",
        ),
        ({"username": ""}, "username", ""),
    ],
)
async def test_invalid_connector_form_is_reported_without_effect(
    editor: Browser, client: ValidatingClient, tenants: TwoTenants, changes: dict[str, str], field: str, sentence: str
) -> None:
    before = await connectors(client, tenants)
    refused = await editor.send_form(f"{PATH}/new", **(NEW | changes))
    assert refused.status_code == 422
    pattern = rf'<p class="field-error" id="connector-{field}-error"[^>]*>([^<]+)</p>'
    errors = re.findall(pattern, refused.text)
    assert [sentence in unescape(error) for error in errors] == [True], "once, beside its field"
    assert f'aria-describedby="connector-{field}-error"' in refused.text
    assert "base_url" not in "".join(errors), "fields have the names of their labels"
    assert f'value="{NEW["username"]}"' in refused.text or field == "username", "what was typed stays"
    assert PLANTED not in re.sub(r'name="base_url"[^>]*', "", refused.text)
    assert await connectors(client, tenants) == before


async def test_stored_credentials_are_preserved_but_not_reused_for_other_url(
    editor: Browser, client: ValidatingClient, tenants: TwoTenants
) -> None:
    path = f"{PATH}/{tenants.finance.connector_id}/edit"
    old = (await connectors(client, tenants))["prod"]
    form = (await editor.open(path)).text
    assert f'value="{old["config"]["base_url"]}"' in form
    assert PASSWORD not in form
    stored = {"name": "prod", "base_url": old["config"]["base_url"], "auth_type": "keep", "is_active": "true"}
    done = await editor.send_form(path, **stored, history_days="30")
    assert done.status_code == 303
    now = (await connectors(client, tenants))["prod"]
    assert (now["has_credentials"], now["config"]["history_days"], now["is_active"]) == (True, 30, True)
    assert now["config"]["verify_tls"] is False, "a box that is not ticked"
    for action in ("save", "test"):
        elsewhere = stored | {"base_url": "http://127.0.0.1:10", "action": action}
        refused = await editor.send_form(path, **elsewhere)
        assert refused.status_code == 422
        assert "credentials" in refused.text
    tried = await editor.send_form(path, **stored, action="test")
    assert "It does not work yet." in tried.text
    await editor.send_form(path, **(stored | {"is_active": ""}))
    assert (await connectors(client, tenants))["prod"]["is_active"] is False


async def test_connector_deletion_requires_admin_and_matching_name(
    browser: Browser, client: ValidatingClient, tenants: TwoTenants
) -> None:
    path = f"{PATH}/{tenants.finance.connector_id}"
    await browser.sign_in(tenants.keys["editor"])
    assert "/delete" not in (await browser.open(f"{path}/edit")).text
    assert (await browser.send_form(f"{path}/delete", again="prod")).status_code == 403
    await browser.sign_in(tenants.keys["admin"])
    assert (await browser.send_form(f"{path}/delete", again="prob")).status_code == 422
    assert "prod" in await connectors(client, tenants)
    assert (await browser.send_form(f"{path}/delete", again="prod")).status_code == 303
    assert "prod" not in await connectors(client, tenants)


async def test_connector_form_is_denied_to_viewers_and_other_spaces(browser: Browser, tenants: TwoTenants) -> None:
    await browser.sign_in(tenants.keys["viewer"])
    for path in (f"{PATH}/new", f"{PATH}/{tenants.finance.connector_id}/edit"):
        assert (await browser.open(path)).status_code == 403
        assert (await browser.send_form(path, **NEW)).status_code == 403
    assert "Connect an Airflow" not in (await browser.open(PATH)).text
    await browser.sign_in(tenants.keys["admin"])
    theirs = f"{PATH}/{tenants.marketing.connector_id}"
    assert (await browser.open(f"{theirs}/edit")).status_code == 404
    for path in (f"{theirs}/edit", f"{theirs}/delete"):
        assert (await browser.send_form(path, **NEW)).status_code == 404
