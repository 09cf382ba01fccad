"""The pages in Chromium on a real Airflow, one test for each subject: the overview, runs, pipelines, the phone, …"""

import csv
import re

import pytest
from playwright.sync_api import Browser, Page, expect

from airflow.morning import COMMENT_TEXT, FAILS, HAS_PARAMS, MARKED, SUCCEEDS, ZONE, Morning

LONG = 120_000
"""Milliseconds: a sync, or a run of a DAG, on a busy machine."""


def test_overview_counts_what_needs_attention_and_each_number_opens_its_list(morning: Morning, page: Page) -> None:
    failed = len(morning.failed())
    page.goto(morning.address())
    indicators = page.locator(".indicators a")
    expect(indicators.filter(has_text="failed in 24 h").locator("b")).to_have_text(str(failed))
    expect(page.locator(".head", has_text="Failed in the last")).to_contain_text(f"times in {ZONE}")
    row = page.locator("table.failures tr.row", has=page.get_by_role("link", name=FAILS))
    expect(row.locator(".task")).to_contain_text("send_to_bank")
    expect(row.locator(".team")).to_contain_text("Billing")
    expect(row.locator(".comment-text")).to_contain_text(COMMENT_TEXT)
    expect(row).to_contain_text("succeeded since")
    indicators.filter(has_text="failed in 24 h").click()
    expect(page.locator("tr.row")).to_have_count(failed)
    page.go_back()
    indicators.filter(has_text="import error").click()
    expect(page.locator("h2")).to_contain_text(["vendor_feed.py"])
    page.goto(morning.url)
    expect(page.locator("table.spaces-summary tr.row")).to_contain_text(["Finance"])
    expect(page.locator(".healthy")).to_contain_text("Marketing")


def test_runs_page_lists_failed_runs_of_the_window_with_its_filters_in_the_address(
    morning: Morning, page: Page
) -> None:
    page.goto(morning.address("/runs"))
    page.get_by_label("State").select_option("failed")
    rows = page.locator("tr.row")
    expect(rows).to_have_count(len(morning.failed()))
    expect(rows.filter(has_text=FAILS).first.locator(".task")).to_contain_text("send_to_bank")
    page.get_by_text("More filters").click()
    page.get_by_label("Team").select_option(label="Billing")
    expect(rows).to_have_count(len(morning.runs(FAILS, "failed")))
    page.wait_for_url("**team_id=**")
    page.reload()
    expect(rows).to_have_count(len(morning.runs(FAILS, "failed")))
    with page.expect_download() as download:
        page.get_by_role("link", name="Export CSV").click()
    with download.value.path().open(newline="", encoding="utf-8-sig") as file:
        assert len(list(csv.DictReader(file))) == len(morning.runs(FAILS, "failed"))
    page.goto(morning.address("/runs?size=2"))
    first = rows.locator("a.open").first.get_attribute("href")
    page.get_by_role("link", name="Older").click()
    expect(page.get_by_text("Page 2")).to_be_visible()
    assert first not in [link.get_attribute("href") for link in rows.locator("a.open").all()]


def test_pipelines_page_puts_what_needs_attention_first_and_keeps_it_as_a_view(morning: Morning, page: Page) -> None:
    page.goto(morning.address("/pipelines?sort=attention"))
    rows = page.locator("tr.row")
    expect(rows.first.locator(".state")).to_have_text("failed")
    marked, recovered = rows.filter(has_text=MARKED), rows.filter(has_text=FAILS)
    expect(marked.locator(".last .under")).to_contain_text("success")
    expect(recovered.locator(".failures")).to_have_text(str(len(morning.runs(FAILS, "failed"))))
    assert recovered.locator("svg.strip path.mark.bad").count() >= 2, "a failure has a cross"
    page.get_by_text("More filters").click()
    page.get_by_label("Owner").fill("finance")
    page.get_by_label("Owner").press("Tab")
    page.wait_for_url("**owner=finance**")
    expect(rows).to_have_count(len(list(morning.client.pipelines(owner="finance"))))
    page.locator(".views > summary").click()
    page.get_by_label("Save these filters as").fill("Finance first")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("#toasts")).to_contain_text("The view is saved.")
    (view,) = morning.client.views()
    assert (view.name, view.query) == ("Finance first", "owner=finance&days=7&sort=attention")
    page.goto(morning.address("/pipelines"))
    with page.expect_download() as download:
        page.get_by_role("link", name="Export CSV").click()
    with download.value.path().open(newline="", encoding="utf-8-sig") as file:
        assert len(list(csv.DictReader(file))) == len(list(morning.client.pipelines()))


def test_pipeline_page_has_graph_grid_calendar_charts_and_the_team_with_its_contact(
    morning: Morning, page: Page
) -> None:
    failures = len(morning.runs(FAILS, "failed"))
    page.goto(morning.pipeline(FAILS))
    graph = page.locator(".graph")
    for task in ("collect_invoices", "send_to_bank", "archive", "confirm"):
        expect(graph.locator("text", has_text=task)).to_be_visible()
    expect(graph.locator("g.task.ok")).to_have_count(4)
    row = page.locator("table.task-grid tr", has=page.get_by_role("rowheader", name="send_to_bank"))
    expect(row.locator("td.number")).to_have_text(str(failures))
    expect(row.locator(".cell.failed")).to_have_count(failures)
    expect(page.locator("table.calendar td a")).to_have_text(re.compile(rf"failed: {failures}$"))
    expect(page.locator(".chart.scatter .values text").first).to_have_text("0")
    expect(page.locator(".chart.scatter a title").first).to_contain_text(ZONE)
    expect(page.locator(".chart.days .plot .axes text").first).to_have_text(re.compile(r"\d+ \w{3}"))
    page.get_by_text("Values as a table").click()
    expect(page.get_by_role("group", name="Values by day").locator("tbody tr").first).to_be_visible()
    facts = page.locator("dl.facts div", has_text="Team")
    expect(facts.get_by_role("link", name="https://chat.example/billing")).to_be_visible()
    facts.get_by_text("1 member").click()
    expect(facts.get_by_role("link", name="Ada")).to_have_attribute("href", "mailto:ada@example.com")
    expect(page.get_by_role("button", name="Save")).to_be_hidden()


def test_run_page_shows_why_the_run_failed_its_neighbours_conf_and_params(morning: Morning, page: Page) -> None:
    newest, older = morning.runs(FAILS, "failed")[:2]
    page.goto(morning.address(f"/runs/{newest.id}"))
    expect(page.locator("h1")).to_have_text(re.compile(rf"{FAILS} · \d+ \w{{3}} \d\d:\d\d · failed"))
    expect(page.locator("#run-id")).to_have_text(newest.external_id)
    expect(page.locator("dl.facts div", has_text="Started")).to_contain_text(re.compile(r"\d\d:\d\d:\d\d .* ago"))
    panel = page.locator(".failed-tasks")
    expect(panel.get_by_role("heading", name="1 task failed")).to_be_visible()
    expect(panel.locator("tr.row .name")).to_have_text("send_to_bank")
    expect(panel.locator("p", has_text="2 did not run")).to_contain_text(
        re.compile("archive.*confirm|confirm.*archive")
    )
    expect(page.locator("#grid .bar.failed")).to_have_count(1)
    expect(page.locator("#grid .state.upstream_failed")).to_have_count(2)
    page.get_by_role("link", name="Previous").click()
    expect(page.locator("#run-id")).to_have_text(older.external_id)
    page.get_by_role("link", name="Next").click()
    expect(page.locator("#run-id")).to_have_text(newest.external_id)
    page.get_by_role("link", name="Next").click()
    expect(page.locator("#conf-text")).to_contain_text('"account": "DE-45"')
    page.goto(morning.address(f"/runs/{morning.runs(HAS_PARAMS)[0].id}"))
    page.get_by_role("link", name="Show params").click()
    params = page.get_by_role("region", name="Params").locator("tbody tr")
    expect(params.filter(has_text="campaign")).to_contain_text(re.compile("spring.*conf"), timeout=LONG)
    expect(params.filter(has_text="days")).to_contain_text(re.compile("7.*default"))


def test_run_without_failed_task_differs_from_skipped_tasks(morning: Morning, page: Page) -> None:
    page.goto(morning.address(f"/runs/{morning.runs(MARKED, 'failed')[0].id}"))
    expect(page.locator(".doubt")).to_contain_text("none of its tasks did")
    page.goto(morning.address(f"/runs/{morning.runs(SUCCEEDS)[0].id}"))
    expect(page.locator("#grid .state.skipped").first).to_be_visible()
    expect(page.locator("#grid .bar.failed")).to_have_count(0)
    expect(page.locator(".failed-tasks")).to_have_count(0)


@pytest.mark.parametrize(("width", "scheme"), [(1440, "dark"), (390, "light")])
def test_timeline_has_dates_round_ticks_and_recognisable_failures(
    morning: Morning, page: Page, width: int, scheme: str
) -> None:
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.set_viewport_size({"width": width, "height": 900})
    for hours, pattern in ((168, r"\w{3} \d+ \w{3}"), (24, r"\d\d:00|\w{3} \d+ \w{3}")):
        page.goto(morning.address(f"/timeline?hours={hours}"))
        ticks = page.locator("#ticks text").all_text_contents()
        assert len(ticks) >= 3
        assert all(re.fullmatch(pattern, text) for text in ticks), ticks
        expect(page.get_by_text(f"times in {ZONE}")).to_be_visible()
        cross = page.locator("use.cross.bad").first
        box = cross.bounding_box()
        assert box is not None
        assert box["width"] >= 7
        lane = page.locator("tr.row", has=page.get_by_role("link", name=FAILS, exact=True))
        expect(lane.get_by_text(f"✕ {len(morning.runs(FAILS, 'failed'))} failed")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_morning_tasks_take_at_most_two_clicks_from_the_overview(morning: Morning, page: Page) -> None:
    page.goto(morning.address())
    row = page.locator("table.failures tr.row", has=page.get_by_role("link", name=FAILS))
    expect(row.locator(".team")).to_contain_text("Billing")
    expect(row.locator(".comment-text")).to_contain_text(COMMENT_TEXT)
    row.get_by_role("link", name=FAILS).click()
    expect(page.locator(".failed-tasks")).to_contain_text("send_to_bank")
    page.get_by_role("navigation", name="Breadcrumbs").get_by_role("link", name=FAILS).click()
    expect(page.locator("dl.facts div", has_text="p50 → p95")).to_contain_text(re.compile(r"\d"))
    expect(page.locator(".chart.scatter line.level.p50")).to_have_count(1)


def test_pages_are_read_filtered_and_commented_on_without_javascript(morning: Morning, chromium: Browser) -> None:
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    morning.sign_in(page, "vic")
    page.goto(morning.address("/runs"))
    page.get_by_label("State").select_option("failed")
    page.get_by_role("button", name="Show").click()
    expect(page.locator("tr.row")).to_have_count(len(morning.failed()))
    page.locator("tr.row", has_text=FAILS).first.locator("a.open").click()
    expect(page.locator(".failed-tasks")).to_contain_text("send_to_bank")
    page.get_by_label("Your comment").fill("Read without a script.")
    page.get_by_role("button", name="Comment", exact=True).click()
    expect(page.locator(".comment .said").last).to_have_text("Read without a script.")
    context.close()


@pytest.mark.parametrize("width", [390, 320])
def test_phone_shows_owner_failures_and_next_run_and_no_page_overflows(
    morning: Morning, page: Page, width: int
) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    run = f"/runs/{morning.runs(FAILS, 'failed')[0].id}"
    pipeline = morning.pipeline(FAILS).removeprefix(morning.address())
    connector = morning.connector().removeprefix(morning.address())
    for path in (
        "",
        "/runs",
        pipeline,
        run,
        connector,
        "/import-errors",
        "/members",
        "/audit",
        "/timeline",
        "/pipelines",
    ):
        page.goto(morning.address(path))
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
        assert page.locator(".places").evaluate("nav => nav.scrollWidth <= nav.clientWidth"), path
    row = page.locator("tr.row", has=page.get_by_role("link", name=MARKED, exact=True))
    for column in (".whose", ".failures", ".next", ".last"):
        expect(row.locator(column)).to_be_visible()
    expect(row.locator(".whose")).to_contain_text("finance")


def test_api_reference_is_linked_and_readable_in_the_dark(morning: Morning, page: Page) -> None:
    page.emulate_media(color_scheme="dark")
    page.goto(morning.address())
    page.get_by_role("navigation", name="Account").get_by_role("button").first.click()
    page.get_by_role("link", name="API reference").click()
    expect(page.locator(".opblock").first).to_be_visible(timeout=LONG)
    expect(page.locator("html")).to_have_class(re.compile("dark-mode"))
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert sum(int(part) for part in re.findall(r"\d+", colour)[:3]) < 3 * 128
