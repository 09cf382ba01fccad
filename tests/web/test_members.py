"""Members of a space in the pages: added, changed and removed, and never without an admin."""

import pytest

from factories import TwoTenants
from validating_client import ValidatingClient
from web.conftest import OWN, Browser, main_of

pytestmark = pytest.mark.anyio

MEMBERS = "/spaces/finance/members"
UNKNOWN = "0191f1a0-0000-7000-8000-000000000000"


async def roles(client: ValidatingClient, tenants: TwoTenants) -> dict[str, str]:
    """Roles by e-mail address."""
    listed = await client.as_(tenants.keys["superadmin"], "GET", MEMBERS, params={"size": 100})
    return {row["email"]: row["role"] for row in listed.json()}


async def test_members_page_shows_members_of_this_space_only(
    viewer: Browser, client: ValidatingClient, tenants: TwoTenants
) -> None:
    text = (await viewer.open(MEMBERS)).text
    for email in await roles(client, tenants):
        assert email in text
    assert "stranger@" not in text


async def test_admin_can_add_change_and_remove_member(
    admin: Browser, client: ValidatingClient, tenants: TwoTenants
) -> None:
    stranger = f"{MEMBERS}/{tenants.users['stranger']}"
    done = await admin.send_form(MEMBERS, email=" Stranger@Example.com ", role="viewer")
    assert (done.status_code, done.headers["location"]) == (303, MEMBERS)
    assert "The member is added." in (await admin.open(MEMBERS)).text
    await admin.send_form(stranger, role="editor")
    assert (await roles(client, tenants))["stranger@example.com"] == "editor"
    confirmation = await admin.send_form(f"{stranger}/remove")
    assert "Remove Stranger from this space?" in confirmation.text
    assert "stranger@example.com" in await roles(client, tenants), "removal is confirmed first"
    await admin.send_form(f"{stranger}/remove", confirmed="true")
    assert "stranger@example.com" not in await roles(client, tenants)


async def test_adding_member_again_is_refused_and_keeps_role(
    admin: Browser, client: ValidatingClient, tenants: TwoTenants
) -> None:
    """Defect 5: adding an existing editor as viewer demoted the editor."""
    refused = await admin.send_form(MEMBERS, email="editor@example.com", role="viewer")
    assert refused.status_code == 422
    assert "Editor is already a member, as editor. To change the role, use the list of members." in refused.text
    assert 'value="editor@example.com"' in refused.text
    assert (await roles(client, tenants))["editor@example.com"] == "editor"


@pytest.mark.parametrize("kind", ["admin", "superadmin"])
async def test_only_admin_cannot_be_removed_or_demoted(
    browser: Browser, client: ValidatingClient, tenants: TwoTenants, kind: str
) -> None:
    """Defect 4: one click removed the only admin."""
    await browser.sign_in(tenants.keys[kind])
    await browser.send_form(f"{MEMBERS}/{tenants.users['revoked']}", role="viewer")
    only = f"{MEMBERS}/{tenants.users['admin']}"
    for fields in ({}, {"confirmed": "true"}):
        refused = await browser.send_form(f"{only}/remove", **fields)
        assert refused.status_code == 409
        assert "without an admin. Make somebody else admin first." in refused.text
    demoted = await browser.send_form(only, role="viewer")
    assert demoted.status_code == 422
    assert "without an admin. Make somebody else admin first." in main_of(demoted.text)
    assert (await roles(client, tenants))["admin@example.com"] == "admin"
    toast = await browser.post(f"{only}/remove", headers={**OWN, "HX-Request": "true"})
    assert (toast.status_code, "without an admin" in toast.headers["hx-trigger"]) == (409, True)


async def test_admin_who_leaves_is_redirected_out_of_the_space(admin: Browser, tenants: TwoTenants) -> None:
    own = f"{MEMBERS}/{tenants.users['admin']}/remove"
    assert "Leave this space?" in (await admin.send_form(own)).text
    left = await admin.send_form(own, confirmed="true")
    assert (left.status_code, left.headers["location"]) == (303, "/")
    assert (await admin.open(MEMBERS)).status_code == 403


async def test_superadmin_can_create_user_as_member(
    superadmin: Browser, client: ValidatingClient, tenants: TwoTenants
) -> None:
    """Defect 14: a new member without a name became the page "Bad address"."""
    form = {"email": "new@example.com", "role": "editor"}
    refused = await superadmin.send_form(MEMBERS, **form)
    assert refused.status_code == 422
    assert "There is no user with this address yet. Fill in a name to create one." in refused.text
    assert 'value="new@example.com"' in refused.text
    assert "<option selected>editor</option>" in refused.text
    assert (await superadmin.send_form(MEMBERS, **form, name="N" * 201)).status_code == 422
    assert (await superadmin.send_form(MEMBERS, **form, name="Nia")).status_code == 303
    assert (await roles(client, tenants))["new@example.com"] == "editor"


async def test_deactivated_user_is_marked_and_not_added(
    superadmin: Browser, client: ValidatingClient, tenants: TwoTenants
) -> None:
    for kind in ("viewer", "stranger"):
        path = f"/users/{tenants.users[kind]}"
        await client.as_(tenants.keys["superadmin"], "PATCH", path, json={"is_active": False})
    assert main_of((await superadmin.open(MEMBERS)).text).count("deactivated") == 1
    refused = await superadmin.send_form(MEMBERS, email="stranger@example.com", role="viewer")
    assert "Stranger is deactivated." in refused.text
    assert "stranger@example.com" not in await roles(client, tenants)


@pytest.mark.parametrize(
    ("path", "form", "status", "sentence"),
    [
        ("", {"email": "nobody@example.com", "role": "viewer"}, 422, "There is no user with this address."),
        ("", {"email": "no address", "role": "viewer"}, 422, "Enter an e-mail address"),
        ("", {"email": "", "role": "viewer"}, 422, "Fill in this field."),
        ("", {"email": "nobody@example.com", "role": "king"}, 422, "Choose one of the list."),
        ("/{viewer}", {"role": "king"}, 422, "Choose one of the list."),
        (f"/{UNKNOWN}", {"role": "viewer"}, 404, "member"),
        ("/{stranger}", {"role": "viewer"}, 404, "member"),
        (f"/{UNKNOWN}/remove", {"confirmed": "true"}, 404, "member"),
        ("/{stranger}/remove", {}, 404, "member"),
    ],
)
async def test_refused_member_form_has_sentence_and_no_effect(
    admin: Browser,
    client: ValidatingClient,
    tenants: TwoTenants,
    path: str,
    form: dict[str, str],
    status: int,
    sentence: str,
) -> None:
    before = await roles(client, tenants)
    response = await admin.send_form(MEMBERS + path.format(**tenants.users), **form)
    assert response.status_code == status
    assert sentence in main_of(response.text)
    assert await roles(client, tenants) == before


async def test_members_are_paged(admin: Browser) -> None:
    first = (await admin.open(f"{MEMBERS}?size=2")).text
    assert "Page 1 of 2" in first
    assert "4 members" in first
    past = await admin.open(f"{MEMBERS}?size=2&page=99")
    assert (past.status_code, past.headers["location"]) == (303, f"{MEMBERS}?size=2&page=2")
