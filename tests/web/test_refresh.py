"""The refresh of an open page is conditional: 304 while nothing changed, and never for somebody else."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from conftest import RolledBackDatabase
from factories import TwoTenants
from statements import count_statements
from validating_client import ValidatingClient
from web.conftest import OWN, Browser
from windsock.web import templates

pytestmark = pytest.mark.anyio

PATHS = pytest.mark.parametrize("path", ["/spaces/finance/pipelines?days=30", "/spaces/finance/timeline?hours=6"])
REFRESH = {"HX-Request": "true"}
NOON = datetime.fromisoformat("2026-11-29T12:00:30+00:00")


class Clock(datetime):
    """A clock that the test moves."""

    current = NOON

    @classmethod
    def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]  # a fixed time
        return cls.current.astimezone(tz)


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Clock, "current", NOON)
    monkeypatch.setattr(templates, "datetime", Clock)


async def etag_of(browser: Browser, path: str) -> str:
    response = await browser.open(path, headers=REFRESH)
    assert response.status_code == 200
    assert response.headers["cache-control"] == "private, no-cache"
    assert response.headers["vary"] == "Cookie, HX-Request"
    etag: str = response.headers["etag"]
    return etag


async def refresh(browser: Browser, path: str, etag: str) -> int:
    response = await browser.get(path, headers={**REFRESH, "If-None-Match": etag})
    assert response.status_code != 304 or (response.content, response.headers["etag"]) == (b"", etag)
    return response.status_code


@PATHS
async def test_unchanged_page_is_304_and_executes_authorisation_only(
    viewer: Browser, db: RolledBackDatabase, path: str
) -> None:
    etag = await etag_of(viewer, path)
    executed = count_statements(db)
    assert await refresh(viewer, path, etag) == 304
    assert len([statement for statement in executed if "set_config" not in statement]) == 1, executed


@PATHS
async def test_write_in_space_makes_refresh_200(
    viewer: Browser, client: ValidatingClient, tenants: TwoTenants, path: str
) -> None:
    etag = await etag_of(viewer, path)
    watched = f"/spaces/finance/orchestration/pipelines/{tenants.finance.pipelines['daily_report']}/watch"
    assert (await client.as_(tenants.keys["viewer"], "PUT", watched)).status_code == 204
    assert await refresh(viewer, path, etag) == 200
    assert await etag_of(viewer, path) != etag


@PATHS
async def test_next_minute_makes_refresh_200(viewer: Browser, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    """Ages are rendered by the server."""
    etag = await etag_of(viewer, path)
    monkeypatch.setattr(Clock, "current", NOON + timedelta(seconds=29))
    assert await refresh(viewer, path, etag) == 304
    monkeypatch.setattr(Clock, "current", NOON + timedelta(seconds=30))
    assert await refresh(viewer, path, etag) == 200


@PATHS
async def test_other_user_role_and_query_have_other_etags(
    viewer: Browser, tenants: TwoTenants, db: RolledBackDatabase, path: str
) -> None:
    etag = await etag_of(viewer, path)
    assert await etag_of(viewer, path + "&q=a") != etag
    await db.connection.execute("UPDATE memberships SET role = 'editor' WHERE user_id = %s", (tenants.users["viewer"],))
    assert await refresh(viewer, path, etag) == 200
    assert (await viewer.sign_in(tenants.keys["superadmin"])).status_code == 303
    assert await refresh(viewer, path, etag) == 200


@PATHS
async def test_refresh_after_sign_out_leads_to_login_page(viewer: Browser, path: str) -> None:
    etag = await etag_of(viewer, path)
    assert (await viewer.post("/sign-out", headers=OWN)).status_code == 303
    response = await viewer.get(path, headers={**REFRESH, "If-None-Match": etag})
    assert (response.status_code, response.headers["hx-redirect"]) == (401, "/sign-in")
    assert "etag" not in response.headers


@PATHS
async def test_whole_page_is_never_stored_and_never_304(viewer: Browser, path: str) -> None:
    """Its layout shows more than the space: the caller, and other spaces."""
    etag = await etag_of(viewer, path)
    for headers in ({}, {**REFRESH, "HX-History-Restore-Request": "true"}):
        response = await viewer.open(path, headers={**headers, "If-None-Match": etag})
        assert response.status_code == 200
        assert response.headers["cache-control"] == "private, no-store"
        assert "etag" not in response.headers
