"""The page of a run in a real browser: times, states of bars, comments, phones, and without JavaScript."""

import re
from collections.abc import Iterator

import psycopg
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from browser.axe import violations
from browser.conftest import Visitor
from live_server import LiveServer
from windsock.db.database import CONNECTION_OPTIONS

RUN = """
INSERT INTO runs (space_id, pipeline_id, external_id, run_type, run_at, status, started_at, ended_at, conf, task_counts)
SELECT space_id, pipeline_id, 'states', 'manual', '2026-11-28 23:08Z', 'failed', '2026-11-28 23:08Z',
       '2026-11-28 23:20Z', '{"country": "FR"}', '{"success": 1, "failed": 1, "upstream_failed": 1}'
FROM runs WHERE id = %(run_id)s
RETURNING id::text
"""
TASK = """
INSERT INTO task_runs (space_id, run_id, external_id, name, status, try_number, max_tries, started_at, ended_at)
SELECT space_id, id, 'state_' || %(status)s, 'x', %(status)s, 1, 0, run_at + interval '1 min', run_at + interval '9 min'
FROM runs WHERE id::text = %(run_id)s
"""
STATES = ("success", "failed", "upstream_failed", "skipped", "up_for_retry")


@pytest.fixture(scope="module")
def run(live: LiveServer) -> Iterator[str]:
    """The path of a run with a task in each state."""
    finance = live.tenants.finance
    with psycopg.connect(live.database_url, options=CONNECTION_OPTIONS, autocommit=True) as connection:
        connection.execute("SELECT set_config('windsock.space_id', %s, false)", (str(finance.id),))
        run_id = connection.execute(RUN, {"run_id": finance.run_id}).fetchall()[0][0]
        for status in STATES:
            connection.execute(TASK, {"run_id": run_id, "status": status})
        yield f"/spaces/finance/runs/{run_id}"
        connection.execute("DELETE FROM runs WHERE id::text = %s", (run_id,))


@pytest.fixture
def plain(chromium: Browser, live: LiveServer) -> Iterator[Visitor]:
    """Somebody without JavaScript."""
    context = chromium.new_context(java_script_enabled=False)
    visitor = Visitor(context.new_page(), live)
    visitor.sign_in()
    yield visitor
    context.close()


@pytest.fixture
def phone(chromium: Browser, live: LiveServer) -> Iterator[Visitor]:
    context = chromium.new_context(viewport={"width": 390, "height": 800}, is_mobile=True, has_touch=True)
    visitor = Visitor(context.new_page(), live)
    visitor.sign_in()
    yield visitor
    context.close()


def write(page: Page, text: str) -> None:
    page.get_by_label("Your comment").fill(text)
    page.get_by_role("button", name="Comment", exact=True).click()


def test_times_are_in_zone_of_viewer_and_in_utc_without_javascript(
    chromium: Browser, live: LiveServer, plain: Visitor, run: str
) -> None:
    plain.page.goto(f"{live.url}{run}")
    expect(plain.page.locator("h1")).to_have_text(re.compile(r"daily_report · 28 Nov( 2026)? 23:08 UTC · failed"))
    context = chromium.new_context(timezone_id="Asia/Tokyo")
    visitor = Visitor(context.new_page(), live)
    visitor.sign_in()
    visitor.page.goto(f"{live.url}{run}")
    expect(visitor.page.locator("h1")).to_have_text(re.compile(r"daily_report · 29 Nov( 2026)? 08:08 · failed"))
    expect(visitor.page).to_have_title(re.compile(r"daily_report · 29 Nov( 2026)? 08:08 · failed · Windsock"))
    visitor.page.keyboard.press("u")
    expect(visitor.page.locator("h1")).to_have_text(re.compile(r"28 Nov( 2026)? 23:08 UTC"))
    context.close()


def test_run_id_can_be_copied(visitor: Visitor, context: BrowserContext, run: str) -> None:
    context.grant_permissions(["clipboard-read", "clipboard-write"], origin=visitor.live.url)
    visitor.sign_in()
    page = visitor.page
    page.goto(f"{visitor.live.url}{run}")
    page.get_by_role("button", name="Copy", exact=True).click()
    expect(page.locator(".run-id button")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == "states"
    expect(page.locator(".run-id button")).to_have_text("Copy")


READ_BARS = """([...states]) => Object.fromEntries(states.map((state) => {
  const bar = document.querySelector(`#grid .bar.${state}`);
  const style = getComputedStyle(bar);
  const box = bar.getBoundingClientRect();
  const isPattern = style.backgroundImage !== "none";
  return [state, [Math.round(box.height), style.borderTopStyle, isPattern, style.backgroundColor]];
}))"""


def luminance(colour: str) -> float:
    """Relative luminance as WCAG 2 defines it."""
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    red, green, blue = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_bars_differ_by_shape_and_luminance(visitor: Visitor, run: str, scheme: str) -> None:
    page = visitor.page
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    visitor.sign_in()
    page.goto(f"{visitor.live.url}{run}")
    expect(page.locator("#grid .bar.failed")).to_be_visible()
    bars = page.evaluate(READ_BARS, STATES)
    shapes = {state: tuple(shape[:3]) for state, shape in bars.items()}
    assert len(set(shapes.values())) == len(STATES), shapes
    levels = sorted(luminance(bars[state][3]) for state in ("success", "failed"))
    assert (levels[1] + 0.05) / (levels[0] + 0.05) >= 3


def test_axis_has_ticks_at_round_times(visitor: Visitor, run: str) -> None:
    visitor.sign_in()
    visitor.page.goto(f"{visitor.live.url}{run}")
    ticks = visitor.page.locator("#grid .tick")
    expect(ticks.first).to_have_text(re.compile(r"^\d\d:\d\d$"))
    expect(ticks.nth(1)).to_have_text(re.compile(r"^\+\d+ min$"))


def test_comment_can_be_replied_to_edited_and_deleted_in_place(visitor: Visitor, run: str) -> None:
    visitor.sign_in()
    page = visitor.page
    page.goto(f"{visitor.live.url}{run}")
    write(page, "See **https://bank.example/status**")
    first = page.locator(".comment").first
    expect(first.get_by_role("link", name="https://bank.example/status")).to_be_visible()
    page.get_by_label("Your comment").fill("a draft")
    first.get_by_role("link", name="Reply").click()
    reply = page.get_by_label("Your reply")
    expect(reply).to_be_focused()
    expect(page.get_by_label("Your comment")).to_have_value("a draft")
    reply.fill("They know.")
    page.get_by_role("button", name="Reply").click()
    reply_item = page.locator(".comment.reply")
    expect(reply_item.locator(".said")).to_have_text("They know.")
    reply_item.get_by_role("link", name="Edit").click()
    page.get_by_label("Edit your comment").fill("They know it.")
    page.get_by_role("button", name="Save").click()
    expect(reply_item.locator(".said")).to_have_text("They know it.")
    expect(reply_item).to_contain_text("edited")
    reply_item.get_by_role("link", name="Delete").click()
    reply_item.get_by_role("link", name="Cancel").click()
    expect(page.locator(".confirm")).to_have_count(0)
    reply_item.get_by_role("link", name="Delete").click()
    reply_item.get_by_role("button", name="Delete").click()
    expect(reply_item).to_have_count(0)


def test_comments_work_without_javascript(plain: Visitor, run: str) -> None:
    page = plain.page
    page.goto(f"{plain.live.url}{run}")
    expect(page.locator("#tasks tr.row")).to_have_count(len(STATES))
    write(page, "Without a script.")
    mine = page.locator(".comment").filter(has_text="Without a script.")
    mine.get_by_role("link", name="Reply").click()
    page.get_by_label("Your reply").fill("An answer.")
    page.get_by_role("button", name="Reply").click()
    reply_item = page.locator(".comment.reply").filter(has_text="An answer.")
    reply_item.get_by_role("link", name="Edit").click()
    page.get_by_label("Edit your comment").fill("Another answer.")
    page.get_by_role("button", name="Save").click()
    changed = page.locator(".comment.reply").filter(has_text="Another answer.")
    changed.get_by_role("link", name="Delete").click()
    page.get_by_role("button", name="Delete").click()
    expect(changed).to_have_count(0)
    expect(mine).to_be_visible()


def test_comment_control_of_task_is_visible_on_touch(phone: Visitor, run: str) -> None:
    page = phone.page
    page.goto(f"{phone.live.url}{run}")
    control = page.get_by_role("link", name="Comment on state_success").first
    expect(control).to_be_visible()
    assert control.evaluate("link => getComputedStyle(link).opacity") == "1"
    assert control.locator("svg").count() == 1, "no character that needs a font with emoji"
    control.tap()
    expect(page.locator("label[for=content]")).to_contain_text("state_success")


@pytest.mark.parametrize("width", [320, 390, 1440])
def test_run_page_fits_its_width(visitor: Visitor, run: str, width: int) -> None:
    page = visitor.page
    page.set_viewport_size({"width": width, "height": 800})
    visitor.sign_in()
    for query in ("", "?failed=all"):
        page.goto(f"{visitor.live.url}{run}{query}", wait_until="networkidle")
        assert page.evaluate("document.querySelector('main').scrollWidth") <= width
        overflowing = """[...document.querySelectorAll("main *")].filter((each) =>
            each.getBoundingClientRect().right > innerWidth + 1 && !each.closest(".scroll, #grid")).length"""
        assert page.evaluate(overflowing) == 0


def test_grid_takes_its_place_without_moving_the_page(visitor: Visitor, run: str) -> None:
    page = visitor.page
    page.add_init_script("""window.shift = 0; new PerformanceObserver((list) => {
        for (const entry of list.getEntries()) {
      window.shift += entry.value;
      window.moved = [...(window.moved || []), ...entry.sources.map((source) => source.node?.outerHTML?.slice(0, 120))];
    }
    }).observe({ type: "layout-shift", buffered: true });""")
    visitor.sign_in()
    page.goto(f"{visitor.live.url}{run}", wait_until="networkidle")
    expect(page.locator("#grid .bar.failed")).to_be_visible()
    assert page.evaluate("window.shift") < 0.02, page.evaluate("window.moved")


def test_run_page_has_no_axe_violations(visitor: Visitor, run: str) -> None:
    page = visitor.page
    visitor.sign_in()
    page.goto(f"{visitor.live.url}{run}")
    write(page, "**A** comment with `code` and https://bank.example\n\n```\n" + "x" * 200 + "\n```")
    comment_id = page.url.rpartition("#comment-")[2]
    for query in ("", f"?reply={comment_id}", f"?edit={comment_id}", f"?delete={comment_id}"):
        page.goto(f"{visitor.live.url}{run}{query}", wait_until="networkidle")
        assert violations(page) == []
