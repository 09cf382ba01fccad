"""Page parameters and pagination headers."""

from typing import Any

import pytest

from factories import TwoTenants, make_request
from validating_client import ValidatingClient
from windsock.http.pagination import LAST_OFFSET, PageParams
from windsock.http.responses import page_response

PIPELINES = "/spaces/finance/orchestration/pipelines"
MEMBERS = "/spaces/finance/members"


def links_of(text: str) -> dict[str, str]:
    """Relation to address, as RFC 8288 writes them."""
    links = {}
    for link in text.split(", "):
        address, relation = link.split("; ")
        links[relation.removeprefix('rel="').removesuffix('"')] = address.strip("<>")
    return links


@pytest.mark.parametrize(
    ("page", "total", "expected"),
    [
        (1, 25, {"first": 1, "next": 2, "last": 3}),
        (2, 25, {"first": 1, "prev": 1, "next": 3, "last": 3}),
        (3, 25, {"first": 1, "prev": 2, "last": 3}),
        (9, 25, {"first": 1, "prev": 3, "last": 3}),
        (1, 10, {"first": 1, "last": 1}),
        (1, 0, {}),
    ],
)
def test_pagination_links_point_to_existing_pages(page: int, total: int, expected: dict[str, int]) -> None:
    response = page_response(make_request(f"page={page}&size=10"), [], total, PageParams(page, 10))
    links = links_of(response.headers["link"]) if expected else {}
    assert links == {relation: f"/things?size=10&page={to}" for relation, to in expected.items()}
    assert "link" in response.headers or not expected


def test_pagination_links_preserve_filters_with_special_characters() -> None:
    query = "status=failed&status=success&q=a%26b+%25%20%C3%A9&owner=&page=7"
    response = page_response(make_request(query), [], 3, PageParams(1, 1))
    expected = "/things?status=failed&status=success&q=a%26b+%25+%C3%A9&owner=&page=2"
    assert links_of(response.headers["link"])["next"] == expected


@pytest.mark.parametrize(("total", "size", "pages"), [(0, 10, 0), (1, 10, 1), (10, 10, 1), (11, 10, 2), (3, 1, 3)])
def test_pagination_headers_report_total_and_page_count(total: int, size: int, pages: int) -> None:
    headers = page_response(make_request(), [], total, PageParams(1, size)).headers
    names = ("x-total-count", "x-page", "x-page-size", "x-total-pages")
    assert [int(headers[name]) for name in names] == [total, 1, size, pages]


def test_offset_of_huge_page_number_is_capped() -> None:
    assert PageParams(10**30, 500).offset == LAST_OFFSET
    assert PageParams(3, 20).offset == 40


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("path", "requested_size", "size"),
    [
        (PIPELINES, None, "100"),
        (PIPELINES, 500, "500"),
        (PIPELINES, 501, "500"),
        (MEMBERS, None, "20"),
        (MEMBERS, 100, "100"),
        (MEMBERS, 10**30, "100"),
        (MEMBERS, 1, "1"),
    ],
)
async def test_excessive_page_size_is_capped(
    client: ValidatingClient, tenants: TwoTenants, path: str, requested_size: int | None, size: str
) -> None:
    params = {} if requested_size is None else {"size": requested_size}
    response = await client.as_(tenants.keys["viewer"], "GET", path, params=params)
    assert (response.status_code, response.headers["x-page-size"]) == (200, size)


@pytest.mark.anyio
@pytest.mark.parametrize("params", [{"size": 0}, {"size": -1}, {"page": 0}, {"page": "x"}, {"size": 1.5}, {"page": ""}])
async def test_invalid_page_or_size_is_refused(
    client: ValidatingClient, tenants: TwoTenants, params: dict[str, Any]
) -> None:
    for path in (PIPELINES, MEMBERS):
        response = await client.as_(tenants.keys["viewer"], "GET", path, params=params)
        assert response.status_code == 422
        assert response.json()["detail"][0]["loc"] == ["query", next(iter(params))]


@pytest.mark.anyio
async def test_following_links_returns_each_row_once(client: ValidatingClient, tenants: TwoTenants) -> None:
    address: str | None = f"/api/v1.0{MEMBERS}?size=3"
    emails = []
    while address:
        response = await client.as_(tenants.keys["viewer"], "GET", address.removeprefix("/api/v1.0"))
        emails += [member["email"] for member in response.json()]
        address = links_of(response.headers["link"]).get("next")
    assert emails == [f"{kind}@example.com" for kind in ("admin", "editor", "revoked", "viewer")]


@pytest.mark.anyio
async def test_page_past_end_is_empty_with_correct_total(client: ValidatingClient, tenants: TwoTenants) -> None:
    response = await client.as_(tenants.keys["viewer"], "GET", MEMBERS, params={"page": 7, "size": 3})
    assert (response.json(), response.headers["x-total-count"]) == ([], "4")
