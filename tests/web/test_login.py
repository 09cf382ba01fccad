"""Who signs in, how, and what a session is not."""

import re

import pytest

from conftest import RolledBackDatabase
from factories import TwoTenants
from validating_client import ValidatingClient
from web.conftest import OWN, SITE, Browser
from windsock.auth.authenticator import COOKIE
from windsock.auth.keys import hash_token
from windsock.auth.sessions import create_login_link
from windsock.db.queries import Query

pytestmark = pytest.mark.anyio

FLEET = "/spaces/finance/pipelines"


async def test_anonymous_user_is_redirected_to_sign_in_and_back(browser: Browser, tenants: TwoTenants) -> None:
    away = await browser.open(f"{FLEET}?q=a%20b&status=failed")
    assert (away.status_code, away.headers["location"]) == (
        303,
        "/sign-in?next=%2Fspaces%2Ffinance%2Fpipelines%3Fq%3Da%2520b%26status%3Dfailed",
    )
    form = await browser.open(away.headers["location"])
    assert form.status_code == 200
    assert 'name="next" value="/spaces/finance/pipelines?q=a%20b&amp;status=failed"' in form.text
    back = await browser.sign_in(tenants.keys["viewer"], f"{FLEET}?q=a%20b")
    assert (back.status_code, back.headers["location"]) == (303, f"{FLEET}?q=a%20b")
    assert (await browser.open(FLEET)).status_code == 200


async def test_htmx_request_without_session_is_401_with_redirect_header(browser: Browser) -> None:
    response = await browser.open(FLEET, headers={"HX-Request": "true"})
    assert (response.status_code, response.headers["hx-redirect"], response.content) == (401, "/sign-in", b"")


async def test_refresh_or_form_without_session_leads_back_to_its_page(browser: Browser) -> None:
    page = f"{FLEET}?status=failed&q=a%20b"
    signing_in = "/sign-in?next=%2Fspaces%2Ffinance%2Fpipelines%3Fstatus%3Dfailed%26q%3Da%2520b"
    htmx = {"HX-Request": "true", "HX-Current-URL": SITE + page}
    refresh = await browser.get(f"{FLEET}?status=failed", headers=htmx)
    assert (refresh.status_code, refresh.headers["hx-redirect"]) == (401, signing_in)
    part = await browser.post(f"{FLEET}/x/watch", headers=OWN | htmx)
    assert (part.status_code, part.headers["hx-redirect"]) == (401, signing_in)
    form = await browser.post("/api-keys", data={"name": "x"}, headers=OWN | {"Referer": SITE + page})
    assert (form.status_code, form.headers["location"]) == (303, signing_in)
    for elsewhere in ("https://evil.example/", f"{SITE}//evil.example", "http://[x"):
        form = await browser.post("/api-keys", data={"name": "x"}, headers=OWN | {"Referer": elsewhere})
        assert form.headers["location"] == "/sign-in"


async def test_form_behind_proxy_without_host_header_is_403_page_that_names_the_cause(
    browser: Browser, tenants: TwoTenants
) -> None:
    headers = {"Origin": "https://windsock.example.com", "Accept": "text/html,*/*"}
    response = await browser.post("/sign-in", data={"api_key": tenants.keys["viewer"]}, headers=headers)
    assert (response.status_code, response.headers["content-type"]) == (403, "text/html; charset=utf-8")
    assert "sent from https://windsock.example.com" in response.text
    assert "must pass the Host header" in response.text


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "javascript:alert(1)",
        "x",
        "/a\nb",
    ],
)
async def test_sign_in_never_redirects_to_other_site(browser: Browser, tenants: TwoTenants, target: str) -> None:
    response = await browser.sign_in(tenants.keys["viewer"], target)
    assert (response.status_code, response.headers["location"]) == (303, "/")


async def test_session_cookie_is_hardened_and_token_stored_as_hash(
    browser: Browser, tenants: TwoTenants, db: RolledBackDatabase
) -> None:
    response = await browser.sign_in(tenants.keys["viewer"])
    (cookie,) = response.headers.get_list("set-cookie")
    assert {"HttpOnly", "SameSite=lax", "Path=/", "Max-Age=2592000"} <= set(cookie.split("; "))
    token = response.cookies[COOKIE]
    assert token.startswith("wss_")
    async with db.transaction() as tx:
        rows = await tx.fetch_all(Query("SELECT token_hash, s::text AS whole FROM sessions s"))
    assert [row["token_hash"] for row in rows] == [hash_token(token)]
    assert token not in rows[0]["whole"]
    secure = await browser.post(f"https{SITE[4:]}/sign-in", data={"api_key": tenants.keys["viewer"]}, headers=OWN)
    assert "Secure" in secure.headers["set-cookie"]


@pytest.mark.parametrize(
    "key", ["", "wsk_no_such_key", "x" * 400, "\udcff".encode("utf-8", "surrogateescape").decode("latin-1")]
)
async def test_invalid_key_cannot_sign_in(browser: Browser, key: str) -> None:
    response = await browser.sign_in(key)
    assert response.status_code == 401
    assert "unknown, expired or revoked" in response.text
    assert not browser.cookies
    if key:
        assert key not in response.text


async def test_revoked_key_cannot_sign_in(browser: Browser, tenants: TwoTenants) -> None:
    assert (await browser.sign_in(tenants.keys["revoked"])).status_code == 401


async def test_session_ends_with_its_api_key(viewer: Browser, tenants: TwoTenants, db: RolledBackDatabase) -> None:
    assert (await viewer.open(FLEET)).status_code == 200
    revoke = Query("UPDATE api_keys SET revoked_at = now() WHERE key_hash = %(key_hash)s")
    async with db.transaction() as tx:
        await tx.execute(revoke, key_hash=hash_token(tenants.keys["viewer"]))
    assert (await viewer.open(FLEET)).status_code == 303


async def test_session_token_and_api_key_are_not_interchangeable(
    browser: Browser, tenants: TwoTenants, client: ValidatingClient
) -> None:
    token = (await browser.sign_in(tenants.keys["viewer"])).cookies[COOKIE]
    assert (await client.as_(token, "GET", "/users/me")).status_code == 401
    assert (await client.request("GET", "/users/me", headers={"Cookie": f"{COOKIE}={token}"})).status_code == 401
    browser.cookies.clear()
    browser.cookies.set(COOKIE, tenants.keys["viewer"])
    assert (await browser.open(FLEET)).status_code == 303


async def test_cross_site_form_is_403_without_effect(viewer: Browser, tenants: TwoTenants) -> None:
    some = next(iter(tenants.finance.pipelines.values()))
    for headers in (
        {},
        {"Origin": "https://evil.example"},
        {"Sec-Fetch-Site": "cross-site", "Origin": SITE},
        {"Sec-Fetch-Site": "same-site", "Origin": SITE},
    ):
        for path in (f"{FLEET}/{some}/watch", "/sign-out", "/sign-in", "/sign-in/link"):
            response = await viewer.post(path, data={"watched": "true"}, headers=headers)
            assert response.status_code == 403, path
    assert (await viewer.open(FLEET)).status_code == 200
    plain_http = await viewer.post("/sign-out", headers={"Origin": SITE})  # over HTTP browsers send only this
    assert plain_http.status_code == 303


async def test_sign_out_revokes_session_token(viewer: Browser) -> None:
    token = viewer.cookies[COOKIE]
    response = await viewer.send_form("/sign-out")
    assert (response.status_code, response.headers["location"]) == (303, "/sign-in")
    assert COOKIE not in viewer.cookies
    viewer.cookies.set(COOKIE, token)
    assert (await viewer.open(FLEET)).status_code == 303


async def test_sessions_are_listed_and_revoked_only_by_owner(browser: Browser, tenants: TwoTenants) -> None:
    for key in ("viewer", "editor"):
        await browser.sign_in(tenants.keys[key])
    other = browser.cookies[COOKIE]
    browser.headers["User-Agent"] = "<script>alert(1)</script>"
    await browser.sign_in(tenants.keys["viewer"])
    shown = await browser.open("/sessions")
    ids = re.findall(r'action="/sessions/([0-9a-f-]{36})/end"', shown.text)
    assert 'action="/sessions/end-others"' in shown.text
    assert len(ids) == 2
    assert "&lt;script&gt;alert(1)&lt;/script&gt; <strong>(this one)" in shown.text
    mine = browser.cookies[COOKIE]
    browser.cookies.set(COOKIE, other, domain="windsock.test")
    browser.cookies.clear()
    browser.cookies.set(COOKIE, other)
    assert (await browser.send_form(f"/sessions/{ids[0]}/end")).status_code == 404
    browser.cookies.clear()
    browser.cookies.set(COOKIE, mine)
    confirmation = await browser.send_form(f"/sessions/{ids[0]}/end")
    assert (confirmation.status_code, "Sign out this browser?" in confirmation.text) == (200, True)
    assert (await browser.open("/sessions")).status_code == 200, "nothing is ended yet"
    assert (await browser.send_form(f"/sessions/{ids[0]}/end", confirmed="true")).status_code == 303
    assert (await browser.open("/sessions")).status_code == 303, "that was this one"


async def test_confirmation_names_the_other_session(browser: Browser, tenants: TwoTenants) -> None:
    browser.headers["User-Agent"] = "Old <b>phone</b>"
    await browser.sign_in(tenants.keys["viewer"])
    browser.headers["User-Agent"] = "Laptop"
    await browser.sign_in(tenants.keys["viewer"])
    ids = re.findall(r'action="/sessions/([0-9a-f-]{36})/end"', (await browser.open("/sessions")).text)
    confirmation = await browser.send_form(f"/sessions/{ids[1]}/end")
    assert "Sign out “Old &lt;b&gt;phone&lt;/b&gt;”?" in confirmation.text
    await browser.send_form(f"/sessions/{ids[1]}/end", confirmed="true")
    shown = (await browser.open("/sessions")).text
    assert "The session is ended" in shown or 'class="toast"' in shown
    assert "phone" not in shown


async def test_end_others_revokes_all_other_sessions_of_user(browser: Browser, tenants: TwoTenants) -> None:
    tokens = []
    for key in ("viewer", "viewer", "editor", "viewer"):
        await browser.sign_in(tenants.keys[key])
        tokens.append(browser.cookies[COOKIE])
    confirmation = await browser.send_form("/sessions/end-others")
    assert (confirmation.status_code, "Sign out all other browsers?" in confirmation.text) == (200, True)
    assert (await browser.open("/sessions")).text.count("</tr>") == 4, "nothing is ended yet"
    assert (await browser.send_form("/sessions/end-others", confirmed="true")).status_code == 303
    shown = await browser.open("/sessions")
    assert shown.text.count("<strong>(this one)") == 1
    assert "end-others" not in shown.text, "there is none any more"
    found = {}
    for token in tokens:
        browser.cookies.clear()
        browser.cookies.set(COOKIE, token)
        found[token] = (await browser.open(FLEET)).status_code
    assert list(found.values()) == [303, 303, 200, 200], "somebody else's stays"


async def test_expired_session_is_invalid_and_deleted_at_next_sign_in(
    viewer: Browser, tenants: TwoTenants, db: RolledBackDatabase
) -> None:
    async with db.transaction() as tx:
        await tx.execute(Query("UPDATE sessions SET expires_at = now() - interval '1 second'"))
    assert (await viewer.open(FLEET)).status_code == 303
    await viewer.sign_in(tenants.keys["editor"])
    async with db.transaction() as tx:
        assert len(await tx.fetch_all(Query("SELECT FROM sessions"))) == 1


async def test_deactivated_user_is_signed_out(viewer: Browser, tenants: TwoTenants, db: RolledBackDatabase) -> None:
    async with db.transaction() as tx:
        await tx.execute(Query("UPDATE users SET is_active = false WHERE id = %(id)s"), id=tenants.users["viewer"])
    assert (await viewer.open(FLEET)).status_code == 303


async def test_login_link_signs_in_once_and_is_not_consumed_by_get(
    browser: Browser, tenants: TwoTenants, db: RolledBackDatabase
) -> None:
    async with db.transaction() as tx:
        token = await create_login_link(tx, tenants.users["viewer"])
    for _ in range(2):
        opened = await browser.open(f"/sign-in/link?token={token}")
        assert opened.status_code == 200
        assert not browser.cookies
    used = await browser.send_form("/sign-in/link", token=token)
    assert (used.status_code, used.headers["location"]) == (303, "/")
    assert (await browser.open(FLEET)).status_code == 200
    again = await browser.send_form("/sign-in/link", token=token)
    assert again.status_code == 401
    assert "does not work any more" in again.text


async def test_expired_login_link_cannot_sign_in(browser: Browser, tenants: TwoTenants, db: RolledBackDatabase) -> None:
    async with db.transaction() as tx:
        token = await create_login_link(tx, tenants.users["viewer"])
        await tx.execute(Query("UPDATE login_links SET expires_at = now() - interval '1 second'"))
    assert (await browser.open(f"/sign-in/link?token={token}")).status_code == 401
    assert (await browser.send_form("/sign-in/link", token=token)).status_code == 401


@pytest.mark.parametrize(
    ("target", "location"),
    [
        ("/spaces/finance/pipelines?q=Überfällig", "/spaces/finance/pipelines?q=%C3%9Cberf%C3%A4llig"),
        ("/spaces/finance/pipelines?q=数据", "/spaces/finance/pipelines?q=%E6%95%B0%E6%8D%AE"),
        ("/spaces/finance/pipelines?q=a%20b&tag=€", "/spaces/finance/pipelines?q=a%20b&tag=%E2%82%AC"),
        ("/😀", "/%F0%9F%98%80"),
        ("/[x", "/[x"),
        ("//[x", "/"),
        ("//℀.example", "/"),
    ],
)
async def test_sign_in_redirect_encodes_non_ascii_url(
    browser: Browser, tenants: TwoTenants, target: str, location: str
) -> None:
    response = await browser.sign_in(tenants.keys["viewer"], target)
    assert (response.status_code, response.headers["location"]) == (303, location)


async def test_sign_in_redirect_of_non_ascii_url_can_be_opened(browser: Browser, tenants: TwoTenants) -> None:
    away = await browser.open(f"{FLEET}?q=数据")
    form = await browser.open(away.headers["location"])
    assert form.status_code == 200
    back = await browser.sign_in(tenants.keys["viewer"], f"{FLEET}?q=数据")
    assert (await browser.open(back.headers["location"])).status_code == 200
