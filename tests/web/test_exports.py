"""CSV of pipelines and runs, of the pages and of the API: all rows of the list, streamed in batches."""

import csv
import io
from dataclasses import replace

import httpx2
import pytest

from conftest import RolledBackDatabase
from factories import TwoTenants, make_pipeline, make_run
from validating_client import ValidatingClient
from web.conftest import Browser
from windsock.http import csv_export
from windsock.pipelines import routes as pipeline_routes
from windsock.runs import routes as run_routes
from windsock.sync.writer import MirrorWriter
from windsock.web import exports

pytestmark = pytest.mark.anyio
API = "/spaces/finance/orchestration"
CSV = {"Accept": "text/csv"}


def rows_of(response: httpx2.Response) -> list[dict[str, str]]:
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/csv; charset=utf-8"
    assert response.headers["content-disposition"].startswith('attachment; filename="')
    return list(csv.DictReader(io.StringIO(response.text, newline="")))


@pytest.fixture(params=[1, 3, 500])
def batch_size(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    for module in (csv_export, pipeline_routes, run_routes, exports):
        monkeypatch.setattr(module, "BATCH_SIZE", request.param)
    return int(request.param)


@pytest.mark.parametrize("query", ["", "?status=failed", "?q=report", "?owner=bob&status=success", "?size=1&page=2"])
@pytest.mark.usefixtures("batch_size")
async def test_csv_of_runs_has_the_rows_of_the_list(
    viewer: Browser, client: ValidatingClient, tenants: TwoTenants, query: str
) -> None:
    key = tenants.keys["viewer"]
    expected = (await client.as_(key, "GET", f"{API}/runs{query.partition('?size')[0]}")).json()
    of_api = rows_of(await client.as_(key, "GET", f"{API}/runs{query}", headers=CSV))
    of_page = rows_of(await viewer.get(f"/spaces/finance/runs.csv{query.partition('?size')[0]}"))
    assert of_page == of_api
    for shown, row in zip(of_api, expected, strict=True):
        assert shown["pipeline"] == row["pipeline"]["name"]
        for name in ("id", "status", "run_type", "external_id", "started_at", "provider_url"):
            assert shown[name] == (row[name] or ""), name
        assert float(shown["duration_seconds"] or 0) == (row["duration_seconds"] or 0)


@pytest.mark.parametrize(
    "query", ["", "?status=success", "?q=report", "?is_paused=true", "?days=30&sort=-failed_count"]
)
@pytest.mark.usefixtures("batch_size")
async def test_csv_of_pipelines_has_the_rows_of_the_list_by_name(
    viewer: Browser, client: ValidatingClient, tenants: TwoTenants, query: str
) -> None:
    key, without_sort = tenants.keys["viewer"], query.partition("&sort")[0]
    expected = (await client.as_(key, "GET", f"{API}/pipelines{without_sort}")).json()
    of_api = rows_of(await client.as_(key, "GET", f"{API}/pipelines{query}", headers=CSV))
    assert rows_of(await viewer.get(f"/spaces/finance/pipelines.csv{query}")) == of_api
    for shown, row in zip(of_api, expected, strict=True):
        assert shown["connector"] == row["connector"]["name"]
        assert shown["tags"] == ", ".join(row["tags"])
        assert shown["failed_count"] == str(row["summary"]["failed_count"])
        assert shown["last_run_status"] == (row["last_run"]["status"] if row["last_run"] else "")
        for name in ("id", "name", "criticality", "status"):
            assert shown[name] == row[name], name


async def test_names_that_are_formulas_or_have_line_breaks_are_plain_text(
    viewer: Browser, tenants: TwoTenants, db: RolledBackDatabase
) -> None:
    name = '=HYPERLINK("http://x.test";"a,b")\r\nnext'
    async with db.tenant_transaction(tenants.finance.id) as tx:
        writer = MirrorWriter(tenants.finance.id, tenants.finance.connector_id)
        _, ids = await writer.store_pipelines(tx, [replace(make_pipeline("formula", owners=["@owner"]), name=name)])
        await writer.store_runs(tx, [make_run("formula", "-1", "success", note="+note")], ids)
    (pipeline,) = [row for row in rows_of(await viewer.get("/spaces/finance/pipelines.csv")) if row["name"][0] == "'"]
    assert (pipeline["name"], pipeline["owner"]) == (f"'{name}", "'@owner")
    (run,) = rows_of(await viewer.get("/spaces/finance/runs.csv?q=formula"))
    assert (run["pipeline"], run["external_id"], run["note"]) == (f"'{name}", "'-1", "'+note")


async def test_json_and_csv_have_different_etags(client: ValidatingClient, tenants: TwoTenants) -> None:
    key = tenants.keys["viewer"]
    for path in ("pipelines", "runs"):
        as_json = await client.as_(key, "GET", f"{API}/{path}")
        as_csv = await client.as_(key, "GET", f"{API}/{path}", headers=CSV)
        assert as_json.headers["etag"] != as_csv.headers["etag"]
        assert "Accept" in as_json.headers["vary"].split(", ")
        stored = {**CSV, "If-None-Match": as_json.headers["etag"]}
        assert (await client.as_(key, "GET", f"{API}/{path}", headers=stored)).status_code == 200


async def test_empty_list_is_a_header(viewer: Browser) -> None:
    for path in ("pipelines.csv?q=nothing-is-called-so", "runs.csv?status=nothing"):
        response = await viewer.get(f"/spaces/finance/{path}")
        assert rows_of(response) == []
        assert response.text.startswith("id,")


async def test_export_requires_a_session_and_membership(browser: Browser, tenants: TwoTenants) -> None:
    for path in ("pipelines.csv", "runs.csv"):
        assert (await browser.get(f"/spaces/finance/{path}")).status_code == 303
        await browser.sign_in(tenants.keys["stranger"])
        assert (await browser.get(f"/spaces/finance/{path}")).status_code == 403
        browser.cookies.clear()


async def test_runs_page_links_to_the_export_with_its_filters(viewer: Browser) -> None:
    text = (await viewer.open("/spaces/finance/runs?status=failed&size=1")).text
    assert 'href="/spaces/finance/runs.csv?status=failed" download' in text
    assert 'href="/spaces/finance/runs.csv" download' in (await viewer.open("/spaces/finance/runs")).text
