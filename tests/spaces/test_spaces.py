"""Spaces: made and deleted by superadmins, renamed by their admins."""

from typing import TYPE_CHECKING, Any

import pytest

from factories import TwoTenants
from validating_client import ValidatingClient
from windsock.db.queries import Query

if TYPE_CHECKING:
    from conftest import RolledBackDatabase

pytestmark = pytest.mark.anyio


async def test_creator_of_space_becomes_admin(client: ValidatingClient, tenants: TwoTenants) -> None:
    boss = tenants.keys["superadmin"]
    response = await client.as_(boss, "POST", "/spaces", json={"slug": "ops-2", "name": " Operations "})
    assert response.status_code == 201
    body = response.json()
    assert (body["slug"], body["name"]) == ("ops-2", "Operations")
    assert (await client.as_(boss, "GET", "/spaces/ops-2")).json() == body
    members = (await client.as_(boss, "GET", "/spaces/ops-2/members")).json()
    assert [(member["email"], member["role"]) for member in members] == [("superadmin@example.com", "admin")]


async def test_space_slug_is_unique(client: ValidatingClient, tenants: TwoTenants) -> None:
    response = await client.as_(
        tenants.keys["superadmin"], "POST", "/spaces", json={"slug": "finance", "name": "Again"}
    )
    assert response.status_code == 409
    assert response.json() == {"detail": "There is a space finance already; choose another slug."}


@pytest.mark.parametrize("slug", ["a", "7", "a-b", "x" * 63, "a--b"])
async def test_slug_of_lower_case_letters_digits_and_hyphens_is_accepted(
    client: ValidatingClient, tenants: TwoTenants, slug: str
) -> None:
    boss = tenants.keys["superadmin"]
    assert (await client.as_(boss, "POST", "/spaces", json={"slug": slug, "name": "S"})).status_code == 201
    assert (await client.as_(boss, "GET", f"/spaces/{slug}")).json()["slug"] == slug


@pytest.mark.parametrize("slug", ["", "A", "-a", "a-", "a_b", "a.b", "a/b", "a b", "x" * 64, "a\n", "é", None, 7])
async def test_invalid_slug_is_rejected(client: ValidatingClient, tenants: TwoTenants, slug: Any) -> None:
    response = await client.as_(tenants.keys["superadmin"], "POST", "/spaces", json={"slug": slug, "name": "S"})
    assert response.status_code == 422
    assert response.json()["detail"][0]["loc"] == ["body", "slug"]


async def test_space_admin_can_change_name_but_not_slug(client: ValidatingClient, tenants: TwoTenants) -> None:
    admin = tenants.keys["admin"]
    before = (await client.as_(admin, "GET", "/spaces/finance")).json()
    renamed = await client.as_(admin, "PATCH", "/spaces/finance", json={"name": "Finance & Co"})
    assert renamed.status_code == 200
    assert renamed.json() == before | {"name": "Finance & Co", "updated_at": renamed.json()["updated_at"]}
    assert (await client.as_(admin, "GET", "/spaces/finance")).json() == renamed.json()
    slug = await client.as_(admin, "PATCH", "/spaces/finance", json={"name": "F", "slug": "f"})
    assert slug.status_code == 422


async def test_space_deletion_requires_superadmin(client: ValidatingClient, tenants: TwoTenants) -> None:
    refused = await client.as_(tenants.keys["admin"], "DELETE", "/spaces/finance")
    assert refused.status_code == 403
    assert refused.json() == {"detail": "Deleting a space needs a superadmin."}
    assert (await client.as_(tenants.keys["admin"], "GET", "/spaces/finance")).status_code == 200


async def test_deleting_space_removes_its_rows_only(
    client: ValidatingClient, tenants: TwoTenants, db: "RolledBackDatabase"
) -> None:
    boss = tenants.keys["superadmin"]
    assert (await client.as_(boss, "DELETE", "/spaces/finance")).status_code == 204
    response = await client.as_(tenants.keys["admin"], "GET", "/spaces/finance")
    never = await client.as_(tenants.keys["admin"], "GET", "/spaces/never-was")
    assert (response.status_code, response.json()) == (never.status_code, never.json())
    assert [space["slug"] for space in (await client.as_(boss, "GET", "/spaces")).json()] == ["marketing"]
    for space, left in ((tenants.finance, False), (tenants.marketing, True)):
        async with db.tenant_transaction(space.id) as tx:
            for table in ("memberships", "connectors", "sync_states", "sync_runs", "pipelines", "runs", "task_runs"):
                rows = await tx.fetch_all(Query(f"SELECT FROM {table} LIMIT 1"))
                assert bool(rows) is left, table


async def test_space_list_contains_only_spaces_of_caller_by_name(client: ValidatingClient, tenants: TwoTenants) -> None:
    boss = tenants.keys["superadmin"]
    await client.as_(boss, "POST", "/spaces", json={"slug": "aaa", "name": "Zoo"})
    for key, slugs in ((boss, ["finance", "marketing", "aaa"]), (tenants.keys["viewer"], ["finance"])):
        listed = await client.as_(key, "GET", "/spaces")
        assert [space["slug"] for space in listed.json()] == slugs
        assert listed.headers["x-total-count"] == str(len(slugs))
