"""Conditional GET: 304 without reading, for whom, and how it is counted."""

from datetime import timedelta

import pytest
from prometheus_client import REGISTRY

from conftest import RolledBackDatabase
from factories import TwoTenants
from statements import count_statements
from validating_client import ValidatingClient
from windsock.http import etag
from windsock.pipelines.stats import StatsWindow

pytestmark = pytest.mark.anyio

SPACE = "/spaces/finance/orchestration"


async def test_if_none_match_asterisk_matches_existing_response_only(
    client: ValidatingClient, tenants: TwoTenants
) -> None:
    key, any_ = tenants.keys["viewer"], {"If-None-Match": "*"}
    there = await client.as_(key, "GET", f"{SPACE}/runs/{tenants.finance.run_id}", headers=any_)
    assert there.status_code == 304
    missing = await client.as_(key, "GET", f"{SPACE}/runs/{tenants.marketing.run_id}", headers=any_)
    assert missing.status_code == 404


REFUSED = [("stranger", 403), ("revoked", 401)]


@pytest.mark.parametrize("path", [f"{SPACE}/pipelines?days=30", f"{SPACE}/runs"])
async def test_304_is_sent_to_authorized_callers_only(client: ValidatingClient, tenants: TwoTenants, path: str) -> None:
    for who in ("viewer", "editor", "viewer", "superadmin"):
        response = await client.as_(tenants.keys[who], "GET", path)
        assert response.status_code == 200
        again = await client.as_(tenants.keys[who], "GET", path, headers={"If-None-Match": response.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
    for who, status in REFUSED:
        refused = await client.as_(tenants.keys[who], "GET", path, headers={"If-None-Match": response.headers["etag"]})
        assert (refused.status_code, refused.headers.get("etag")) == (status, None)
    for value in ({}, {"Authorization": "Basic dXNlcjpwYXNz"}, {"Authorization": tenants.keys["viewer"]}):
        unauthenticated = await client.request("GET", path, headers=value)
        assert (unauthenticated.status_code, unauthenticated.headers.get("etag")) == (401, None)


async def test_watched_pipelines_are_private_to_caller(client: ValidatingClient, tenants: TwoTenants) -> None:
    path, some = f"{SPACE}/pipelines", next(iter(tenants.finance.pipelines.values()))
    for _ in range(2):
        assert not any(item["is_watched"] for item in (await client.as_(tenants.keys["editor"], "GET", path)).json())
    await client.as_(tenants.keys["editor"], "PUT", f"{path}/{some}/watch")
    mine = (await client.as_(tenants.keys["editor"], "GET", path)).json()
    assert [row["id"] for row in mine if row["is_watched"]] == [str(some)]
    theirs = (await client.as_(tenants.keys["superadmin"], "GET", path)).json()
    assert not any(their["is_watched"] for their in theirs)


async def test_304_is_counted_under_its_route_and_has_request_id(client: ValidatingClient, tenants: TwoTenants) -> None:
    route = "/spaces/{slug}/orchestration/runs"
    path = f"{SPACE}/runs?size=7"

    def counted() -> float:
        return (
            REGISTRY.get_sample_value(
                "windsock_http_requests_total", {"method": "GET", "route": route, "status": "304"}
            )
            or 0.0
        )

    first = await client.as_(tenants.keys["viewer"], "GET", path)
    before = counted()
    response = await client.as_(
        tenants.keys["viewer"], "GET", path, headers={"X-Request-ID": "known", "If-None-Match": first.headers["etag"]}
    )
    assert (counted() - before, response.headers["x-request-id"]) == (1, "known")


@pytest.mark.parametrize("path", [f"{SPACE}/pipelines?days=30", f"{SPACE}/runs"])
async def test_304_executes_authorisation_only(
    client: ValidatingClient, tenants: TwoTenants, db: RolledBackDatabase, path: str
) -> None:
    key = tenants.keys["viewer"]
    first = await client.as_(key, "GET", path)
    executed = count_statements(db)
    again = await client.as_(key, "GET", path, headers={"If-None-Match": first.headers["etag"]})
    assert again.status_code == 304
    assert len([statement for statement in executed if "set_config" not in statement]) == 1, executed
    assert {name: again.headers[name] for name in ("vary", "cache-control")} == {
        "vary": "Authorization, Accept, Accept-Encoding",
        "cache-control": "private, no-cache",
    }


async def test_etag_changes_when_stats_window_moves(
    client: ValidatingClient, tenants: TwoTenants, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, key = "/spaces/finance/orchestration/pipelines", tenants.keys["viewer"]
    first = await client.as_(key, "GET", path)
    later = StatsWindow.ending_now(7)
    later = StatsWindow(7, later.since.replace(year=later.since.year + 1))
    monkeypatch.setattr(StatsWindow, "ending_now", lambda _days: later)
    next_minute = etag.current_minute() + timedelta(minutes=1)
    monkeypatch.setattr(etag, "current_minute", lambda: next_minute)
    second = await client.as_(key, "GET", path, headers={"If-None-Match": first.headers["etag"]})
    assert second.status_code == 200
    assert second.json()[0]["summary"]["total_runs"] == 0
    third = await client.as_(key, "GET", path, headers={"If-None-Match": second.headers["etag"]})
    assert third.status_code == 304
