"""Members, teams, API keys and the trail, as the pages show and change them."""

import re
from html import unescape
from typing import Any

import pytest

from factories import TwoTenants
from validating_client import ValidatingClient
from web.conftest import Browser

UNKNOWN = "0191f1a0-0000-7000-8000-000000000000"

pytestmark = pytest.mark.anyio

SPACE = "/spaces/finance"
SETTINGS = f"{SPACE}/settings"


@pytest.fixture
async def admin(browser: Browser, tenants: TwoTenants) -> Browser:
    assert (await browser.sign_in(tenants.keys["admin"])).status_code == 303
    return browser


async def listed(client: ValidatingClient, tenants: TwoTenants, what: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await client.as_(tenants.keys["admin"], "GET", f"{SPACE}/{what}?size=100")).json()
    return found


async def test_settings_page_shows_members_and_teams_of_api(
    viewer: Browser, client: ValidatingClient, tenants: TwoTenants
) -> None:
    text = (await viewer.open(SETTINGS)).text
    for row in await listed(client, tenants, "members"):
        assert row["email"] in text
    for row in await listed(client, tenants, "teams"):
        assert row["name"] in text
        team = (await viewer.open(f"{SPACE}/teams/{row['id']}")).text
        assert f">{row['name']}</h1>" in team
    assert "<form" not in text.partition("<main")[2].partition("</main>")[0], (
        "a viewer is offered nothing that is refused"
    )
    assert "stranger@" not in text


async def test_admin_can_add_change_and_remove_member(
    admin: Browser, client: ValidatingClient, tenants: TwoTenants
) -> None:
    async def role() -> str | None:
        return {row["user_id"]: row["role"] for row in await listed(client, tenants, "members")}.get(stranger)

    stranger = str(tenants.users["stranger"])
    email = (await client.as_(tenants.keys["stranger"], "GET", "/users/me")).json()["email"]
    done = await admin.send_form(f"{SPACE}/members", email=email.upper(), role="viewer")
    assert (done.status_code, done.headers["location"]) == (303, SETTINGS)
    assert await role() == "viewer"
    await admin.send_form(f"{SPACE}/members/{stranger}", role="editor")
    assert await role() == "editor"
    await admin.send_form(f"{SPACE}/members/{stranger}/remove")
    assert await role() is None


async def test_superadmin_can_create_user(browser: Browser, client: ValidatingClient, tenants: TwoTenants) -> None:
    await browser.sign_in(tenants.keys["superadmin"])
    form = {"email": "new@example.com", "role": "viewer"}
    assert "Give a name too" in (await browser.send_form(f"{SPACE}/members", **form)).text
    assert (await browser.send_form(f"{SPACE}/members", **form, name="N" * 201)).status_code == 400
    assert (await browser.send_form(f"{SPACE}/members", **form, name="Nia")).status_code == 303
    assert "new@example.com" in [row["email"] for row in await listed(client, tenants, "members")]


@pytest.mark.parametrize(
    ("path", "form", "status", "sentence"),
    [
        ("members", {"email": "nobody@example.com", "role": "viewer"}, 400, "Nobody is known as nobody@example.com"),
        ("members", {"email": "nobody@example.com", "role": "king"}, 400, "cannot be understood"),
        ("members/{admin}", {"role": "viewer"}, 409, "without an admin"),
        ("members/{admin}/remove", {}, 409, "without an admin"),
        (f"members/{UNKNOWN}/remove", {}, 404, "member"),
        ("teams", {"name": "  "}, 400, "1 to 200 characters"),
        ("teams", {"name": "ingestion"}, 409, "already"),
        (f"teams/{UNKNOWN}", {"name": "x"}, 404, "team"),
        (f"teams/{UNKNOWN}/delete", {}, 404, "team"),
        ("teams/{team}/members", {"user_id": UNKNOWN}, 404, "member"),
    ],
)
async def test_invalid_settings_form_is_reported_without_effect(
    admin: Browser,
    client: ValidatingClient,
    tenants: TwoTenants,
    path: str,
    form: dict[str, str],
    status: int,
    sentence: str,
) -> None:
    for row in await listed(client, tenants, "members"):
        if row["role"] == "admin" and row["user_id"] != str(tenants.users["admin"]):
            assert (await admin.send_form(f"{SPACE}/members/{row['user_id']}", role="viewer")).status_code == 303
    before = await listed(client, tenants, "members"), await listed(client, tenants, "teams")
    named = path.format(admin=tenants.users["admin"], team=tenants.finance.team_id)
    response = await admin.send_form(f"{SPACE}/{named}", **form)
    assert response.status_code == status
    assert sentence in response.text
    assert (await listed(client, tenants, "members"), await listed(client, tenants, "teams")) == before


async def test_admin_can_create_edit_and_delete_team(
    admin: Browser, client: ValidatingClient, tenants: TwoTenants
) -> None:
    response = await admin.send_form(f"{SPACE}/teams", name=" On <call> ")
    path = response.headers["location"]
    assert "On &lt;call&gt;" in (await admin.open(path)).text
    viewer = str(tenants.users["viewer"])
    await admin.send_form(f"{path}/members", user_id=viewer)
    team = {row["name"]: row for row in await listed(client, tenants, "teams")}["On <call>"]
    assert team["member_count"] == 1
    await admin.send_form(f"{path}/members", user_id=viewer, inside="false")
    await admin.send_form(path, name="Night")
    assert "Night" in [row["name"] for row in await listed(client, tenants, "teams")]
    await admin.send_form(f"{path}/delete")
    assert "Night" not in [row["name"] for row in await listed(client, tenants, "teams")]
    assert (await admin.open(path)).status_code == 404


async def test_audit_log_page_shows_changes_with_names_and_filters(admin: Browser, tenants: TwoTenants) -> None:
    some = tenants.finance.pipelines["daily_report"]
    await admin.send_form(f"{SPACE}/pipelines/govern", pipeline=str(some), criticality="critical")
    text = (await admin.open(f"{SPACE}/audit?target_type=pipeline")).text
    assert "daily_report" in text
    assert re.search(r"criticality</span> medium → critical", text)
    response = await admin.send_form(f"{SPACE}/teams", name="Billing")
    team_id = response.headers["location"].rsplit("/", 1)[1]
    await admin.send_form(f"{SPACE}/pipelines/govern", pipeline=str(some), team=team_id)
    assert re.search(r"team</span> .* → Billing", (await admin.open(f"{SPACE}/audit?target_type=pipeline")).text)
    for more in ("?page=2", f"?actor_id={tenants.users['admin']}", f"?target_id={some}"):
        assert (await admin.open(f"{SPACE}/audit{more}")).status_code == 200
    assert (await admin.open(f"{SPACE}/audit?target_type=nothing")).status_code == 400


async def test_settings_changes_and_audit_log_require_admin(editor: Browser, tenants: TwoTenants) -> None:
    assert (await editor.open(f"{SPACE}/audit")).status_code == 403
    team = f"teams/{tenants.finance.team_id}"
    someone = f"members/{tenants.users['viewer']}"
    for path in ("members", someone, f"{someone}/remove", "teams", team, f"{team}/delete", f"{team}/members"):
        fields = {"email": "a@example.com", "role": "viewer", "name": "x", "user_id": str(tenants.users["viewer"])}
        assert (await editor.send_form(f"{SPACE}/{path}", **fields)).status_code == 403, path


async def test_api_key_is_shown_once_and_works_until_revoked(
    viewer: Browser, client: ValidatingClient, tenants: TwoTenants
) -> None:
    response = await viewer.send_form("/api-keys", name="<b>report</b>", days="30")
    assert response.status_code == 200
    assert response.headers["cache-control"] == "private, no-store"
    found = re.search(r'<code class="key">(wsk_[^<]+)</code>', response.text)
    assert found
    key = unescape(found[1])
    assert (await client.as_(key, "GET", "/users/me")).json()["id"] == str(tenants.users["viewer"])
    page = (await viewer.open("/api-keys")).text
    assert key not in page
    assert "&lt;b&gt;report&lt;/b&gt;" in page
    mine = (await client.as_(key, "GET", "/api-keys/me/api-keys")).json()
    (created_id,) = [row["id"] for row in mine if row["name"] == "<b>report</b>"]
    theirs = (await client.as_(tenants.keys["editor"], "GET", "/api-keys/me/api-keys")).json()[0]["id"]
    assert (await viewer.send_form(f"/api-keys/{theirs}/revoke")).status_code == 404
    assert (await viewer.send_form(f"/api-keys/{created_id}/revoke")).status_code == 303
    assert (await client.as_(key, "GET", "/users/me")).status_code == 401


@pytest.mark.parametrize("fields", [{"name": " "}, {"name": "x" * 201}, {"days": "0"}, {"days": "3651"}, {"days": "²"}])
async def test_invalid_api_key_form_is_rejected(viewer: Browser, fields: dict[str, str]) -> None:
    assert (await viewer.send_form("/api-keys", **({"name": "x", "days": ""} | fields))).status_code == 400
