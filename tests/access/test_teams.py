"""Teams and their members."""

import pytest

from checking import CheckedClient
from world import World

pytestmark = pytest.mark.anyio
TEAMS = "/spaces/finance/teams"


async def test_a_team_is_made_renamed_joined_and_left(client: CheckedClient, world: World) -> None:
    admin = world.keys["admin"]
    made = await client.as_(admin, "POST", TEAMS, json={"name": " Reporting "})
    assert (made.status_code, made.json()["name"], made.json()["members"]) == (201, "Reporting", [])
    path = f"{TEAMS}/{made.json()['id']}"
    for _ in range(2):
        assert (await client.as_(admin, "PUT", f"{path}/members/{world.users['editor']}")).status_code == 204
    one = await client.as_(world.keys["viewer"], "GET", path)
    assert (one.json()["member_count"], one.json()["members"][0]["email"]) == (1, "editor@example.com")
    renamed = await client.as_(admin, "PATCH", path, json={"name": "Reports"})
    assert renamed.json()["name"] == "Reports"
    listed = (await client.as_(world.keys["viewer"], "GET", TEAMS)).json()
    assert [(team["name"], team["member_count"]) for team in listed] == [("Reports", 1), ("ingestion", 1)]
    assert (await client.as_(admin, "DELETE", f"{path}/members/{world.users['editor']}")).status_code == 204
    assert (await client.as_(admin, "DELETE", f"{path}/members/{world.users['editor']}")).status_code == 404


async def test_a_name_is_taken_once(client: CheckedClient, world: World) -> None:
    again = await client.as_(world.keys["admin"], "POST", TEAMS, json={"name": "ingestion"})
    assert (again.status_code, "ingestion" in again.json()["detail"]) == (409, True)


async def test_only_members_of_the_space_can_join_and_who_leaves_it_leaves_the_team(
    client: CheckedClient, world: World
) -> None:
    admin, path = world.keys["admin"], f"{TEAMS}/{world.finance.team_id}"
    assert (await client.as_(admin, "PUT", f"{path}/members/{world.users['stranger']}")).status_code == 404
    assert (await client.as_(admin, "GET", path)).json()["member_count"] == 1
    await client.as_(admin, "DELETE", f"/spaces/finance/members/{world.users['viewer']}")
    assert (await client.as_(admin, "GET", path)).json()["member_count"] == 0


async def test_pipelines_of_a_deleted_team_have_none(client: CheckedClient, world: World) -> None:
    assert (await client.as_(world.keys["admin"], "DELETE", f"{TEAMS}/{world.finance.team_id}")).status_code == 204
    pipeline = f"/spaces/finance/orchestration/pipelines/{world.finance.pipelines['hourly_load']}"
    assert (await client.as_(world.keys["viewer"], "GET", pipeline)).json()["team"] is None
