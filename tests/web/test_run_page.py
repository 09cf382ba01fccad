"""The page of a run: title, what failed, what it was started with, neighbours, and runs with thousands of task runs."""

import re
from datetime import timedelta
from html import unescape
from typing import Any
from uuid import UUID, uuid4

import pytest
from fastapi import FastAPI

from actions.fake_runs import install
from conftest import RolledBackDatabase
from factories import NOW, TwoTenants, make_run, make_task_run
from statements import count_statements
from validating_client import ValidatingClient
from web.conftest import Browser
from windsock.context import AppContext
from windsock.db.queries import Query
from windsock.sync.writer import MirrorWriter
from windsock.web.filters import date_time
from windsock.web.runs import MAX_CONF_CHARACTERS, conf_text

pytestmark = pytest.mark.anyio

API = "/spaces/finance/orchestration"
MANY = 5_000
FILL = Query("""
INSERT INTO task_runs (space_id, run_id, external_id, name, status, try_number, max_tries, map_index)
SELECT r.space_id, r.id, CASE WHEN %(mapped)s THEN 'mapped' ELSE 'task_' || i END, 'x',
       CASE WHEN i %% 50 = 0 THEN 'failed' ELSE 'success' END, 1, 0, CASE WHEN %(mapped)s THEN i ELSE -1 END
FROM runs r, generate_series(1, %(many)s) i WHERE r.space_id = %(space_id)s AND r.id = %(run_id)s
""")
COUNTS = Query("""
UPDATE runs SET task_counts = %(counts)s::jsonb WHERE space_id = %(space_id)s AND id = %(run_id)s
""")


async def add_run(db: RolledBackDatabase, tenants: TwoTenants, tasks: dict[str, str], **fields: Any) -> str:
    """Another run of daily_report with tasks of these states; its path."""
    space = tenants.finance
    async with db.tenant_transaction(space.id) as tx:
        writer = MirrorWriter(space.id, space.connector_id)
        run = make_run("daily_report", "manual__x", "failed", hours_ago=3, **fields)
        await writer.store_runs(tx, [run], space.pipelines)
        found = [make_task_run("daily_report", "manual__x", name, status) for name, status in tasks.items()]
        await writer.store_task_runs(tx, found, space.pipelines)
        (row,) = await tx.fetch_all(Query("SELECT id FROM runs WHERE external_id = 'manual__x'"))
    return f"/spaces/finance/runs/{row['id']}"


async def fill(db: RolledBackDatabase, space_id: UUID, run_id: UUID, many: int, *, mapped: bool) -> None:
    async with db.tenant_transaction(space_id) as tx:
        await tx.execute(FILL, space_id=space_id, run_id=run_id, many=many, mapped=mapped)
        counts = f'{{"success": {many - many // 50}, "failed": {many // 50}}}'
        await tx.execute(COUNTS, space_id=space_id, run_id=run_id, counts=counts)


def text_of(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


async def test_title_names_pipeline_start_and_state(
    viewer: Browser, db: RolledBackDatabase, tenants: TwoTenants
) -> None:
    path = await add_run(db, tenants, {})
    html = (await viewer.open(path)).text
    started = date_time(NOW - timedelta(hours=3), NOW)
    assert re.fullmatch(r"\d{1,2} [A-Z][a-z]{2}( \d{4})? \d\d:\d\d UTC", started)
    assert f"<title>daily_report · {started} · failed · Windsock</title>" in html
    title = re.search(r"<h1>(.*?)</h1>", html)
    assert title
    assert text_of(title[1]) == f"daily_report · {started} · failed"
    assert '<code id="run-id" dir="auto">manual__x</code>' in html
    assert re.search(
        r"<dt>Started</dt><dd><time [^>]*>[^<]*\d\d:\d\d:\d\d UTC</time> <span[^>]*>[34] h( \d+ min)? ago</span>", html
    )


def test_year_is_shown_for_other_years_only() -> None:
    assert date_time(NOW.replace(year=2001, month=11, day=9, hour=3, minute=8), NOW) == "9 Nov 2001 03:08 UTC"
    assert date_time(NOW.replace(month=11, day=29, hour=3, minute=8), NOW) == "29 Nov 03:08 UTC"


async def test_run_links_to_runs_before_and_after_it(viewer: Browser, tenants: TwoTenants) -> None:
    html = (await viewer.open(f"/spaces/finance/runs/{tenants.finance.run_id}")).text
    assert 'rel="prev"' not in html, "it is the first run"
    following = re.search(r'rel="next" href="([^"]+)"', html)
    assert following
    html = (await viewer.open(following[1])).text
    assert f'rel="prev" href="/spaces/finance/runs/{tenants.finance.run_id}"' in html
    assert 'rel="next"' not in html


async def test_only_failed_tasks_are_called_failed(
    viewer: Browser, db: RolledBackDatabase, tenants: TwoTenants
) -> None:
    tasks = {"load": "failed", "publish": "upstream_failed", "totals": "upstream_failed", "fetch": "up_for_retry"}
    html = (await viewer.open(await add_run(db, tenants, tasks))).text
    section = html[html.index('<section class="failed-tasks"') :].split("</section>")[0]
    assert '<h2 id="failed">1 task failed</h2>' in section
    rows = re.findall(r'<tr class="row">.*?</tr>', section, re.DOTALL)
    assert [text_of(row).split()[:2] for row in rows] == [["failed", "load"]]
    assert "10 min" in rows[0]
    assert "PythonOperator" in rows[0]
    assert re.search(r'href="[^"]*"[^>]*>Airflow ↗', rows[0])
    assert "upstream failed 2 did not run: publish , totals" in text_of(section)
    assert "up for retry fetch" in text_of(section)
    assert html.index('class="failed-tasks"') < html.index('id="grid"'), "what failed comes first"


async def test_failed_run_without_failed_task_shows_explanation(
    viewer: Browser, db: RolledBackDatabase, tenants: TwoTenants
) -> None:
    path = await add_run(db, tenants, {"load": "success"})
    async with db.tenant_transaction(tenants.finance.id) as tx:
        synced = "UPDATE sync_states SET last_complete_at = now() + interval '1 s' WHERE space_id = %(space_id)s"
        await tx.execute(Query(synced), space_id=tenants.finance.id)
    assert "none of its tasks did" in (await viewer.open(path)).text
    assert "none of its tasks did" not in (await viewer.open(f"/spaces/finance/runs/{tenants.finance.run_id}")).text


async def test_conf_is_shown_as_indented_json(viewer: Browser, db: RolledBackDatabase, tenants: TwoTenants) -> None:
    path = await add_run(db, tenants, {}, conf={"country": "<FR>", "shops": [1]})
    html = (await viewer.open(path)).text
    assert "{\n  &#34;shops&#34;: [\n    1\n  ],\n  &#34;country&#34;: &#34;&lt;FR&gt;&#34;\n}" in html
    assert '<details class="conf" open>' in html


def test_long_conf_is_closed_and_bounded() -> None:
    assert conf_text({}) is None
    short, long, huge = conf_text({"a": 1}), conf_text(list(range(100))), conf_text(["x" * 30_000])
    assert short
    assert (short["is_long"], short["is_cut"]) == (False, False)
    assert long
    assert (long["lines"], long["is_long"], long["is_cut"]) == (102, True, False)
    assert huge
    assert (len(huge["text"]), huge["is_cut"]) == (MAX_CONF_CHARACTERS, True)


async def test_params_show_values_of_conf_and_defaults(
    viewer: Browser, db: RolledBackDatabase, tenants: TwoTenants, app: FastAPI, process: AppContext
) -> None:
    runs = install(app, process)
    country = {"value": "DE", "schema": {"type": "string"}, "description": None}
    limit = {"value": 10, "schema": {"type": "integer"}, "description": None}
    runs.details = (200, {"params": {"country": country, "limit": limit}})
    path = await add_run(db, tenants, {}, conf={"country": "FR"})
    assert f'hx-get="{path}/params"' in (await viewer.open(path)).text
    for headers in ({}, {"HX-Request": "true"}):
        html = (await viewer.open(f"{path}/params", headers=headers)).text
        rows = [text_of(row) for row in re.findall(r"<tr><td.*?</tr>", html)]
        assert rows == ['country "FR" conf', "limit 10 default"]
        assert ("<html" in html) is (not headers)


async def test_unreadable_params_show_reason(
    viewer: Browser, tenants: TwoTenants, app: FastAPI, process: AppContext
) -> None:
    install(app, process).details = (503, {"detail": "down"})
    shown = await viewer.open(f"/spaces/finance/runs/{tenants.finance.run_id}/params")
    assert shown.status_code == 200
    assert "The params could not be read." in shown.text


@pytest.mark.parametrize("mapped", [True, False])
async def test_run_with_thousands_of_tasks_costs_as_many_statements_and_bounded_html(
    viewer: Browser, db: RolledBackDatabase, tenants: TwoTenants, *, mapped: bool
) -> None:
    path = f"/spaces/finance/runs/{tenants.finance.run_id}"
    executed = count_statements(db)
    await viewer.open(path)
    small = len(executed)
    await fill(db, tenants.finance.id, tenants.finance.run_id, MANY, mapped=mapped)
    executed.clear()
    html = (await viewer.open(path)).text
    assert len(executed) == small
    assert len(html) < 150_000
    assert html.count('<tr class="row" id="task-') == 100
    section = html[html.index('<section class="failed-tasks"') :].split("</section>")[0]
    assert section.count('<tr class="row">') == 20
    assert "The first 20." in section
    more = (await viewer.open(f"{path}?failed=all")).text
    assert more[more.index('class="failed-tasks"') :].split("</section>")[0].count('<tr class="row">') == 101
    last = (await viewer.open(f"{path}?page=51")).text
    assert last.count('<tr class="row" id="task-') == 5
    assert "This page has no tasks." in (await viewer.open(f"{path}?page=99")).text


async def test_grid_reads_instances_of_mapped_task_only_when_opened(
    viewer: Browser, db: RolledBackDatabase, tenants: TwoTenants
) -> None:
    await fill(db, tenants.finance.id, tenants.finance.run_id, MANY, mapped=True)
    path = f"/spaces/finance/runs/{tenants.finance.run_id}/tasks"
    body = await viewer.open(path)
    assert len(body.content) < 5_000
    rows = {row["external_id"]: row for row in rows_of(body.json())}
    assert rows["mapped"]["counts"] == {"success": 4_900, "failed": 100}
    opened = rows_of((await viewer.open(f"{path}?task_id=mapped")).json())
    assert [row["map_index"] for row in opened] == list(range(1, MANY + 1))


def rows_of(body: dict[str, Any]) -> list[dict[str, Any]]:
    return [dict(zip(body["columns"], row, strict=True)) for row in body["tasks"]]


async def test_run_tasks_json_matches_api(viewer: Browser, client: ValidatingClient, tenants: TwoTenants) -> None:
    path = f"/spaces/finance/runs/{tenants.finance.run_id}"
    run = (await client.as_(tenants.keys["viewer"], "GET", f"{API}/runs/{tenants.finance.run_id}")).json()
    shown: list[dict[str, Any]] = []
    for query in ("", "?task_id=check"):
        body = (await viewer.open(f"{path}/tasks{query}")).json()
        shown += [dict(zip(body["columns"], row, strict=True)) for row in body["tasks"]]
    mapped = [row for row in shown if row["counts"]]
    assert [(row["external_id"], row["counts"]) for row in mapped] == [("check", {"success": 3})]
    by_id = {row.pop("id"): row for row in shown if row["id"]}
    columns = [name for name in body["columns"] if name not in {"id", "counts"}]
    assert {key: {name: row[name] for name in columns} for key, row in by_id.items()} == {
        task["id"]: {name: task[name] for name in columns} for task in run["task_runs"]
    }
    assert (await viewer.open(f"/spaces/finance/runs/{tenants.marketing.run_id}/tasks")).status_code == 404
    about = (await viewer.open(f"{path}?about={run['task_runs'][0]['id']}")).text
    assert f'action="{path}/task-runs/{run["task_runs"][0]["id"]}/comments"' in about
    assert f'action="{path}/comments"' in (await viewer.open(f"{path}?about={uuid4()}")).text
