"""Team and criticality, of one pipeline and of many, from the pages."""

from uuid import uuid4

import pytest

from checking import CheckedClient
from conftest import RolledBackDatabase
from web.conftest import Browser
from windsock.sync.writer import MirrorWriter
from world import World, a_run

pytestmark = pytest.mark.anyio

FLEET = "/spaces/finance/pipelines"
GOVERN = f"{FLEET}/govern"
API = "/spaces/finance/orchestration/pipelines"


async def governed(client: CheckedClient, world: World) -> dict[str, tuple[str, str | None]]:
    rows = (await client.as_(world.keys["viewer"], "GET", API)).json()
    return {row["id"]: (row["criticality"], row["team_id"]) for row in rows}


async def test_many_at_once_and_what_is_left_empty_stays(editor: Browser, client: CheckedClient, world: World) -> None:
    ids = [str(one) for one in world.finance.pipelines.values()]
    before = await governed(client, world)
    both = {"pipeline": ids[:2], "team": str(world.finance.team_id), "criticality": "critical"}
    answer = await editor.post(GOVERN, data=both, headers={"Origin": "http://windsock.test"})
    assert (answer.status_code, answer.headers["location"]) == (303, FLEET)
    after = await governed(client, world)
    for one in ids:
        assert after[one] == (("critical", str(world.finance.team_id)) if one in ids[:2] else before[one])
    await editor.send_form(GOVERN, pipeline=ids[0], criticality="low", team="")
    assert (await governed(client, world))[ids[0]] == ("low", str(world.finance.team_id))
    await editor.send_form(GOVERN, pipeline=ids[0], criticality="", team="nobody")
    assert (await governed(client, world))[ids[0]] == ("low", None)


async def test_the_trail_names_who_did_it(editor: Browser, client: CheckedClient, world: World) -> None:
    some = str(next(iter(world.finance.pipelines.values())))
    await editor.send_form(GOVERN, pipeline=some, criticality="high")
    trail = (await client.as_(world.keys["admin"], "GET", "/spaces/finance/audit-events?size=1")).json()
    assert trail[0]["target_id"] == some
    assert trail[0]["actor"]["id"] == str(world.users["editor"])


@pytest.mark.parametrize(
    ("fields", "status", "sentence"),
    [
        ({}, 400, "Choose the pipelines first"),
        ({"pipeline": "x"}, 400, "cannot be understood"),
        ({"team": "x"}, 400, "This is no team"),
        ({"team": str(uuid4())}, 404, "team"),
        ({"criticality": "huge"}, 400, "cannot be understood"),
    ],
)
async def test_what_cannot_be_done_is_said_and_changes_nothing(
    editor: Browser, client: CheckedClient, world: World, fields: dict[str, str], status: int, sentence: str
) -> None:
    some = str(next(iter(world.finance.pipelines.values())))
    before = await governed(client, world)
    given = {"pipeline": some, "criticality": "critical"} | fields if fields else {}
    answer = await editor.send_form(GOVERN, **given)
    assert answer.status_code == status
    assert sentence in answer.text
    assert await governed(client, world) == before


async def test_neither_a_viewer_nor_another_space_is_touched(
    browser: Browser, client: CheckedClient, world: World
) -> None:
    some = str(next(iter(world.finance.pipelines.values())))
    await browser.sign_in(world.keys["viewer"])
    assert "govern" not in (await browser.open(FLEET)).text
    assert "govern" not in (await browser.open(f"{FLEET}/{some}")).text
    refused = await browser.send_form(GOVERN, pipeline=some, criticality="critical")
    assert refused.status_code == 403
    await browser.sign_in(world.keys["editor"])
    page = (await browser.open(FLEET)).text
    assert 'name="pipeline"' in page
    assert "marketing" not in page.lower()
    theirs = str(next(iter(world.marketing.pipelines.values())))
    assert (await browser.send_form(GOVERN, pipeline=theirs, criticality="critical")).status_code == 303
    rows = (await client.as_(world.keys["superadmin"], "GET", "/spaces/marketing/orchestration/pipelines")).json()
    assert "critical" not in {row["criticality"] for row in rows}


async def test_the_team_that_airflow_names_is_one_click_away(
    editor: Browser, client: CheckedClient, world: World, db: RolledBackDatabase
) -> None:
    space, said = world.finance, "Airflow says Ingestion"
    one = str(space.pipelines["daily_report"])
    path = f"{FLEET}/{one}"
    assert "Airflow says" not in (await editor.open(path)).text
    run = a_run("daily_report", "r9", "success", hours_ago=0.1, provider_metadata={"team_name": "Ingestion"})
    async with db.tenant_transaction(space.id) as tx:
        await MirrorWriter(space.id, space.connector_id).store_runs(tx, [run], space.pipelines)
    assert (await governed(client, world))[one][1] is None, "nobody is assigned by it"
    shown, button = (await editor.open(path)).text, "Set this team"
    assert said in shown
    assert button in shown
    await editor.send_form(GOVERN, pipeline=one, team=str(space.team_id))
    assert (await governed(client, world))[one][1] == str(space.team_id)
    assert said not in (await editor.open(path)).text
    await editor.send_form(GOVERN, pipeline=one, team="nobody")
    await editor.sign_in(world.keys["viewer"])
    seen = (await editor.open(path)).text
    assert (said in seen, button in seen) == (True, False)
