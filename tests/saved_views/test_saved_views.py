"""The API of saved views: own and shared ones, who may change which, and what a view may be."""

from typing import Any

import pytest

from factories import TwoTenants
from validating_client import ValidatingClient
from windsock.saved_views.models import MAX_QUERY
from windsock.saved_views.store import MAX_VIEWS

pytestmark = pytest.mark.anyio
VIEWS = "/spaces/finance/orchestration/views"


class Views:
    """Requests of one user after another."""

    def __init__(self, client: ValidatingClient, tenants: TwoTenants) -> None:
        self.client = client
        self.keys = tenants.keys

    async def ask(self, who: str, method: str, path: str = VIEWS, **body: Any) -> tuple[int, Any]:
        sent = {"json": body} if body else {}
        response = await self.client.as_(self.keys[who], method, path, **sent)
        return response.status_code, response.json() if response.content else None

    async def save(self, who: str, **body: Any) -> Any:
        status, view = await self.ask(who, "POST", **body)
        assert status == 201, view
        return view

    async def names(self, who: str) -> list[str]:
        _, views = await self.ask(who, "GET")
        return [view["name"] for view in views if view["name"] != "of the world"]


@pytest.fixture
def views(client: ValidatingClient, tenants: TwoTenants) -> Views:
    return Views(client, tenants)


async def test_view_has_filters_order_and_owner(views: Views, tenants: TwoTenants) -> None:
    query = "page=2&sort=attention&owner=b%26b&status=failed&nonsense=1"
    view = await views.save("viewer", name="  Mine ", query=query)
    assert (view["name"], view["query"]) == ("Mine", "status=failed&owner=b%26b&sort=attention")
    assert (view["is_own"], view["is_shared"]) == (True, False)
    assert view["owner"] == {"id": str(tenants.users["viewer"]), "name": "Viewer"}
    assert await views.ask("viewer", "GET") == (200, [view, (await views.ask("viewer", "GET"))[1][1]])


async def test_private_view_is_listed_for_its_owner_and_shared_view_for_the_space(views: Views) -> None:
    private = await views.save("editor", name="private")
    await views.save("editor", name="team", is_shared=True)
    await views.save("viewer", name="own")
    assert await views.names("editor") == ["private", "team"]
    assert await views.names("viewer") == ["own", "team"]
    assert await views.names("admin") == ["team"]
    for who in ("viewer", "admin", "superadmin"):
        for method, body in (("PATCH", {"name": "x"}), ("DELETE", {})):
            assert (await views.ask(who, method, f"{VIEWS}/{private['id']}", **body))[0] == 404
    assert (await views.ask("stranger", "GET"))[0] == 403


async def test_viewer_manages_own_views_and_editor_shares(views: Views) -> None:
    mine = await views.save("viewer", name="mine", query="q=a")
    path = f"{VIEWS}/{mine['id']}"
    for method, target, body in (("POST", VIEWS, {"name": "x"}), ("PATCH", path, {})):
        status, refused = await views.ask("viewer", method, target, **body, is_shared=True)
        assert (status, "Only the role editor or above may share views" in refused["detail"]) == (403, True)
    status, changed = await views.ask("viewer", "PATCH", path, query="q=b")
    assert (status, changed["name"], changed["query"]) == (200, "mine", "q=b")
    shared = await views.save("admin", name="team", is_shared=True)
    assert (await views.ask("editor", "PATCH", f"{VIEWS}/{shared['id']}", name="x"))[0] == 403
    assert (await views.ask("viewer", "DELETE", path))[0] == 204
    assert await views.names("viewer") == ["team"]


async def test_admin_changes_and_deletes_shared_view_of_another(views: Views) -> None:
    shared = await views.save("editor", name="team", is_shared=True)
    path = f"{VIEWS}/{shared['id']}"
    status, changed = await views.ask("admin", "PATCH", path, name="ours")
    assert (status, changed["name"], changed["is_own"], changed["owner"]["name"]) == (200, "ours", False, "Editor")
    assert (await views.ask("admin", "DELETE", path))[0] == 204
    assert (await views.ask("editor", "PATCH", path, name="x"))[0] == 404


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"name": " "}, 422),
        ({"name": "x" * 101}, 422),
        ({"name": "x", "query": "q=" + "x" * MAX_QUERY}, 422),
        ({"name": "x", "query": "q=" + "é" * (MAX_QUERY // 4)}, 422),
        ({"name": "x", "query": "q=%00"}, 422),
        ({"name": "x", "is_shared": "yes"}, 422),
        ({"name": "x", "user_id": "00000000-0000-0000-0000-000000000000"}, 422),
        ({"name": "taken"}, 409),
    ],
)
async def test_invalid_view_is_refused_and_nothing_is_stored(views: Views, body: dict[str, Any], status: int) -> None:
    await views.save("editor", name="taken")
    assert (await views.ask("editor", "POST", **body))[0] == status
    assert await views.names("editor") == ["taken"]


async def test_number_of_views_of_a_user_is_limited(views: Views) -> None:
    for number in range(MAX_VIEWS - 1):  # one is of the world
        await views.save("viewer", name=f"view {number}")
    status, refused = await views.ask("viewer", "POST", name="one more")
    assert (status, "as many as one may have" in refused["detail"]) == (409, True)
    await views.save("editor", name="of another user")
