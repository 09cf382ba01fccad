"""What people decide and start, in a real browser."""

import re
from datetime import datetime
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest
from playwright.sync_api import Page, expect

from browser.conftest import Visitor
from windsock.db.database import CONNECTION_OPTIONS

MANY = 5_000
FILL = """
INSERT INTO task_runs (space_id, run_id, external_id, name, map_index, status, try_number, max_tries, queued_at,
                       started_at, ended_at)
SELECT r.space_id, r.id, CASE WHEN n <= %(many)s / 2 THEN 'group.mapped' ELSE 'group.inner.task_' || n END,
       'x', CASE WHEN n <= %(many)s / 2 THEN n ELSE -1 END,
       CASE WHEN n %% 50 = 0 THEN 'failed' ELSE 'success' END, 1, 0,
       w.at, w.at + interval '1 s', w.at + interval '5 s'
FROM runs r, generate_series(1, %(many)s) n, LATERAL (SELECT r.run_at + n * interval '1 s' AS at) w
WHERE r.id = %(run_id)s
"""


def test_bulk_edit_sets_team_and_criticality_of_selected_pipelines(visitor: Visitor) -> None:
    visitor.sign_in("editor")
    page = visitor.page
    boxes = page.locator("tr.row input[type=checkbox]")
    boxes.nth(0).check()
    boxes.nth(1).check()
    page.evaluate("htmx.ajax('GET', location.pathname, {target: '#list', swap: 'outerHTML'})")
    page.wait_for_load_state("networkidle")
    expect(boxes.nth(0)).to_be_checked()  # a list that renews itself keeps what is ticked
    page.locator("#govern select[name=criticality]").select_option("critical")
    page.locator("#govern select[name=team]").select_option(label="ingestion")
    page.get_by_role("button", name="Set").click()
    expect(page.locator("tr.row .criticality.critical")).to_have_count(2)
    expect(page.locator("tr.row .whose").first).to_contain_text("ingestion")


def test_trigger_form_shows_airflow_rejection_and_sends_corrected_params(visitor: Visitor) -> None:
    live, page = visitor.live, visitor.page
    live.runs.details = (
        200,
        {
            "params": {
                "day": {"value": None, "schema": {"type": "string"}},
                "many": {"value": 3, "schema": {"type": "integer"}},
            }
        },
    )
    live.runs.faults = [(400, "Invalid input for param day: it is no day")]
    visitor.sign_in("editor")
    page.get_by_role("link", name="daily_report").click()
    page.get_by_role("link", name="Trigger").click()
    page.get_by_label("day").fill("Sunday")
    page.get_by_role("button", name="Trigger").click()
    expect(page.get_by_role("alert")).to_contain_text("Airflow: Invalid input for param day")
    visitor.complaints.clear()  # Chromium notes the 422 that this is
    expect(page.get_by_label("day")).to_have_value("Sunday")
    page.get_by_label("day").fill("2026-11-27")
    page.get_by_label("many").fill("7")
    page.get_by_role("button", name="Trigger").click()
    expect(page.locator(".head .state")).to_have_text("queued")
    assert live.runs.posts[-1]["conf"] == {"day": "2026-11-27", "many": 7}


def test_connector_form_tests_connection_before_creation(visitor: Visitor) -> None:
    visitor.sign_in("editor")
    page = visitor.page
    page.get_by_role("link", name="Connectors").click()
    page.get_by_role("link", name="Connect an Airflow").click()
    page.get_by_label("Name", exact=True).fill("third")
    page.get_by_label("URL", exact=True).fill("http://127.0.0.1:9")
    expect(page.get_by_label("Token")).to_be_hidden()
    page.get_by_label("User name").fill("ada")
    page.get_by_label("Password").fill("secret")
    page.get_by_role("button", name="Test the connection").click()
    expect(page.get_by_role("status")).to_contain_text("It does not work yet.")
    expect(page.get_by_label("Password")).to_have_value("secret")
    page.get_by_role("button", name="Connect", exact=True).click()
    expect(page.locator("h1")).to_have_text("third")


@pytest.fixture
def large_run(visitor: Visitor) -> str:
    finance = visitor.live.tenants.finance
    with psycopg.connect(visitor.live.database_url, options=CONNECTION_OPTIONS, autocommit=False) as connection:
        connection.execute("SELECT set_config('windsock.space_id', %s, true)", (str(finance.id),))
        connection.execute("DELETE FROM task_runs WHERE external_id LIKE 'group.%%'")
        connection.execute(FILL, {"many": MANY, "run_id": finance.run_id})
    return f"{visitor.live.url}/spaces/finance/runs/{finance.run_id}"


ENDS_WITHOUT_TASKS = """
INSERT INTO runs (space_id, pipeline_id, external_id, status, run_type, run_at)
SELECT space_id, pipeline_id, 'just_ended', 'success', 'manual', now() FROM runs WHERE id = %(run_id)s
RETURNING id
"""
TASKS_COME = """
INSERT INTO task_runs (space_id, run_id, external_id, name, status, try_number, max_tries, queued_at, started_at,
                       ended_at)
VALUES (%(space_id)s, %(run_id)s, 'the_late_one', 'x', 'success', 1, 0, now(), now(), now())
"""
SYNC_ENDS = """
UPDATE sync_states SET last_sync_at = now(), last_sync_status = 'complete' WHERE space_id = %(space_id)s
"""


def test_run_page_polls_for_late_tasks_until_sync_completes(visitor: Visitor) -> None:
    finance, page = visitor.live.tenants.finance, visitor.page
    names = {"space_id": finance.id, "run_id": finance.run_id}
    with psycopg.connect(visitor.live.database_url, options=CONNECTION_OPTIONS, autocommit=True) as connection:
        connection.execute("SELECT set_config('windsock.space_id', %s, false)", (str(finance.id),))
        names["run_id"] = connection.execute(ENDS_WITHOUT_TASKS, names).fetchall()[0][0]
        visitor.sign_in()
        page.goto(f"{visitor.live.url}/spaces/finance/runs/{names['run_id']}")
        expect(page.locator("#none")).to_have_text("No tasks yet.")
        connection.execute(TASKS_COME, names)
        expect(page.locator("#grid .line").filter(has_text="the_late_one")).to_be_visible(timeout=20_000)
        expect(page.locator("#now[hx-get]")).to_have_count(1)
        connection.execute(SYNC_ENDS, names)
        expect(page.locator("#now[hx-get]")).to_have_count(0, timeout=20_000)
        requests = len(visitor.requests)
        page.wait_for_timeout(5_000)
        assert len(visitor.requests) - requests <= 1, "nothing more is asked for"
        connection.execute("DELETE FROM runs WHERE id = %(run_id)s", names)


def in_document(page: Page) -> int:
    return page.locator("#grid .view .line").count()


def test_grid_with_thousands_of_tasks_renders_only_visible_rows(visitor: Visitor, large_run: str) -> None:
    visitor.sign_in()
    page = visitor.page
    page.goto(large_run)
    mapped = page.get_by_role("button", name="mapped")
    expect(mapped).to_have_attribute("aria-expanded", "false")
    expect(page.locator("#grid .line", has=mapped).locator(".state.failed")).to_have_text("50")
    before = int(page.locator("#grid").get_attribute("aria-rowcount") or 0)
    mapped.click()
    expect(mapped).to_be_focused()
    expect(page.locator("#grid")).to_have_attribute("aria-rowcount", str(before + MANY // 2))
    page.locator("#grid .view").evaluate("view => { view.scrollTop = view.scrollHeight / 2 }")
    expect(page.locator("#grid .view .line").last).to_be_visible()
    assert in_document(page) < 60
    page.locator("#grid .view").evaluate("view => { view.scrollTop = 0 }")
    page.get_by_role("button", name="group").first.click()
    expect(page.get_by_role("button", name="mapped")).to_have_count(0)


def test_task_can_be_commented_on_from_grid(visitor: Visitor, large_run: str) -> None:
    visitor.sign_in()
    page = visitor.page
    page.goto(large_run)
    page.get_by_role("link", name="Comment on group.inner.task_2501").click()
    expect(page.locator("label[for=content]")).to_contain_text("group.inner.task_2501")
    page.get_by_label("Your comment").fill("This one is slow on Mondays.")
    page.get_by_role("button", name="Comment").click()
    expect(page.locator("#comments h3")).to_contain_text(["group.inner.task_2501"])


def test_time_zone_toggle_persists_across_reload(visitor: Visitor) -> None:
    visitor.sign_in()
    page = visitor.page
    zone, time = page.locator("#zone"), page.locator("tr.row time").first
    expect(zone).to_have_text("Local time")
    assert "UTC" not in (time.get_attribute("title") or "")
    page.keyboard.press("u")
    expect(zone).to_have_text("UTC")
    expect(time).to_have_attribute("title", re.compile(r" UTC$"))
    page.reload()
    expect(zone).to_have_text("UTC")
    visitor.open_account_menu()
    zone.click()
    expect(zone).to_have_text("Local time")


def test_timeline_can_be_dragged_and_zoomed(visitor: Visitor) -> None:
    visitor.sign_in()
    page = visitor.page
    page.goto(f"{visitor.live.url}/spaces/finance/timeline?hours=24")
    lane = page.locator("td.lane").first
    box = lane.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    ends_at = datetime.fromisoformat(page.locator("table.lanes").get_attribute("data-end") or "")
    before = len(visitor.requests)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + box["width"] / 4, y, steps=5)
    page.mouse.up()
    page.wait_for_url("**until=**")
    requests = visitor.requests[before:]
    assert [request for request in requests if "/static/" not in request] == [page.url], (
        "one request, the rest is in the cache"
    )
    (until,) = parse_qs(urlsplit(page.url).query)["until"]
    moved = (ends_at - datetime.fromisoformat(until)).total_seconds() / 3600
    assert moved == pytest.approx(6, abs=0.1), "a quarter of a day earlier"
    page.go_back()
    expect(page.locator("table.lanes")).not_to_have_class(re.compile("held"))
    page.mouse.move(x, y)
    page.keyboard.down("Control")
    page.mouse.wheel(0, -100)
    page.keyboard.up("Control")
    page.wait_for_url("**hours=6**")
    page.locator("svg.runs a").first.click()
    expect(page.locator("h1")).to_be_visible()
