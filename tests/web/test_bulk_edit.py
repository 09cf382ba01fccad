"""Team and criticality, of one pipeline and of many, from the pages."""

from uuid import uuid4

import pytest

from conftest import RolledBackDatabase
from factories import TwoTenants, make_run
from validating_client import ValidatingClient
from web.conftest import Browser
from windsock.sync.writer import MirrorWriter

pytestmark = pytest.mark.anyio

FLEET = "/spaces/finance/pipelines"
GOVERN = f"{FLEET}/govern"
API = "/spaces/finance/orchestration/pipelines"


async def governed(client: ValidatingClient, tenants: TwoTenants) -> dict[str, tuple[str, str | None]]:
    rows = (await client.as_(tenants.keys["viewer"], "GET", API)).json()
    return {row["id"]: (row["criticality"], row["team_id"]) for row in rows}


async def test_bulk_edit_sets_selected_pipelines_and_ignores_empty_fields(
    editor: Browser, client: ValidatingClient, tenants: TwoTenants
) -> None:
    ids = [str(pipeline) for pipeline in tenants.finance.pipelines.values()]
    before = await governed(client, tenants)
    both = {"pipeline": ids[:2], "team": str(tenants.finance.team_id), "criticality": "critical"}
    response = await editor.post(GOVERN, data=both, headers={"Origin": "http://windsock.test"})
    assert (response.status_code, response.headers["location"]) == (303, FLEET)
    after = await governed(client, tenants)
    for pipeline_id in ids:
        assert after[pipeline_id] == (
            ("critical", str(tenants.finance.team_id)) if pipeline_id in ids[:2] else before[pipeline_id]
        )
    await editor.send_form(GOVERN, pipeline=ids[0], criticality="low", team="")
    assert (await governed(client, tenants))[ids[0]] == ("low", str(tenants.finance.team_id))
    await editor.send_form(GOVERN, pipeline=ids[0], criticality="", team="nobody")
    assert (await governed(client, tenants))[ids[0]] == ("low", None)


async def test_bulk_edit_is_audited_with_actor(editor: Browser, client: ValidatingClient, tenants: TwoTenants) -> None:
    some = str(next(iter(tenants.finance.pipelines.values())))
    await editor.send_form(GOVERN, pipeline=some, criticality="high")
    trail = (await client.as_(tenants.keys["admin"], "GET", "/spaces/finance/audit-events?size=1")).json()
    assert trail[0]["target_id"] == some
    assert trail[0]["actor"]["id"] == str(tenants.users["editor"])


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
async def test_invalid_bulk_edit_is_reported_without_effect(
    editor: Browser, client: ValidatingClient, tenants: TwoTenants, fields: dict[str, str], status: int, sentence: str
) -> None:
    some = str(next(iter(tenants.finance.pipelines.values())))
    before = await governed(client, tenants)
    value = {"pipeline": some, "criticality": "critical"} | fields if fields else {}
    response = await editor.send_form(GOVERN, **value)
    assert response.status_code == status
    assert sentence in response.text
    assert await governed(client, tenants) == before


async def test_bulk_edit_is_denied_to_viewers_and_ignores_other_spaces(
    browser: Browser, client: ValidatingClient, tenants: TwoTenants
) -> None:
    some = str(next(iter(tenants.finance.pipelines.values())))
    await browser.sign_in(tenants.keys["viewer"])
    assert "govern" not in (await browser.open(FLEET)).text
    assert "govern" not in (await browser.open(f"{FLEET}/{some}")).text
    refused = await browser.send_form(GOVERN, pipeline=some, criticality="critical")
    assert refused.status_code == 403
    await browser.sign_in(tenants.keys["editor"])
    page = (await browser.open(FLEET)).text
    assert 'name="pipeline"' in page
    assert "marketing" not in page.lower()
    theirs = str(next(iter(tenants.marketing.pipelines.values())))
    assert (await browser.send_form(GOVERN, pipeline=theirs, criticality="critical")).status_code == 303
    rows = (await client.as_(tenants.keys["superadmin"], "GET", "/spaces/marketing/orchestration/pipelines")).json()
    assert "critical" not in {row["criticality"] for row in rows}


async def test_team_suggested_by_airflow_can_be_assigned_by_editor(
    editor: Browser, client: ValidatingClient, tenants: TwoTenants, db: RolledBackDatabase
) -> None:
    space, source = tenants.finance, "Airflow says Ingestion"
    pipeline_id = str(space.pipelines["daily_report"])
    path = f"{FLEET}/{pipeline_id}"
    assert "Airflow says" not in (await editor.open(path)).text
    run = make_run("daily_report", "r9", "success", hours_ago=0.1, provider_metadata={"team_name": "Ingestion"})
    async with db.tenant_transaction(space.id) as tx:
        await MirrorWriter(space.id, space.connector_id).store_runs(tx, [run], space.pipelines)
    assert (await governed(client, tenants))[pipeline_id][1] is None, "nobody is assigned by it"
    shown, button = (await editor.open(path)).text, "Set this team"
    assert source in shown
    assert button in shown
    await editor.send_form(GOVERN, pipeline=pipeline_id, team=str(space.team_id))
    assert (await governed(client, tenants))[pipeline_id][1] == str(space.team_id)
    assert source not in (await editor.open(path)).text
    await editor.send_form(GOVERN, pipeline=pipeline_id, team="nobody")
    await editor.sign_in(tenants.keys["viewer"])
    seen = (await editor.open(path)).text
    assert (source in seen, button in seen) == (True, False)
