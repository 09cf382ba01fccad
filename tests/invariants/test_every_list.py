"""Every list is bounded, totally ordered, and costs the same number of queries however many rows there are."""

import re
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from uuid import UUID

import httpx2
import pytest
from fastapi import FastAPI

from conftest import RolledBackDatabase
from factories import TwoTenants
from invariants.bulk_rows import grow
from invariants.conftest import Ask
from invariants.operations import GETS, Operation, documented, ids_of, parameters
from statements import count_statements

pytestmark = pytest.mark.anyio

NO_LISTS = re.compile(r"\}$|/me$|/me/notifications$|/recipients$")
LISTS = [operation for operation in GETS if not NO_LISTS.search(operation.path)]
STORED_LISTS = [operation for operation in LISTS if not operation.path.endswith("/approvals")]
"""Approvals are read from Airflow each time; tests/actions/test_approvals.py pages through them."""
EVERY_LIST = pytest.mark.parametrize("operation", LISTS, ids=str)
EVERY_STORED_LIST = pytest.mark.parametrize("operation", STORED_LISTS, ids=str)
EVERY_GET = pytest.mark.parametrize("operation", GETS, ids=str)


def most(operation: Operation) -> tuple[int, int]:
    """The default size and the largest: pipelines, runs and incidents have the large ones."""
    return (100, 500) if operation.path.endswith(("/pipelines", "/runs", "/incidents")) else (20, 100)


@pytest.fixture
def path_of(tenants: TwoTenants, key_ids: dict[str, UUID]) -> Any:
    return lambda operation: operation.path.format(slug="finance", **ids_of(tenants, tenants.finance, key_ids))


def links(response: httpx2.Response) -> dict[str, str]:
    """RFC 8288: the targets by their relation."""
    found = re.findall(r'<([^>]*)>; rel="(\w+)"(?:, |$)', response.headers.get("link", ""))
    return {relation: target for target, relation in found}


def pages(response: httpx2.Response) -> dict[str, int]:
    return {
        relation: int(dict(parse_qsl(urlsplit(target).query))["page"]) for relation, target in links(response).items()
    }


async def test_every_paginated_operation_is_covered(bare_app: FastAPI) -> None:
    paged = {key for key, operation in documented(bare_app).items() if "page" in parameters(operation, "query")}
    assert paged == {(operation.method, operation.path) for operation in LISTS}


@EVERY_LIST
async def test_page_size_is_capped_and_invalid_pagination_is_rejected(
    ask: Ask, tenants: TwoTenants, path_of: Any, operation: Operation
) -> None:
    key, path = tenants.keys["superadmin"], path_of(operation)
    default, largest = most(operation)
    for size, value in ((None, default), (1, 1), (largest, largest), (largest + 1, largest), (10**30, largest)):
        response = await ask(key, "GET", path, params={} if size is None else {"size": size})
        assert response.status_code == 200
        assert response.headers["x-page-size"] == str(value)
        assert len(response.json()) <= value
    for query in ("size=0", "size=-1", "size=x", "size=", "size=1.5", "page=0", "page=-1", "page=", "page=NaN"):
        assert (await ask(key, "GET", f"{path}?{query}")).status_code == 422, query


@EVERY_STORED_LIST
async def test_page_past_end_is_empty_with_correct_total(
    ask: Ask, two_tenants_full: TwoTenants, path_of: Any, operation: Operation
) -> None:
    key, path = two_tenants_full.keys["superadmin"], path_of(operation)
    total = (await ask(key, "GET", path)).headers["x-total-count"]
    assert int(total) > 0
    for page in (int(total) + 1, 10**9, 10**18, 10**30):
        response = await ask(key, "GET", path, params={"size": 1, "page": page})
        assert (response.status_code, response.json()) == (200, [])
        assert (response.headers["x-total-count"], response.headers["x-total-pages"]) == (total, total)
        assert response.headers["x-page"] == str(page)
        assert pages(response) == {"first": 1, "prev": int(total), "last": int(total)}


@EVERY_STORED_LIST
async def test_concatenated_small_pages_equal_large_page(
    ask: Ask, tenants: TwoTenants, db: RolledBackDatabase, path_of: Any, operation: Operation
) -> None:
    await grow(db, tenants)
    key, path = tenants.keys["superadmin"], path_of(operation)
    whole = await ask(key, "GET", path, params={"size": most(operation)[1]})
    total = int(whole.headers["x-total-count"])
    assert min(total, most(operation)[1]) == len(whole.json()) > 10
    for size in (1, 7):
        walked = []
        target = f"/api/v1.0{path}?size={size}"
        for page in range(1, -(-total // size) + 1):
            response = await ask(key, "GET", f"http://windsock.test{target}")
            walked += response.json()
            last = -(-total // size)
            around = {"first": 1, "prev": page - 1, "next": page + 1, "last": last}
            assert pages(response) == {name: to for name, to in around.items() if 1 <= to <= last}
            assert response.headers["x-total-pages"] == str(last)
            target = links(response).get("next", "")
        assert target == ""
        assert len(walked) == total
        assert walked[: most(operation)[1]] == whole.json()


@pytest.mark.parametrize(
    ("path", "filters"),
    [
        ("/pipelines", [("status", "unknown"), ("status", "success"), ("q", "déjà & 100% = +")]),
        ("/pipelines/{daily}/runs", [("status", "success"), ("status", "failed")]),
    ],
)
async def test_pagination_links_preserve_filters(
    ask: Ask, tenants: TwoTenants, db: RolledBackDatabase, path: str, filters: list[tuple[str, str]]
) -> None:
    await grow(db, tenants)
    url = "/spaces/finance/orchestration" + path.format(daily=tenants.finance.pipelines["daily_report"])
    response = await ask(tenants.keys["viewer"], "GET", url, params=[("page", "2"), *filters, ("size", "3")])
    assert len(response.json()) == 3
    assert set(links(response)) == {"first", "prev", "next", "last"}
    for target in links(response).values():
        stored = [(name, value) for name, value in parse_qsl(urlsplit(target).query) if name != "page"]
        assert stored == [*filters, ("size", "3")]
        assert urlsplit(target).path == f"/api/v1.0{url}"


@EVERY_GET
async def test_query_count_is_independent_of_row_count(
    ask: Ask, tenants: TwoTenants, db: RolledBackDatabase, path_of: Any, operation: Operation
) -> None:
    key, path = tenants.keys["superadmin"], path_of(operation)
    executed = count_statements(db)

    async def fetch() -> tuple[list[str], int]:
        executed.clear()
        response = await ask(key, "GET", path, params={"size": 100} if operation in LISTS else {})
        assert response.status_code == 200
        return list(executed), int(response.headers.get("x-total-count", "0"))

    before, few = await fetch()
    await grow(db, tenants)
    after, many = await fetch()
    assert len(before) == len(after) <= 10
    assert many >= 3 * few, "add rows of this kind to tests/invariants/bulk_rows.py"


@EVERY_GET
async def test_get_with_current_etag_is_304(
    ask: Ask, tenants: TwoTenants, db: RolledBackDatabase, path_of: Any, operation: Operation
) -> None:
    key, path = tenants.keys["superadmin"], path_of(operation)
    first = await ask(key, "GET", path)
    etag = first.headers["etag"]
    assert re.fullmatch(r'(W/)?"[\x21\x23-\x7e]+"', etag)
    assert "authorization" in first.headers["vary"].lower()
    for header in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        again = await ask(key, "GET", path, headers={"If-None-Match": header})
        assert (again.status_code, again.content) == (304, b""), header
        assert again.headers["etag"] == etag
    for header in ('"other"', etag.strip('"'), "", 'W/"', f'"{etag}"'):
        again = await ask(key, "GET", path, headers={"If-None-Match": header})
        assert (again.status_code, again.content) == (200, first.content), header
    if operation in STORED_LISTS:
        await grow(db, tenants)
        changed = await ask(key, "GET", path, headers={"If-None-Match": etag})
        assert changed.status_code == 200
