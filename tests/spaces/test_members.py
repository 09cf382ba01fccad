"""Members of a space: added, changed, removed, and never without an admin."""

import asyncio
from uuid import uuid4

import httpx2
import pytest

from databases import Databases
from factories import TwoTenants
from validating_client import ValidatingClient
from windsock.db.database import Database
from windsock.db.queries import Query
from windsock.errors import Conflict
from windsock.spaces.store import QUERIES, create_space, create_user, require_another_admin, upsert_member

pytestmark = pytest.mark.anyio
MEMBERS = "/spaces/finance/members"
LAST_ADMIN = {"detail": "This would leave the space without an admin. Make somebody else admin first."}


async def roles(client: ValidatingClient, tenants: TwoTenants) -> dict[str, str]:
    members = await client.as_(tenants.keys["superadmin"], "GET", MEMBERS)
    return {member["email"].removesuffix("@example.com"): member["role"] for member in members.json()}


async def test_members_are_listed_by_email(client: ValidatingClient, tenants: TwoTenants) -> None:
    response = await client.as_(tenants.keys["viewer"], "GET", MEMBERS)
    assert [(member["name"], member["role"]) for member in response.json()] == [
        ("Admin", "admin"),
        ("Editor", "editor"),
        ("Revoked", "admin"),
        ("Viewer", "viewer"),
    ]
    assert list(response.json()[0]) == ["user_id", "email", "name", "role", "created_at", "is_active"]


async def test_member_can_be_added_changed_and_removed(client: ValidatingClient, tenants: TwoTenants) -> None:
    admin, path = tenants.keys["admin"], f"{MEMBERS}/{tenants.users['stranger']}"
    space = "/spaces/finance/orchestration/pipelines"
    assert (await client.as_(tenants.keys["stranger"], "GET", space)).status_code == 403
    for role in ("viewer", "editor", "admin", "viewer"):
        response = await client.as_(admin, "PUT", path, json={"role": role})
        assert response.status_code == 200
        assert (response.json()["email"], response.json()["role"]) == ("stranger@example.com", role)
        assert (await roles(client, tenants))["stranger"] == role
    assert (await client.as_(tenants.keys["stranger"], "GET", space)).status_code == 200
    assert (await client.as_(admin, "DELETE", path)).status_code == 204
    assert (await client.as_(tenants.keys["stranger"], "GET", space)).status_code == 403
    assert (await client.as_(admin, "DELETE", path)).status_code == 404


async def test_role_change_takes_effect_immediately(client: ValidatingClient, tenants: TwoTenants) -> None:
    path = f"{MEMBERS}/{tenants.users['viewer']}"
    rename = {"name": "By the viewer"}
    assert (await client.as_(tenants.keys["viewer"], "PATCH", "/spaces/finance", json=rename)).status_code == 403
    await client.as_(tenants.keys["admin"], "PUT", path, json={"role": "admin"})
    assert (await client.as_(tenants.keys["viewer"], "PATCH", "/spaces/finance", json=rename)).status_code == 200


async def test_adding_unknown_user_as_member_is_404(client: ValidatingClient, tenants: TwoTenants) -> None:
    response = await client.as_(tenants.keys["admin"], "PUT", f"{MEMBERS}/{uuid4()}", json={"role": "viewer"})
    assert response.status_code == 404
    assert response.json() == {"detail": "There is no such user in this space."}


@pytest.mark.parametrize("body", [{}, {"role": "owner"}, {"role": "Admin"}, {"role": None}, {"role": "viewer", "x": 1}])
async def test_member_with_invalid_role_is_422(
    client: ValidatingClient, tenants: TwoTenants, body: dict[str, object]
) -> None:
    path = f"{MEMBERS}/{tenants.users['viewer']}"
    assert (await client.as_(tenants.keys["admin"], "PUT", path, json=body)).status_code == 422


async def test_last_admin_cannot_be_removed_or_demoted(client: ValidatingClient, tenants: TwoTenants) -> None:
    admin, path = tenants.keys["admin"], f"{MEMBERS}/{tenants.users['admin']}"
    # While there is another one, admins may come and go.
    assert (await client.as_(admin, "DELETE", f"{MEMBERS}/{tenants.users['revoked']}")).status_code == 204
    for refused in (
        await client.as_(admin, "DELETE", path),
        await client.as_(admin, "PUT", path, json={"role": "editor"}),
    ):
        assert (refused.status_code, refused.json()) == (409, LAST_ADMIN)
    assert (await roles(client, tenants))["admin"] == "admin"
    assert (await client.as_(admin, "PUT", path, json={"role": "admin"})).status_code == 200
    viewer = f"{MEMBERS}/{tenants.users['viewer']}"
    assert (await client.as_(admin, "PUT", viewer, json={"role": "editor"})).status_code == 200
    assert (await client.as_(admin, "DELETE", viewer)).status_code == 204


async def test_admin_can_leave_space_with_another_admin(client: ValidatingClient, tenants: TwoTenants) -> None:
    path = f"{MEMBERS}/{tenants.users['admin']}"
    assert (await client.as_(tenants.keys["admin"], "DELETE", path)).status_code == 204
    assert (await client.as_(tenants.keys["admin"], "GET", MEMBERS)).status_code == 403


@pytest.mark.parametrize("way", ["remove", "demote"])
async def test_last_active_admin_cannot_be_removed_or_demoted_by_superadmin(
    client: ValidatingClient, tenants: TwoTenants, way: str
) -> None:
    boss, paths = (
        tenants.keys["superadmin"],
        {kind: f"{MEMBERS}/{tenants.users[kind]}" for kind in ("admin", "revoked")},
    )

    async def end(kind: str) -> httpx2.Response:
        if way == "remove":
            return await client.as_(boss, "DELETE", paths[kind])
        return await client.as_(boss, "PUT", paths[kind], json={"role": "viewer"})

    deactivated = {"is_active": False}
    assert (await client.as_(boss, "PATCH", f"/users/{tenants.users['revoked']}", json=deactivated)).status_code == 200
    refused = await end("admin")
    assert (refused.status_code, refused.json()) == (409, LAST_ADMIN)
    assert (await end("revoked")).status_code in {200, 204}, "a deactivated admin administers nothing"
    assert (await roles(client, tenants))["admin"] == "admin"


async def test_concurrent_mutual_removal_of_admins_leaves_one_admin(make_database: Databases) -> None:
    db = Database(make_database("two_admins"), pool_size=4)
    await db.open()
    try:
        async with db.transaction() as tx:
            space = await create_space(tx, slug="s", name="S")
            users = [await create_user(tx, email=f"{n}@example.com", name="A", is_superadmin=False) for n in range(2)]
        async with db.tenant_transaction(space["id"]) as tx:
            for user in users:
                await upsert_member(tx, space["id"], user["id"], "admin")

        async def remove(user_id: object) -> None:
            names = {"space_id": space["id"], "user_id": user_id}
            async with db.tenant_transaction(space["id"]) as tx:
                await require_another_admin(tx, **names)
                await asyncio.sleep(0.2)
                await tx.execute(QUERIES["delete_member"], **names)

        outcomes = await asyncio.gather(*(remove(user["id"]) for user in users), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes if outcome is not None] == [Conflict]
        async with db.tenant_transaction(space["id"]) as tx:
            assert len(await tx.fetch_all(Query("SELECT FROM memberships"))) == 1
    finally:
        await db.close()
