"""Team and criticality, of one pipeline and of many, from the pages."""

from uuid import uuid4

import pytest

from conftest import RolledBackDatabase
from factories import TwoTenants, make_run
from validating_client import ValidatingClient
from web.conftest import OWN, SITE, Browser
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
    ("fields", "sentence"),
    [
        ({"criticality": "high"}, "Select the pipelines first"),
        ({"pipeline": "x", "criticality": "high"}, "Select them again"),
        ({"pipeline": "{some}"}, "Choose a team or a criticality to set."),
        ({"pipeline": "{some}", "criticality": "critical", "team": "x"}, "Choose one of the list."),
        ({"pipeline": "{some}", "criticality": "critical", "team": str(uuid4())}, "no such team"),
        ({"pipeline": "{some}", "criticality": "huge"}, "Choose one of the list."),
    ],
)
async def test_refused_bulk_edit_is_shown_again_with_its_input(
    editor: Browser, client: ValidatingClient, tenants: TwoTenants, fields: dict[str, str], sentence: str
) -> None:
    some = str(next(iter(tenants.finance.pipelines.values())))
    sent = {name: value.format(some=some) for name, value in fields.items()}
    before = await governed(client, tenants)
    page = f"{FLEET}?status=failed"
    response = await editor.post(GOVERN, data=sent, headers=OWN | {"Referer": f"{SITE}{page}"})
    assert response.status_code == 422
    assert sentence in response.text
    assert f'name="pipeline" value="{sent.get("pipeline", "")}"' in response.text or "pipeline" not in sent
    if sent.get("criticality") == "critical":
        assert "<option selected>critical" in response.text
    assert f'name="back" value="{page}"' in response.text
    part = await editor.post(GOVERN, data=sent, headers=OWN | {"HX-Request": "true"})
    assert (part.status_code, "<main" in part.text, sentence in part.text) == (422, False, True)
    assert await governed(client, tenants) == before


async def test_bulk_edit_returns_to_filtered_list_with_number_of_changes(editor: Browser, tenants: TwoTenants) -> None:
    ids = [str(pipeline) for pipeline in tenants.finance.pipelines.values()]
    page = f"{FLEET}?criticality=low&days=30"
    form = {"pipeline": ids[:2], "criticality": "low"}
    done = await editor.post(GOVERN, data=form, headers=OWN | {"Referer": f"{SITE}{page}"})
    assert (done.status_code, done.headers["location"]) == (303, page)
    assert "Pipelines changed: 2." in (await editor.open(page)).text
    assert "Pipelines changed" not in (await editor.open(page)).text, "once"
    part = await editor.post(GOVERN, data=form, headers=OWN | {"HX-Request": "true", "HX-Current-URL": f"{SITE}{page}"})
    assert (part.status_code, part.headers["hx-redirect"]) == (204, page)
    for elsewhere in ("https://evil.example/x", f"{SITE}//evil.example", "x"):
        done = await editor.post(GOVERN, data=form, headers=OWN | {"Referer": elsewhere})
        assert done.headers["location"] == FLEET


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
