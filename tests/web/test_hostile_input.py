"""Nothing that a browser can send to a page is answered with a fault."""

import pytest

from factories import TwoTenants
from invariants.hostile_inputs import BODIES, IN_URLS
from validating_client import ValidatingClient
from web.conftest import OWN, Browser
from windsock.auth.authenticator import COOKIE

pytestmark = pytest.mark.anyio

FLEET = "/spaces/finance/pipelines"
QUERIES = ("q", "status", "sort", "days", "page", "size", "criticality", "team_id", "connector_id", "owner", "cursor")
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.mark.parametrize("value", IN_URLS)
async def test_hostile_url_never_causes_server_error(viewer: Browser, tenants: TwoTenants, value: str) -> None:
    some = next(iter(tenants.finance.pipelines.values()))
    paths = [f"{page}?{name}={value}" for page in (FLEET, f"{FLEET}/{some}", "/sign-in") for name in QUERIES]
    paths += [f"/sign-in?next={value}", f"/sign-in/link?token={value}", f"/static/{value}", f"/{value}"]
    paths += [f"/spaces/{value}/pipelines", f"{FLEET}/{value}", f"/spaces/finance/runs/{value}"]
    paths += [f"/spaces/finance/connectors/{value}", f"/spaces/finance/connectors?page={value}"]
    paths += [f"/spaces/finance/teams/{value}", f"/spaces/finance/settings?page={value}"]
    for path in paths:
        response = await viewer.get(path)
        assert response.status_code < 500, path


@pytest.mark.parametrize("value", IN_URLS)
async def test_hostile_form_value_never_causes_server_error(editor: Browser, tenants: TwoTenants, value: str) -> None:
    some = next(iter(tenants.finance.pipelines.values()))
    run = f"/spaces/finance/runs/{tenants.finance.run_id}"
    forms = [
        ("/sign-in", "api_key"),
        ("/sign-in", "next"),
        ("/sign-in/link", "token"),
        (f"{FLEET}/{some}/watch", "watched"),
        (f"{run}/comments", "content"),
        (f"{run}/task-runs/{tenants.finance.task_run_id}/comments", "content"),
        (f"/sessions/{value}/end", "x"),
        *(("/spaces/finance/connectors/new", field) for field in ("name", "base_url", "credentials", "history_days")),
        (f"/spaces/finance/connectors/{tenants.finance.connector_id}/edit", "name"),
        ("/api-keys", "name"),
        ("/api-keys", "days"),
        (f"/api-keys/{value}/revoke", "x"),
        (f"{FLEET}/govern", "pipeline"),
        (f"{FLEET}/govern", "team"),
        (f"{FLEET}/{some}/trigger", "conf"),
        (f"{FLEET}/{some}/trigger", "param:json:x"),
    ]
    for path, name in forms:
        response = await editor.post(path, content=f"{name}={value}&{value}".encode(), headers=OWN | FORM)
        is_airflow_away = path.endswith("/trigger") and response.status_code == 502
        assert response.status_code < 500 or is_airflow_away, f"{path} {name}"


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
@pytest.mark.parametrize(
    "kind", ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain", ""]
)
async def test_hostile_form_body_never_causes_server_error(
    editor: Browser, tenants: TwoTenants, body: bytes, kind: str
) -> None:
    trigger = f"{FLEET}/{tenants.finance.pipelines['daily_report']}/trigger"
    run = f"/spaces/finance/runs/{tenants.finance.run_id}/comments"
    for path in ("/sign-in/link", run, trigger, f"{FLEET}/govern", "/spaces/finance/connectors/new", "/api-keys"):
        response = await editor.post(path, content=body, headers=OWN | {"Content-Type": kind})
        assert response.status_code < 500 or (path == trigger and response.status_code == 502), path


async def test_unexpected_file_upload_is_rejected(editor: Browser, tenants: TwoTenants) -> None:
    trigger = f"{FLEET}/{tenants.finance.pipelines['daily_report']}/trigger"
    for path in (trigger, "/spaces/finance/connectors/new", f"{FLEET}/govern", "/api-keys"):
        response = await editor.post(path, files={"name": ("x.txt", b"x" * 100)}, headers=OWN)
        assert 400 <= response.status_code < 500, path


@pytest.mark.parametrize("cookie", [b"", b"\xff\xfe", b"x" * 7000, b'"', b"wss_", b"a=b; c", b"\xed\xa0\x80"])
async def test_hostile_cookie_redirects_to_sign_in(client: ValidatingClient, cookie: bytes) -> None:
    async with Browser(transport=client._transport, base_url="http://windsock.test") as browser:
        headers = {b"Cookie": COOKIE.encode() + b"=" + cookie, b"Accept": b"text/html"}
        response = await browser.get(FLEET, headers=headers)
        assert (response.status_code, response.headers["location"].partition("?")[0]) == (303, "/sign-in")


@pytest.mark.parametrize("header", ["referer", "origin", "sec-fetch-site", "user-agent", "hx-request", "accept"])
async def test_hostile_browser_header_never_causes_server_error(
    viewer: Browser, tenants: TwoTenants, header: str
) -> None:
    some = next(iter(tenants.finance.pipelines.values()))
    for value in (b"", b"\xff\xfe", b"x" * 5000, b"http://windsock.test/\xed\xa0\x80", b"http://windsock.test//evil"):
        headers = {**{key.encode(): text.encode() for key, text in OWN.items()}, header.title().encode(): value}
        for method, path in (("GET", FLEET), ("POST", f"{FLEET}/{some}/watch"), ("POST", "/sign-in")):
            response = await viewer.request(method, path, headers=headers)
            assert response.status_code < 500, f"{method} {path}"
