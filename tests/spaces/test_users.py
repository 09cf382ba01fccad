"""Who am I, and the users of the installation."""

import asyncio
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from conftest import RolledBackDatabase
from databases import Databases
from factories import TwoTenants
from validating_client import ValidatingClient
from windsock.auth.authenticator import COOKIE
from windsock.auth.sessions import consume_login_link, create_login_link, create_session
from windsock.db.database import Database
from windsock.errors import Conflict
from windsock.spaces.store import create_user, update_user

pytestmark = pytest.mark.anyio
SITE = "http://windsock.test"


@pytest.mark.parametrize(
    ("kind", "spaces"),
    [
        ("viewer", [("Finance", "finance", "viewer")]),
        ("editor", [("Finance", "finance", "editor")]),
        ("admin", [("Finance", "finance", "admin")]),
        ("stranger", [("Marketing", "marketing", "admin")]),
        ("superadmin", [("Finance", "finance", "admin"), ("Marketing", "marketing", "admin")]),
    ],
)
async def test_current_user_is_returned_with_spaces_and_roles(
    client: ValidatingClient, tenants: TwoTenants, kind: str, spaces: list[tuple[str, str, str]]
) -> None:
    me = (await client.as_(tenants.keys[kind], "GET", "/users/me")).json()
    assert list(me) == ["id", "email", "name", "is_superadmin", "spaces"]
    assert me["id"] == str(tenants.users[kind])
    assert me["email"] == f"{kind}@example.com"
    assert me["is_superadmin"] is (kind == "superadmin")
    assert [(space["name"], space["slug"], space["role"]) for space in me["spaces"]] == spaces


async def test_user_without_space_sees_no_spaces(client: ValidatingClient, tenants: TwoTenants) -> None:
    boss = tenants.keys["superadmin"]
    path = f"/spaces/finance/members/{tenants.users['viewer']}"
    assert (await client.as_(boss, "DELETE", path)).status_code == 204
    me = await client.as_(tenants.keys["viewer"], "GET", "/users/me")
    assert me.json()["spaces"] == []
    listed = await client.as_(tenants.keys["viewer"], "GET", "/spaces")
    assert listed.json() == []
    assert listed.headers["x-total-count"] == "0"


async def test_user_creation_lower_cases_email(client: ValidatingClient, tenants: TwoTenants) -> None:
    body = {"email": " Ada.Lovelace@Example.COM ", "name": "  Ada  "}
    response = await client.as_(tenants.keys["superadmin"], "POST", "/users", json=body)
    assert response.status_code == 201
    payload = response.json()
    assert (payload["email"], payload["name"], payload["is_superadmin"], payload["is_active"]) == (
        "ada.lovelace@example.com",
        "Ada",
        False,
        True,
    )
    assert payload["created_at"].endswith("Z")
    assert abs((datetime.fromisoformat(payload["created_at"]) - datetime.now(UTC)).total_seconds()) < 300


async def test_email_is_unique_ignoring_case(client: ValidatingClient, tenants: TwoTenants) -> None:
    body = {"email": "VIEWER@example.com", "name": "Another"}
    response = await client.as_(tenants.keys["superadmin"], "POST", "/users", json=body)
    assert response.status_code == 409
    assert response.json() == {"detail": "There is a user viewer@example.com already."}


@pytest.mark.parametrize(
    ("body", "loc"),
    [
        ({"email": "nobody", "name": "N"}, ["body", "email"]),
        ({"email": "a b@example.com", "name": "N"}, ["body", "email"]),
        ({"email": "a@b@example.com", "name": "N"}, ["body", "email"]),
        ({"email": "n@example.com", "name": "   "}, ["body", "name"]),
        ({"email": "n@example.com", "name": "N" * 201}, ["body", "name"]),
        ({"email": "n@example.com"}, ["body", "name"]),
        ({"email": "n@example.com", "name": "N", "is_admin": True}, ["body", "is_admin"]),
    ],
)
async def test_user_with_invalid_field_is_rejected(
    client: ValidatingClient, tenants: TwoTenants, body: dict[str, object], loc: list[str]
) -> None:
    response = await client.as_(tenants.keys["superadmin"], "POST", "/users", json=body)
    assert response.status_code == 422
    assert [item["loc"] for item in response.json()["detail"]] == [loc]


async def test_users_are_listed_by_email_in_pages(client: ValidatingClient, tenants: TwoTenants) -> None:
    first = await client.as_(tenants.keys["superadmin"], "GET", "/users", params={"size": 4})
    second = await client.as_(tenants.keys["superadmin"], "GET", "/users", params={"size": 4, "page": 2})
    emails = [user["email"] for user in first.json() + second.json()]
    assert emails == sorted(f"{kind}@example.com" for kind in tenants.users)
    assert first.headers["x-total-count"] == "7"
    assert first.headers["x-total-pages"] == "2"


async def test_superadmin_has_admin_role_in_every_space_regardless_of_membership(
    client: ValidatingClient, tenants: TwoTenants
) -> None:
    boss = tenants.keys["superadmin"]
    for slug in ("finance", "marketing"):
        members = (await client.as_(boss, "GET", f"/spaces/{slug}/members")).json()
        assert str(tenants.users["superadmin"]) not in {member["user_id"] for member in members}
        renamed = await client.as_(boss, "PATCH", f"/spaces/{slug}", json={"name": "Renamed"})
        assert renamed.status_code == 200
        assert renamed.json()["name"] == "Renamed"
        added = await client.as_(
            boss, "PUT", f"/spaces/{slug}/members/{tenants.users['superadmin']}", json={"role": "viewer"}
        )
        assert added.status_code == 200
        # Being a mere viewer there takes nothing away.
        assert (await client.as_(boss, "PATCH", f"/spaces/{slug}", json={"name": "Again"})).status_code == 200
        me = (await client.as_(boss, "GET", "/users/me")).json()
        assert {space["role"] for space in me["spaces"]} == {"admin"}


async def test_removing_unknown_member_is_404(client: ValidatingClient, tenants: TwoTenants) -> None:
    response = await client.as_(tenants.keys["admin"], "DELETE", f"/spaces/finance/members/{uuid4()}")
    assert response.status_code == 404
    assert response.json() == {"detail": "There is no such member in this space."}


async def test_deactivation_ends_sessions_links_and_keys_and_reactivation_restores_none(
    client: ValidatingClient, tenants: TwoTenants, db: RolledBackDatabase
) -> None:
    boss, editor = tenants.keys["superadmin"], tenants.users["editor"]
    async with db.transaction() as tx:
        session = await create_session(tx, editor, "a browser", key_id=None)
        link = await create_login_link(tx, editor)
    for is_active in (False, True):
        changed = await client.as_(boss, "PATCH", f"/users/{editor}", json={"is_active": is_active})
        assert (changed.status_code, changed.json()["is_active"]) == (200, is_active)
        assert (await client.as_(tenants.keys["editor"], "GET", "/users/me")).status_code == 401
        cookie = {"Cookie": f"{COOKIE}={session}", "Accept": "text/html"}
        assert (await client.get(f"{SITE}/sessions", headers=cookie)).headers["location"] == "/sign-in?next=%2Fsessions"
        async with db.transaction() as tx:
            assert await consume_login_link(tx, link) is None
    events = await client.as_(
        boss, "GET", "/spaces/finance/audit-events", params={"target_id": str(editor), "target_type": "user"}
    )
    assert [(event["before"], event["after"]) for event in events.json()] == [
        ({"is_active": False}, {"is_active": True}),
        ({"is_active": True}, {"is_active": False}),
    ]


@pytest.mark.parametrize("change", [{"is_active": False}, {"is_superadmin": False}])
async def test_last_active_superadmin_is_protected(
    client: ValidatingClient, tenants: TwoTenants, change: dict[str, bool]
) -> None:
    boss, own = tenants.keys["superadmin"], f"/users/{tenants.users['superadmin']}"
    other = f"/users/{tenants.users['editor']}"
    refused = await client.as_(boss, "PATCH", own, json=change)
    assert (refused.status_code, refused.json()["detail"]) == (
        409,
        "This would leave Windsock without a superadmin. Make somebody else superadmin first.",
    )
    assert (await client.as_(boss, "PATCH", other, json={"is_superadmin": True, "is_active": False})).status_code == 200
    assert (await client.as_(boss, "PATCH", own, json=change)).status_code == 409, "a deactivated one does not count"
    assert (await client.as_(boss, "PATCH", other, json={"is_active": True})).status_code == 200
    assert (await client.as_(boss, "PATCH", own, json=change)).status_code == 200


async def test_concurrent_mutual_deactivation_leaves_one_superadmin(make_database: Databases) -> None:
    db = Database(make_database("two_superadmins"), pool_size=4)
    await db.open()
    try:
        async with db.transaction() as tx:
            users = [await create_user(tx, email=f"{n}@example.com", name="A", is_superadmin=True) for n in range(2)]

        async def deactivate(user_id: UUID) -> None:
            async with db.transaction() as tx:
                await update_user(tx, user_id, is_active=False)
                await asyncio.sleep(0.2)

        outcomes = await asyncio.gather(*(deactivate(user["id"]) for user in users), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes if outcome is not None] == [Conflict]
    finally:
        await db.close()


async def test_user_can_be_renamed_and_unknown_user_is_404(client: ValidatingClient, tenants: TwoTenants) -> None:
    boss = tenants.keys["superadmin"]
    renamed = await client.as_(boss, "PATCH", f"/users/{tenants.users['viewer']}", json={"name": " Vera "})
    assert (renamed.status_code, renamed.json()["name"], renamed.json()["is_active"]) == (200, "Vera", True)
    missing = await client.as_(boss, "PATCH", f"/users/{uuid4()}", json={"name": "x"})
    assert (missing.status_code, missing.json()) == (404, {"detail": "There is no such user."})
