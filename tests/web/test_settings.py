"""General settings of a space: name, retention, deletion."""

from typing import Any

import pytest

from factories import TwoTenants
from validating_client import ValidatingClient
from web.conftest import Browser, main_of

pytestmark = pytest.mark.anyio

SETTINGS = "/spaces/finance/settings"


async def space_of(client: ValidatingClient, tenants: TwoTenants) -> dict[str, Any]:
    found: dict[str, Any] = (await client.as_(tenants.keys["superadmin"], "GET", "/spaces/finance")).json()
    return found


async def test_admin_can_rename_space_and_set_retention(
    admin: Browser, client: ValidatingClient, tenants: TwoTenants
) -> None:
    sent = {"name": "Money", "retention_days": "30"}
    confirmation = await admin.send_form(SETTINGS, **sent)
    assert confirmation.status_code == 200
    assert "Delete runs older than 30 days?" in confirmation.text
    assert (await space_of(client, tenants))["retention_days"] is None, "deleting runs is confirmed first"
    saved = await admin.send_form(SETTINGS, **sent, confirmed="true")
    assert (saved.status_code, saved.headers["location"]) == (303, SETTINGS)
    assert "The settings are saved." in (await admin.open(SETTINGS)).text
    space = await space_of(client, tenants)
    assert (space["name"], space["retention_days"]) == ("Money", 30)
    for days, expected in (("60", 60), ("", None)):
        longer = await admin.send_form(SETTINGS, name="Money", retention_days=days)
        assert longer.status_code == 303, "a longer retention deletes nothing, and is not confirmed"
        assert (await space_of(client, tenants))["retention_days"] == expected


@pytest.mark.parametrize(
    ("form", "sentence"),
    [
        ({"name": " ", "retention_days": ""}, "Fill in this field."),
        ({"name": "Money", "retention_days": "0"}, "Enter 1 or more."),
        ({"name": "Money", "retention_days": "36501"}, "Enter 36500 or less."),
        ({"name": "Money", "retention_days": "²"}, "Enter a whole number."),
    ],
)
async def test_refused_settings_keep_input_and_change_nothing(
    admin: Browser, client: ValidatingClient, tenants: TwoTenants, form: dict[str, str], sentence: str
) -> None:
    before = await space_of(client, tenants)
    refused = await admin.send_form(SETTINGS, **form)
    assert refused.status_code == 422
    assert sentence in main_of(refused.text)
    assert f'value="{form["retention_days"]}"' in refused.text
    assert await space_of(client, tenants) == before


async def test_superadmin_can_delete_space_by_typing_its_name(
    superadmin: Browser, client: ValidatingClient, tenants: TwoTenants
) -> None:
    for typed in ("", "finance", "Marketing"):
        refused = await superadmin.send_form("/spaces/finance/delete", typed_name=typed)
        assert refused.status_code == 422
        assert "Type the name of the space: Finance" in refused.text
        assert await space_of(client, tenants)
    deleted = await superadmin.send_form("/spaces/finance/delete", typed_name=" Finance ")
    assert (deleted.status_code, deleted.headers["location"]) == (303, "/spaces")
    listed = (await superadmin.open("/spaces")).text
    assert "The space is deleted." in listed
    assert "/spaces/finance" not in main_of(listed)


async def test_settings_show_viewer_no_form_and_admin_no_deletion(admin: Browser, tenants: TwoTenants) -> None:
    assert "/spaces/finance/delete" not in (await admin.open(SETTINGS)).text
    assert (await admin.send_form("/spaces/finance/delete", typed_name="Finance")).status_code == 403
    await admin.sign_in(tenants.keys["viewer"])
    for page in ("settings", "members", "teams", f"teams/{tenants.finance.team_id}"):
        shown = await admin.open(f"/spaces/finance/{page}")
        assert shown.status_code == 200
        assert "<form" not in main_of(shown.text), page
        assert "/spaces/finance/audit" not in main_of(shown.text)


async def test_settings_changes_and_audit_log_require_admin(editor: Browser, tenants: TwoTenants) -> None:
    assert (await editor.open("/spaces/finance/audit")).status_code == 403
    team, someone = f"teams/{tenants.finance.team_id}", f"members/{tenants.users['viewer']}"
    fields = {"email": "a@example.com", "role": "viewer", "name": "x", "user_id": str(tenants.users["viewer"])}
    paths = ("settings", "members", someone, f"{someone}/remove", "teams", team, f"{team}/delete", f"{team}/members")
    for path in paths:
        assert (await editor.send_form(f"/spaces/finance/{path}", **fields)).status_code == 403, path
