"""Teams and their members."""

import pytest

from factories import TwoTenants
from validating_client import ValidatingClient

pytestmark = pytest.mark.anyio
TEAMS = "/spaces/finance/teams"


async def test_team_can_be_created_renamed_joined_and_left(client: ValidatingClient, tenants: TwoTenants) -> None:
    admin = tenants.keys["admin"]
    response = await client.as_(admin, "POST", TEAMS, json={"name": " Reporting "})
    assert (response.status_code, response.json()["name"], response.json()["members"]) == (201, "Reporting", [])
    path = f"{TEAMS}/{response.json()['id']}"
    for _ in range(2):
        assert (await client.as_(admin, "PUT", f"{path}/members/{tenants.users['editor']}")).status_code == 204
    reply = await client.as_(tenants.keys["viewer"], "GET", path)
    assert (reply.json()["member_count"], reply.json()["members"][0]["email"]) == (1, "editor@example.com")
    renamed = await client.as_(admin, "PATCH", path, json={"name": "Reports"})
    assert renamed.json()["name"] == "Reports"
    listed = (await client.as_(tenants.keys["viewer"], "GET", TEAMS)).json()
    assert [(team["name"], team["member_count"]) for team in listed] == [("Reports", 1), ("ingestion", 1)]
    assert (await client.as_(admin, "DELETE", f"{path}/members/{tenants.users['editor']}")).status_code == 204
    assert (await client.as_(admin, "DELETE", f"{path}/members/{tenants.users['editor']}")).status_code == 404


async def test_team_name_is_unique_in_space(client: ValidatingClient, tenants: TwoTenants) -> None:
    again = await client.as_(tenants.keys["admin"], "POST", TEAMS, json={"name": "ingestion"})
    assert (again.status_code, "ingestion" in again.json()["detail"]) == (409, True)


async def test_team_membership_requires_and_ends_with_space_membership(
    client: ValidatingClient, tenants: TwoTenants
) -> None:
    admin, path = tenants.keys["admin"], f"{TEAMS}/{tenants.finance.team_id}"
    assert (await client.as_(admin, "PUT", f"{path}/members/{tenants.users['stranger']}")).status_code == 404
    assert (await client.as_(admin, "GET", path)).json()["member_count"] == 1
    await client.as_(admin, "DELETE", f"/spaces/finance/members/{tenants.users['viewer']}")
    assert (await client.as_(admin, "GET", path)).json()["member_count"] == 0


async def test_team_deletion_clears_team_of_its_pipelines(client: ValidatingClient, tenants: TwoTenants) -> None:
    assert (await client.as_(tenants.keys["admin"], "DELETE", f"{TEAMS}/{tenants.finance.team_id}")).status_code == 204
    pipeline = f"/spaces/finance/orchestration/pipelines/{tenants.finance.pipelines['hourly_load']}"
    assert (await client.as_(tenants.keys["viewer"], "GET", pipeline)).json()["team"] is None


async def test_team_contact_can_be_set_changed_and_removed(client: ValidatingClient, tenants: TwoTenants) -> None:
    admin, path = tenants.keys["admin"], f"{TEAMS}/{tenants.finance.team_id}"
    assert (await client.as_(admin, "GET", path)).json()["contact"] is None
    for body, contact in (
        ({"contact": " ops@example.com "}, "ops@example.com"),
        ({"name": "loading"}, "ops@example.com"),
        ({"contact": None}, None),
    ):
        assert (await client.as_(admin, "PATCH", path, json=body)).json()["contact"] == contact
    created = await client.as_(admin, "POST", TEAMS, json={"name": "on call", "contact": "https://example.com/oncall"})
    assert created.json()["contact"] == "https://example.com/oncall"
    for contact in ("", "x" * 301):
        assert (await client.as_(admin, "PATCH", path, json={"contact": contact})).status_code == 422
