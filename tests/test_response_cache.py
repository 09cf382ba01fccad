"""The room that a process has for answers, their gzip, and who gets which."""

import asyncio
import gzip
from typing import Any

import orjson
import pytest
from prometheus_client import REGISTRY

from factories import TwoTenants
from validating_client import ValidatingClient
from windsock import response_cache
from windsock.access.space import Space
from windsock.errors import Unavailable
from windsock.pagination import Payload
from windsock.response_cache import CachedHandler, CacheEntry, ResponseCache, SingleFlight, no_vary
from windsock.runs.store import list_runs_of_space

pytestmark = pytest.mark.anyio

SPACE = "/spaces/finance/orchestration"


@pytest.mark.parametrize(
    ("accepts", "is_packed"),
    [("gzip", True), ("br, gzip;q=0.5", True), ("*", True), ("identity", False), ("gzip;q=0", False), ("", False)],
)
async def test_gzip_for_who_takes_it(
    client: ValidatingClient, tenants: TwoTenants, accepts: str, is_packed: bool
) -> None:
    key = tenants.keys["viewer"]
    for _ in range(2):  # made, and kept
        request = client.build_request(
            "GET", "/spaces/finance/orchestration/pipelines", headers={"Authorization": f"Bearer {key}"}
        )
        request.headers["Accept-Encoding"] = accepts
        response = await client.send(request, stream=True)
        raw = b"".join([part async for part in response.aiter_raw()]) if not response.is_closed else response.content
        assert (response.headers.get("content-encoding") == "gzip") == is_packed
        plain = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
        assert [row["name"] for row in orjson.loads(plain)] == ["daily_report", "hourly_load", "never_run"]


async def test_if_none_match_asterisk_matches_existing_response_only(
    client: ValidatingClient, tenants: TwoTenants
) -> None:
    key, any_ = tenants.keys["viewer"], {"If-None-Match": "*"}
    there = await client.as_(key, "GET", f"{SPACE}/runs/{tenants.finance.run_id}", headers=any_)
    assert there.status_code == 304
    missing = await client.as_(key, "GET", f"{SPACE}/runs/{tenants.marketing.run_id}", headers=any_)
    assert missing.status_code == 404


def test_response_cache_is_bounded_and_evicts_least_recently_used() -> None:
    stored = ResponseCache(100_000)
    for number in range(50):
        stored.put(str(number), CacheEntry(Payload(b"x" * 5_000)))
        stored.get("0")
        assert stored.size <= 100_000
    assert stored.get("0") is not None
    assert stored.get("1") is None
    stored.put("huge", CacheEntry(Payload(b"x" * 20_000)))
    assert stored.get("huge") is None, "an eighth of the room is the most"
    grown = stored.get("49")
    assert grown is not None
    grown.gzipped = b"y" * 3_000
    stored.put("49", grown)
    assert stored.size == sum(stored._sizes.values()) == sum(entry.size for entry in stored._entries.values())
    assert response_cache.MAX_ENTRY_FRACTION == 8


async def test_cache_without_capacity_stores_no_entries(client: ValidatingClient, tenants: TwoTenants) -> None:
    client._app.state.answers = ResponseCache(0)
    for _ in range(2):
        assert (await client.as_(tenants.keys["viewer"], "GET", f"{SPACE}/runs")).status_code == 200
    assert client._app.state.answers.size == 0


async def test_concurrent_requests_build_and_compress_response_once(
    client: ValidatingClient, tenants: TwoTenants, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everybody's list is made anew where a minute begins: by the first who asks, for all the others."""
    created = packed = 0
    the_list, pack = list_runs_of_space, response_cache._gzip

    async def slow_list(*args: Any, **more: Any) -> Any:
        nonlocal created
        created += 1
        await asyncio.sleep(0.1)
        return await the_list(*args, **more)

    async def slow_pack(stored: CacheEntry) -> bytes:
        nonlocal packed
        packed += 1
        await asyncio.sleep(0.1)
        return await pack(stored)

    monkeypatch.setattr("windsock.runs.routes.list_runs_of_space", slow_list)
    monkeypatch.setattr(response_cache, "_gzip", slow_pack)
    headers = {"Accept-Encoding": "gzip"}

    async def ask(who: str, path: str = f"{SPACE}/runs?size=100") -> bytes:
        response = await client.as_(tenants.keys[who], "GET", path, headers=headers)
        assert response.status_code == 200
        return response.content

    bodies = await asyncio.gather(*(ask("viewer") for _ in range(20)))
    assert (len(set(bodies)), created, packed) == (1, 1, 1)
    others = [await ask("editor"), await ask("viewer", f"{SPACE}/runs?size=1"), await ask("viewer")]
    assert created == 3, "another person and another page are answers of their own"
    assert others[0] == others[2] == bodies[0] != others[1]
    assert not client._app.state.answers.builds._tasks


async def test_cancelled_caller_does_not_cancel_shared_build() -> None:
    under_way, let = SingleFlight[str](), asyncio.Event()

    async def make() -> str:
        await let.wait()
        return "made"

    async def fail() -> str:
        await let.wait()
        raise LookupError

    first, stays = (asyncio.create_task(under_way.do("a", make)) for _ in range(2))
    failed = [asyncio.create_task(under_way.do("b", fail)) for _ in range(3)]
    await asyncio.sleep(0)
    first.cancel()
    let.set()
    assert await stays == "made"
    assert first.cancelled()
    assert [type(item) for item in await asyncio.gather(*failed, return_exceptions=True)] == [LookupError] * 3
    assert await under_way.do("b", make) == "made", "what failed is tried again"
    assert not under_way._tasks


REFUSED = [("stranger", 403), ("revoked", 401)]


@pytest.mark.parametrize("path", [f"{SPACE}/pipelines?days=30", f"{SPACE}/runs"])
async def test_cached_response_is_served_to_authorized_callers_only(
    client: ValidatingClient, tenants: TwoTenants, path: str
) -> None:
    """It is answered without looking through the request again, but not without asking who sends it."""
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


async def test_what_is_watched_is_each_persons_own_also_where_the_request_is_known(
    client: ValidatingClient, tenants: TwoTenants
) -> None:
    path, some = f"{SPACE}/pipelines", next(iter(tenants.finance.pipelines.values()))
    for _ in range(2):
        assert not any(item["is_watched"] for item in (await client.as_(tenants.keys["editor"], "GET", path)).json())
    await client.as_(tenants.keys["editor"], "PUT", f"{path}/{some}/watch")
    mine = (await client.as_(tenants.keys["editor"], "GET", path)).json()
    assert [row["id"] for row in mine if row["is_watched"]] == [str(some)]
    theirs = (await client.as_(tenants.keys["superadmin"], "GET", path)).json()
    assert not any(their["is_watched"] for their in theirs)


async def test_a_known_request_is_counted_under_its_route_and_has_its_id(
    client: ValidatingClient, tenants: TwoTenants
) -> None:
    route = "/spaces/{slug}/orchestration/runs"
    path = f"{SPACE}/runs?size=7"

    def counted() -> float:
        return (
            REGISTRY.get_sample_value(
                "windsock_http_requests_total", {"method": "GET", "route": route, "status": "200"}
            )
            or 0.0
        )

    await client.as_(tenants.keys["viewer"], "GET", path)
    before = counted()
    response = await client.as_(tenants.keys["viewer"], "GET", path, headers={"X-Request-ID": "known"})
    assert (counted() - before, response.headers["x-request-id"]) == (1, "known")


async def _nothing(_space: Space, _timestamp: object) -> Payload:
    return Payload(b"[]")


async def test_repeated_request_is_rebuilt_without_its_route(
    client: ValidatingClient, tenants: TwoTenants, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"{SPACE}/runs?size=9"
    before = await client.as_(tenants.keys["viewer"], "GET", path)

    async def routed(*_: object, **__: object) -> None:
        raise AssertionError("it went through its route")

    monkeypatch.setattr("windsock.runs.routes.cached_response", routed)
    comment = {"content": "seen"}
    await client.as_(tenants.keys["viewer"], "POST", f"{SPACE}/runs/{tenants.finance.run_id}/comments", json=comment)
    after = await client.as_(tenants.keys["editor"], "GET", path)
    was, now = ({item["id"]: item["comment_count"] for item in response.json()} for response in (before, after))
    assert now == was | {str(tenants.finance.run_id): was[str(tenants.finance.run_id)] + 1}
    assert {name: after.headers[name] for name in ("x-total-count", "x-page", "x-page-size")} == {
        name: before.headers[name] for name in ("x-total-count", "x-page", "x-page-size")
    }


async def test_build_error_is_reported_by_route_without_retry(
    client: ValidatingClient, tenants: TwoTenants, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, tries = f"{SPACE}/runs?size=11", []
    await client.as_(tenants.keys["viewer"], "GET", path)

    async def broken(*_: object) -> None:
        tries.append("tried")
        raise Unavailable("Not now.", headers={"Retry-After": "5"})

    monkeypatch.setattr("windsock.runs.routes.list_runs_of_space", broken)
    response = await client.as_(tenants.keys["editor"], "GET", path)
    assert (response.status_code, response.json(), tries) == (503, {"detail": "Not now."}, ["tried"])
    assert response.headers["retry-after"] == "5"


def test_requests_that_are_known_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(response_cache, "MAX_HANDLERS", 3)
    stored = ResponseCache(0)
    scopes = [{"path": f"/{number}", "query_string": b""} for number in range(5)]
    for scope in scopes:
        stored.register_handler(scope, CachedHandler("finance", None, no_vary, _nothing))
    assert [stored.lookup_handler(scope) is not None for scope in scopes] == [False, False, True, True, True]
    long = {"path": "/long", "query_string": b"q=" + b"x" * response_cache.MAX_HANDLER_QUERY_BYTES}
    stored.register_handler(long, CachedHandler("finance", None, no_vary, _nothing))
    assert stored.lookup_handler(long) is None
