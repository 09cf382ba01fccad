"""API keys and sessions of the signed-in user: created once, confirmed before they are revoked."""

import re
from html import unescape

import pytest

from factories import TwoTenants
from validating_client import ValidatingClient
from web.conftest import OWN, Browser
from windsock.web.shown_once import COOKIE as NEW_KEY_COOKIE

pytestmark = pytest.mark.anyio

NEW_KEY = re.compile(r'<code class="key" id="new-key-value">(wsk_[^<]+)</code>')


async def create_key(browser: Browser, **fields: str) -> str:
    """Create a key in the pages and return it."""
    created = await browser.send_form("/api-keys", **fields)
    assert (created.status_code, created.headers["location"]) == (303, "/api-keys")
    found = NEW_KEY.search((await browser.open("/api-keys")).text)
    assert found
    return unescape(found[1])


async def test_new_key_is_shown_once_and_reload_creates_no_other(
    viewer: Browser, client: ValidatingClient, tenants: TwoTenants
) -> None:
    key = await create_key(viewer, name="<b>report</b>", days="30")
    assert (await client.as_(key, "GET", "/users/me")).json()["id"] == str(tenants.users["viewer"])
    again = await viewer.open("/api-keys")
    assert key not in again.text
    assert again.headers["cache-control"] == "private, no-store"
    assert again.text.count("&lt;b&gt;report&lt;/b&gt;</td>") == 1


async def test_cookie_of_new_key_is_encrypted_short_lived_and_bound_to_its_user(
    viewer: Browser, tenants: TwoTenants
) -> None:
    created = await viewer.send_form("/api-keys", name="x")
    (cookie,) = created.headers.get_list("set-cookie")
    assert {"HttpOnly", "SameSite=strict", "Path=/api-keys", "Max-Age=60"} <= set(cookie.split("; "))
    assert "wsk_" not in cookie
    await viewer.sign_in(tenants.keys["editor"])
    shown = await viewer.open("/api-keys")
    assert not NEW_KEY.search(shown.text), "another user in the same browser does not see it"
    assert f'{NEW_KEY_COOKIE}="";' in shown.headers["set-cookie"]


@pytest.mark.parametrize("value", ["x", "gAAAA", "\xff", "wsk_x"])
async def test_forged_cookie_of_new_key_is_ignored(viewer: Browser, value: str) -> None:
    headers = {b"Cookie": f"{NEW_KEY_COOKIE}={value}; ".encode("latin-1") + cookies(viewer)}
    response = await viewer.get("/api-keys", headers=headers)
    assert response.status_code == 200
    assert not NEW_KEY.search(response.text)


def cookies(browser: Browser) -> bytes:
    return "; ".join(f"{name}={value}" for name, value in browser.cookies.items()).encode()


@pytest.mark.parametrize(
    ("fields", "field", "sentence"),
    [
        ({"name": " "}, "name", "Fill in this field."),
        ({"name": "x" * 201}, "name", "Use at most 200 characters."),
        ({"days": "0"}, "days", "Enter 1 or more."),
        ({"days": "3651"}, "days", "Enter 3650 or less."),
        ({"days": "soon"}, "days", "Enter a whole number."),
    ],
)
async def test_refused_key_form_shows_error_at_field_and_keeps_input(
    viewer: Browser, fields: dict[str, str], field: str, sentence: str
) -> None:
    before = (await viewer.open("/api-keys")).text.count("/revoke")
    sent = {"name": "kept", "days": "7"} | fields
    response = await viewer.send_form("/api-keys", **sent)
    assert response.status_code == 422
    error = re.search(r'aria-invalid="true" aria-describedby="(form-(\w+)-error)"', response.text)
    assert error
    assert error[2] == field
    assert f'id="{error[1]}" role="alert" dir="auto">{sentence}<' in response.text
    for name, value in sent.items():
        assert f'name="{name}"' in response.text
        assert f'value="{value}"' in response.text
    assert (await viewer.open("/api-keys")).text.count("/revoke") == before


async def test_key_is_revoked_after_confirmation_only(
    viewer: Browser, client: ValidatingClient, tenants: TwoTenants
) -> None:
    key = await create_key(viewer, name="<b>report</b>")
    mine = (await client.as_(key, "GET", "/api-keys/me/api-keys")).json()
    (created_id,) = [row["id"] for row in mine if row["name"] == "<b>report</b>"]
    theirs = (await client.as_(tenants.keys["editor"], "GET", "/api-keys/me/api-keys")).json()[0]["id"]
    for confirmed in ({}, {"confirmed": "true"}):
        assert (await viewer.send_form(f"/api-keys/{theirs}/revoke", **confirmed)).status_code == 404
    path = f"/api-keys/{created_id}/revoke"
    confirmation = await viewer.send_form(path)
    assert confirmation.status_code == 200
    assert "Revoke the API key “&lt;b&gt;report&lt;/b&gt;”?" in confirmation.text
    assert f'<form method="post" action="{path}"' in confirmation.text
    dialog = await viewer.post(path, headers=OWN | {"HX-Request": "true"})
    assert "<main" not in dialog.text
    assert 'name="confirmed" value="true"' in dialog.text
    assert (await client.as_(key, "GET", "/users/me")).status_code == 200, "nothing is revoked yet"
    done = await viewer.send_form(path, confirmed="true")
    assert (done.status_code, done.headers["location"]) == (303, "/api-keys")
    assert "The API key is revoked." in (await viewer.open("/api-keys")).text
    assert (await client.as_(key, "GET", "/users/me")).status_code == 401


@pytest.mark.parametrize(
    "value", ["nothing.0", "key_revoked", "key_revoked.x", "<script>", "KEY_REVOKED.0", "key_revoked.0.0", '"', ""]
)
async def test_cookie_with_unknown_notice_shows_nothing(viewer: Browser, value: str) -> None:
    response = await viewer.get(
        "/api-keys", headers={b"Cookie": f"windsock_notice={value}; ".encode() + cookies(viewer)}
    )
    assert response.status_code == 200
    assert 'class="toast"' not in response.text
