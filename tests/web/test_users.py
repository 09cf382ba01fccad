"""Users and spaces of the installation, in the pages of superadmins."""

import re
from html import unescape

import pytest

from factories import TwoTenants
from validating_client import ValidatingClient
from web.conftest import Browser, main_of

pytestmark = pytest.mark.anyio

LINK = re.compile(r'<code class="key" id="sign-in-link">([^<]+)</code>')


async def test_users_and_spaces_are_for_superadmins(admin: Browser, tenants: TwoTenants) -> None:
    user = f"/users/{tenants.users['viewer']}"
    for path in ("/users", user, "/spaces"):
        assert (await admin.open(path)).status_code == 403
    for path in ("/users", user, f"{user}/deactivate", f"{user}/reactivate", f"{user}/sign-in-link", "/spaces"):
        assert (await admin.send_form(path, name="x", slug="x", email="x@example.com")).status_code == 403, path
    menu = (await admin.open("/api-keys")).text
    assert 'href="/users"' not in menu
    await admin.sign_in(tenants.keys["superadmin"])
    assert {'href="/users"', 'href="/spaces"'} <= set(
        re.findall(r'href="/[a-z]+"', (await admin.open("/sessions")).text)
    )


async def test_users_are_listed_searched_and_paged(superadmin: Browser, tenants: TwoTenants) -> None:
    text = main_of((await superadmin.open("/users")).text)
    assert [kind for kind in tenants.users if f"{kind}@example.com" not in text] == []
    found = main_of((await superadmin.open("/users?q=EDIT")).text)
    assert "1 user<" in found
    assert "editor@example.com" in found
    assert "No user matches." in (await superadmin.open("/users?q=%25")).text, "a wildcard is a character"
    assert "Page 2 of 4" in (await superadmin.open("/users?size=2&page=2")).text


async def test_user_can_be_created_and_invited_by_link_shown_once(superadmin: Browser, tenants: TwoTenants) -> None:
    refused = await superadmin.send_form("/users", email="viewer@example.com", name="Vic")
    assert refused.status_code == 422
    assert "There is a user viewer@example.com already." in refused.text
    assert 'value="Vic"' in refused.text
    created = await superadmin.send_form("/users", email="Grace@example.com", name="Grace")
    page = created.headers["location"]
    redirect = await superadmin.send_form(f"{page}/sign-in-link")
    assert (redirect.status_code, redirect.headers["location"]) == (303, page)
    assert "wsl_" not in redirect.headers["set-cookie"]
    found = LINK.search((await superadmin.open(page)).text)
    assert found
    assert not LINK.search((await superadmin.open(page)).text), "shown once"
    link = unescape(found[1])
    assert "Sign in as Grace" in (await superadmin.open(link)).text
    token = link.partition("token=")[2]
    await superadmin.send_form("/sign-in/link", token=token)
    assert "grace@example.com" in (await superadmin.open("/sessions")).text
    await superadmin.sign_in(tenants.keys["superadmin"])
    assert "does not work any more" in (await superadmin.send_form("/sign-in/link", token=token)).text


async def test_link_is_not_shown_on_the_page_of_another_user(superadmin: Browser, tenants: TwoTenants) -> None:
    viewer, editor = (f"/users/{tenants.users[kind]}" for kind in ("viewer", "editor"))
    await superadmin.send_form(f"{viewer}/sign-in-link")
    (cookie,) = [cookie for cookie in superadmin.cookies.jar if cookie.name == "windsock_secret"]
    superadmin.cookies.set("windsock_secret", cookie.value or "", path="/")
    assert not LINK.search((await superadmin.open(editor)).text)


async def test_deactivation_is_confirmed_and_signs_user_out(
    superadmin: Browser, client: ValidatingClient, tenants: TwoTenants
) -> None:
    """Defect 6: no page, operation or command deactivated a user."""
    page = f"/users/{tenants.users['editor']}"
    confirmation = await superadmin.send_form(f"{page}/deactivate")
    assert "Deactivate Editor?" in confirmation.text
    assert (await client.as_(tenants.keys["editor"], "GET", "/users/me")).status_code == 200
    await superadmin.send_form(f"{page}/deactivate", confirmed="true")
    assert (await client.as_(tenants.keys["editor"], "GET", "/users/me")).status_code == 401
    shown = (await superadmin.open(page)).text
    assert "The user is deactivated and signed out everywhere." in shown
    assert "sign-in-link" not in main_of(shown)
    assert (await superadmin.send_form(f"{page}/sign-in-link")).status_code == 409
    await superadmin.send_form(f"{page}/reactivate")
    assert "The user is active again." in (await superadmin.open(page)).text
    assert (await client.as_(tenants.keys["editor"], "GET", "/users/me")).status_code == 401, "the key stays revoked"


async def test_only_superadmin_cannot_give_up_or_deactivate(superadmin: Browser, tenants: TwoTenants) -> None:
    own = f"/users/{tenants.users['superadmin']}"
    refused = await superadmin.send_form(own, name="Boss")
    assert refused.status_code == 422
    assert "without a superadmin. Make somebody else superadmin first." in main_of(refused.text)
    for fields in ({}, {"confirmed": "true"}):
        refused = await superadmin.send_form(f"{own}/deactivate", **fields)
        assert refused.status_code == 409
        assert "without a superadmin." in refused.text
    other = f"/users/{tenants.users['viewer']}"
    await superadmin.send_form(other, name="Viewer", is_superadmin="true")
    done = await superadmin.send_form(own, name="Boss")
    assert (done.status_code, done.headers["location"]) == (303, "/")
    assert (await superadmin.open(other)).status_code == 403


@pytest.mark.parametrize("action", ["", "/deactivate", "/reactivate", "/sign-in-link"])
async def test_unknown_user_is_404(superadmin: Browser, action: str) -> None:
    path = f"/users/0191f1a0-0000-7000-8000-000000000000{action}"
    response = await superadmin.send_form(path, name="x")
    assert response.status_code == 404
    assert "There is no such user." in response.text


async def test_page_of_user_shows_memberships(superadmin: Browser, tenants: TwoTenants) -> None:
    text = main_of((await superadmin.open(f"/users/{tenants.users['stranger']}")).text)
    assert re.findall(r'href="/spaces/(\w+)/members"', text) == ["marketing"]


async def test_space_can_be_created_with_caller_as_admin(
    superadmin: Browser, client: ValidatingClient, tenants: TwoTenants
) -> None:
    for form, sentence in (
        ({"name": "Sales", "slug": "finance"}, "There is a space finance already"),
        ({"name": "Sales", "slug": "Sales!"}, "Use 1 to 63 lower-case letters, digits and hyphens"),
        ({"name": "", "slug": "sales"}, "Fill in this field."),
    ):
        refused = await superadmin.send_form("/spaces", **form)
        assert refused.status_code == 422
        assert sentence in main_of(refused.text)
        assert f'value="{form["slug"]}"' in refused.text
    created = await superadmin.send_form("/spaces", name="Sales", slug="sales")
    assert (created.status_code, created.headers["location"]) == (303, "/spaces/sales/members")
    assert "The space is created" in (await superadmin.open("/spaces/sales/members")).text
    members = (await client.as_(tenants.keys["superadmin"], "GET", "/spaces/sales/members")).json()
    assert [(row["email"], row["role"]) for row in members] == [("superadmin@example.com", "admin")]
    assert "/spaces/sales/settings" in (await superadmin.open("/spaces")).text
