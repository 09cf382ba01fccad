"""Spaces: made and deleted by superadmins, renamed by their admins."""

from typing import TYPE_CHECKING, Any

import pytest

from checking import CheckedClient
from windsock.sql import Query
from world import World

if TYPE_CHECKING:
    from conftest import RolledBackDatabase

pytestmark = pytest.mark.anyio


async def test_whoever_creates_a_space_becomes_its_admin(client: CheckedClient, world: World) -> None:
    boss = world.keys["superadmin"]
    answer = await client.as_(boss, "POST", "/spaces", json={"slug": "ops-2", "name": " Operations "})
    assert answer.status_code == 201
    made = answer.json()
    assert (made["slug"], made["name"]) == ("ops-2", "Operations")
    assert (await client.as_(boss, "GET", "/spaces/ops-2")).json() == made
    members = (await client.as_(boss, "GET", "/spaces/ops-2/members")).json()
    assert [(member["email"], member["role"]) for member in members] == [("superadmin@example.com", "admin")]


async def test_a_slug_is_given_once(client: CheckedClient, world: World) -> None:
    answer = await client.as_(world.keys["superadmin"], "POST", "/spaces", json={"slug": "finance", "name": "Again"})
    assert answer.status_code == 409
    assert answer.json() == {"detail": "There is a space finance already; choose another slug."}


@pytest.mark.parametrize("slug", ["a", "7", "a-b", "x" * 63, "a--b"])
async def test_a_slug_is_lower_case_letters_digits_and_hyphens(client: CheckedClient, world: World, slug: str) -> None:
    boss = world.keys["superadmin"]
    assert (await client.as_(boss, "POST", "/spaces", json={"slug": slug, "name": "S"})).status_code == 201
    assert (await client.as_(boss, "GET", f"/spaces/{slug}")).json()["slug"] == slug


@pytest.mark.parametrize("slug", ["", "A", "-a", "a-", "a_b", "a.b", "a/b", "a b", "x" * 64, "a\n", "é", None, 7])
async def test_any_other_slug_is_refused(client: CheckedClient, world: World, slug: Any) -> None:
    answer = await client.as_(world.keys["superadmin"], "POST", "/spaces", json={"slug": slug, "name": "S"})
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["body", "slug"]


async def test_an_admin_renames_the_space_and_nothing_else_of_it(client: CheckedClient, world: World) -> None:
    admin = world.keys["admin"]
    before = (await client.as_(admin, "GET", "/spaces/finance")).json()
    renamed = await client.as_(admin, "PATCH", "/spaces/finance", json={"name": "Finance & Co"})
    assert renamed.status_code == 200
    assert renamed.json() == before | {"name": "Finance & Co", "updated_at": renamed.json()["updated_at"]}
    assert (await client.as_(admin, "GET", "/spaces/finance")).json() == renamed.json()
    slug = await client.as_(admin, "PATCH", "/spaces/finance", json={"name": "F", "slug": "f"})
    assert slug.status_code == 422


async def test_only_a_superadmin_deletes_a_space(client: CheckedClient, world: World) -> None:
    refused = await client.as_(world.keys["admin"], "DELETE", "/spaces/finance")
    assert refused.status_code == 403
    assert refused.json() == {"detail": "Deleting a space needs a superadmin."}
    assert (await client.as_(world.keys["admin"], "GET", "/spaces/finance")).status_code == 200


async def test_a_deleted_space_takes_everything_in_it_and_nothing_else(
    client: CheckedClient, world: World, db: "RolledBackDatabase"
) -> None:
    boss = world.keys["superadmin"]
    assert (await client.as_(boss, "DELETE", "/spaces/finance")).status_code == 204
    gone = await client.as_(world.keys["admin"], "GET", "/spaces/finance")
    never = await client.as_(world.keys["admin"], "GET", "/spaces/never-was")
    assert (gone.status_code, gone.json()) == (never.status_code, never.json())
    assert [space["slug"] for space in (await client.as_(boss, "GET", "/spaces")).json()] == ["marketing"]
    for space, left in ((world.finance, False), (world.marketing, True)):
        async with db.tenant_transaction(space.id) as tx:
            for table in ("memberships", "connectors", "sync_states", "sync_runs", "pipelines", "runs", "task_runs"):
                rows = await tx.fetch_all(Query(f"SELECT FROM {table} LIMIT 1"))
                assert bool(rows) is left, table


async def test_the_callers_own_spaces_are_listed_by_name(client: CheckedClient, world: World) -> None:
    boss = world.keys["superadmin"]
    await client.as_(boss, "POST", "/spaces", json={"slug": "aaa", "name": "Zoo"})
    for key, slugs in ((boss, ["finance", "marketing", "aaa"]), (world.keys["viewer"], ["finance"])):
        listed = await client.as_(key, "GET", "/spaces")
        assert [space["slug"] for space in listed.json()] == slugs
        assert listed.headers["x-total-count"] == str(len(slugs))
