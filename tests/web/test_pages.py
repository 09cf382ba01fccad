"""The pages of a space say what the API says, to whom it says it, and nothing of another space."""

import re
from html import unescape
from uuid import uuid4

import pytest

from conftest import RolledBackDatabase
from factories import TwoTenants
from validating_client import ValidatingClient
from web.conftest import Browser
from windsock.db.queries import Query

pytestmark = pytest.mark.anyio

FLEET = "/spaces/finance/pipelines"
API = "/spaces/finance/orchestration"
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'; DROP TABLE runs; --",
    "{{ 7 * 7 }}{% raw %}",
    "\u202etxt.exe\u202c",
    "x" * 10_000,
    "javascript:alert(1)",
]


def names(text: str) -> list[str]:
    return [unescape(match) for match in re.findall(r'<a class="open"[^>]*>(.*?)</a>', text)]


@pytest.mark.parametrize(
    "query",
    [
        "",
        "?sort=-failed_count",
        "?q=a",
        "?status=failed",
        "?size=2&page=2",
        "?days=365",
        "?watched_only=true",
        "?criticality=critical&criticality=medium",
        "?q=nothing-is-called-so",
        "?status=failed&status=success&sort=-name",
    ],
)
async def test_pipeline_list_page_matches_api_list(
    viewer: Browser, client: ValidatingClient, tenants: TwoTenants, query: str
) -> None:
    listed = await client.as_(tenants.keys["viewer"], "GET", f"{API}/pipelines{query}")
    shown = await viewer.open(f"{FLEET}{query}")
    assert shown.status_code == 200
    assert names(shown.text) == [row["name"] for row in listed.json()]
    part = await viewer.open(f"{FLEET}{query}", headers={"HX-Request": "true"})
    assert part.text.lstrip().startswith('<section id="list"')
    assert names(part.text) == names(shown.text)


async def test_pages_hide_other_spaces(viewer: Browser, tenants: TwoTenants) -> None:
    for path in (
        FLEET,
        f"{FLEET}/{tenants.finance.pipelines['paid']}" if "paid" in tenants.finance.pipelines else FLEET,
    ):
        assert "marketing" not in (await viewer.open(path)).text.lower()
    theirs = next(iter(tenants.marketing.pipelines.values()))
    for path in (
        f"{FLEET}/{theirs}",
        f"/spaces/finance/runs/{tenants.marketing.run_id}",
        f"{FLEET}/{uuid4()}",
        "/spaces/finance/no-such-page",
    ):
        response = await viewer.open(path)
        assert response.status_code == 404, path
        assert "<h1>Not found</h1>" in response.text
    refused = await viewer.open("/spaces/marketing/pipelines")
    missing = await viewer.open("/spaces/no-such-space/pipelines")
    assert (refused.status_code, missing.status_code) == (403, 403)
    assert refused.text == missing.text
    for path in (
        f"{FLEET}/{theirs}/watch",
        f"/spaces/finance/runs/{tenants.marketing.run_id}/comments",
        f"/spaces/finance/runs/{tenants.finance.run_id}/task-runs/{uuid4()}/comments",
    ):
        assert (await viewer.send_form(path, content="x", watched="true")).status_code == 404, path


@pytest.mark.parametrize(
    "query", ["days=0", "days=abc", "sort=nothing", "page=0", "criticality=huge", "team_id=1", "q=%00"]
)
async def test_invalid_url_is_reported(viewer: Browser, query: str) -> None:
    response = await viewer.open(f"{FLEET}?{query}")
    assert response.status_code == 400
    assert "cannot be understood" in response.text


async def test_empty_query_parameters_are_removed_by_redirect(viewer: Browser) -> None:
    response = await viewer.open(f"{FLEET}?q=&criticality=&days=7")
    assert (response.status_code, response.headers["location"]) == (303, f"{FLEET}?days=7")


async def test_home_redirects_to_overview_of_the_only_space(browser: Browser, tenants: TwoTenants) -> None:
    await browser.sign_in(tenants.keys["viewer"])
    response = await browser.open("/")
    assert (response.status_code, response.headers["location"]) == (303, "/spaces/finance")


async def test_watch_button_works_with_and_without_javascript(
    viewer: Browser, client: ValidatingClient, tenants: TwoTenants
) -> None:
    some = next(iter(tenants.finance.pipelines.values()))

    async def is_watched() -> bool:
        reply = await client.as_(tenants.keys["viewer"], "GET", f"{API}/pipelines/{some}")
        return bool(reply.json()["is_watched"])

    response = await viewer.send_form(f"{FLEET}/{some}/watch", watched="true")
    assert (response.status_code, response.headers["location"]) == (303, f"{FLEET}/{some}")
    assert await is_watched()
    headers = {"HX-Request": "true", "Origin": "http://windsock.test"}
    part = await viewer.post(f"{FLEET}/{some}/watch", data={"watched": "false"}, headers=headers)
    assert part.status_code == 200
    assert part.text.strip().startswith("<form")
    assert 'aria-pressed="false"' in part.text
    assert not await is_watched()


async def test_pipeline_page_lists_runs_of_api(viewer: Browser, client: ValidatingClient, tenants: TwoTenants) -> None:
    for name, pipeline_id in sorted(tenants.finance.pipelines.items()):
        listed = await client.as_(tenants.keys["viewer"], "GET", f"{API}/pipelines/{pipeline_id}/runs?size=2")
        shown = await viewer.open(f"{FLEET}/{pipeline_id}?size=2")
        assert shown.status_code == 200
        assert f'<h1 dir="auto">{name}</h1>' in shown.text
        assert names(shown.text) == [run["external_id"] for run in listed.json()]
        older = re.search(r'<a rel="next" href="([^"]+)"', shown.text)
        assert bool(older) == ("x-next-cursor" in listed.headers)
        if older:
            assert (await viewer.open(unescape(older[1]))).status_code == 200
        assert (await viewer.open(f"{FLEET}/{pipeline_id}?status=failed")).status_code == 200


async def test_pipeline_page_charts_runs_and_days(
    viewer: Browser, client: ValidatingClient, tenants: TwoTenants
) -> None:
    drawn = 0
    for pipeline_id in tenants.finance.pipelines.values():
        runs = (await client.as_(tenants.keys["viewer"], "GET", f"{API}/pipelines/{pipeline_id}/runs")).json()
        body = (await client.as_(tenants.keys["viewer"], "GET", f"{API}/pipelines/{pipeline_id}?days=365")).json()
        text = (await viewer.open(f"{FLEET}/{pipeline_id}?days=365")).text
        marks = text.count("<circle ") + text.count('class="cross"')
        ended = [run for run in runs if run["duration_seconds"] is not None]
        assert marks == len(ended)
        assert all(f'href="/spaces/finance/runs/{run["id"]}"' in text for run in ended)
        if body["summary"]["total_runs"]:
            drawn += 1
            assert f"Runs by the day: {body['summary']['total_runs']} in 366 days" in text
    assert drawn


RUN_CHANGES = Query(
    "UPDATE runs SET status = 'success', last_synced_at = now() - %(ago)s::interval"
    " WHERE space_id = %(space_id)s AND id = %(id)s"
)
SYNC_ENDS = Query(
    "UPDATE sync_states SET last_sync_status = %(status)s, last_sync_at = now(),"
    " last_complete_at = now() - interval '2 hours' WHERE space_id = %(space_id)s"
)


async def test_run_header_polls_while_running(viewer: Browser, tenants: TwoTenants, db: RolledBackDatabase) -> None:
    path = f"/spaces/finance/runs/{tenants.finance.run_id}"
    async with db.tenant_transaction(tenants.finance.id) as tx:
        await tx.execute(SYNC_ENDS, space_id=tenants.finance.id, status="complete")
    part = await viewer.open(path, headers={"HX-Request": "true"})
    assert part.text.lstrip().startswith('<div id="now"')
    assert "<table" not in part.text
    assert "every 4s" not in part.text
    async with db.tenant_transaction(tenants.finance.id) as tx:
        running = "UPDATE runs SET status = 'running', ended_at = NULL WHERE id = %(id)s AND space_id = %(space_id)s"
        await tx.execute(Query(running), id=tenants.finance.run_id, space_id=tenants.finance.id)
    for headers in ({}, {"HX-Request": "true"}):
        assert 'hx-trigger="every 4s"' in (await viewer.open(path, headers=headers)).text


@pytest.mark.parametrize(("status", "ago", "goes_on"), [
    ("complete", "1 minute", False), ("partial", "1 minute", True), ("partial", "61 minutes", False),
    ("partial", "3 hours", False), (None, "1 minute", True),
])  # fmt: skip
async def test_finished_run_page_polls_until_sync_has_stored_its_tasks(
    viewer: Browser, tenants: TwoTenants, db: RolledBackDatabase, status: str | None, ago: str, *, goes_on: bool
) -> None:
    space, path = tenants.finance, f"/spaces/finance/runs/{tenants.finance.run_id}"
    async with db.tenant_transaction(space.id) as tx:
        await tx.execute(SYNC_ENDS, space_id=space.id, status=status)
        await tx.execute(RUN_CHANGES, space_id=space.id, id=space.run_id, ago=ago)
        await tx.execute(Query("DELETE FROM task_runs WHERE space_id = %(space_id)s"), space_id=space.id)
    assert (await viewer.open(f"{path}/tasks")).json()["goes_on"] is goes_on
    whole = (await viewer.open(path)).text
    assert ("No tasks yet." in whole) is goes_on, "an empty run is told from one whose tasks are to come"
    for text in (whole, (await viewer.open(path, headers={"HX-Request": "true"})).text):
        assert ('hx-trigger="every 4s"' in text) is goes_on


async def test_run_shows_tasks_and_adds_comments(
    viewer: Browser, client: ValidatingClient, tenants: TwoTenants
) -> None:
    run_id = tenants.finance.run_id
    path = f"/spaces/finance/runs/{run_id}"
    run = (await client.as_(tenants.keys["viewer"], "GET", f"{API}/runs/{run_id}")).json()
    shown = await viewer.open(path)
    assert [name.split(" [")[0].strip() for name in names(shown.text)] == [
        item["external_id"] for item in run["task_runs"]
    ]
    done = await viewer.send_form(f"{path}/comments", content="  The bank was late.  ")
    assert done.status_code == 303
    assert re.fullmatch(rf"{path}#comment-[0-9a-f-]{{36}}", done.headers["location"])
    task = run["task_runs"][0]["id"]
    assert (await viewer.send_form(f"{path}/task-runs/{task}/comments", content="This one too.")).status_code == 303
    comments = await client.as_(tenants.keys["viewer"], "GET", f"{API}/runs/{run_id}/comments")
    assert "The bank was late." in [item["content"] for item in comments.json()]
    text = (await viewer.open(path)).text
    assert "The bank was late." in text
    assert "This one too." in text
    for empty in ("", "   ", "x" * 10_001):
        refused = await viewer.send_form(f"{path}/comments", content=empty)
        assert refused.status_code == 422
        assert "1 to 10,000 characters" in refused.text


@pytest.mark.parametrize("hostile", HOSTILE)
async def test_user_and_airflow_text_is_escaped(
    viewer: Browser, tenants: TwoTenants, db: RolledBackDatabase, hostile: str
) -> None:
    run_id = tenants.finance.run_id
    async with db.tenant_transaction(tenants.finance.id) as tx:
        await tx.execute(
            Query(
                "UPDATE pipelines SET name = %(x)s, description = %(x)s, owner = %(x)s, tags = ARRAY[%(x)s],"
                " schedule = %(x)s, schedule_description = NULL WHERE %(space_id)s::uuid IS NOT NULL"
            ),
            x=hostile,
            space_id=tenants.finance.id,
        )
        await tx.execute(Query("UPDATE runs SET note = %(x)s, external_id = id || left(%(x)s, 500)"), x=hostile)
        await tx.execute(Query("UPDATE task_runs SET external_id = id||left(%(x)s, 500), operator = %(x)s"), x=hostile)
    path = f"/spaces/finance/runs/{run_id}"
    assert (await viewer.send_form(f"{path}/comments", content=hostile)).status_code == 303
    pages = [FLEET, path, *(f"{FLEET}/{pipeline}" for pipeline in tenants.finance.pipelines.values())]
    for page in pages:
        text = (await viewer.open(page)).text  # looks for inline scripts and handlers, too
        assert "alert(1)</script>" not in text
        assert "<img src=x" not in text
        assert "49" not in re.findall(r">\s*49", text)
        assert 'href="javascript' not in text


async def test_static_files_are_immutable_and_unknown_ones_are_404(browser: Browser) -> None:
    text = (await browser.open("/sign-in")).text
    files = re.findall(r'(?:href|src)="(/static/[^"]+)"', text)
    assert len(files) == 6
    for path in files:
        response = await browser.get(path)
        assert response.status_code == 200
        assert "immutable" in response.headers["cache-control"]
    for path in ("/static/routes.py", "/static/..%2froutes.py", "/static/"):
        assert (await browser.get(path)).status_code == 404


async def test_internal_error_page_discloses_no_details(viewer: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError("planted")

    monkeypatch.setattr("windsock.web.pipeline_list.list_pipelines", broken)
    response = await viewer.get(FLEET)
    assert response.status_code == 500
    assert "A fault of Windsock&#39;s own" in response.text
    assert "<h1>Something is wrong</h1>" in response.text
    assert "planted" not in response.text
