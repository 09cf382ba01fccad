"""The frame of the pages: navigation, breadcrumbs, error pages, lists past their end, the palette."""

import re
from typing import Any
from uuid import uuid4

import pytest

from conftest import RolledBackDatabase
from factories import TwoTenants
from statements import count_statements
from web.conftest import OWN, SITE, Browser
from windsock.errors import Unavailable
from windsock.web.layout import NAVIGATION, SPACE_COOKIE, navigation_links

pytestmark = pytest.mark.anyio

SPACE = "/spaces/finance"
PALETTE = f"{SPACE}/palette"


def current(path: str) -> dict[str, str]:
    return {str(link["label"]): link["current"] for link in navigation_links(path, "finance") if link["current"]}


def test_navigation_marks_page_or_section_as_current() -> None:
    assert current(f"{SPACE}/pipelines") == {"Pipelines": "page"}
    assert current(f"{SPACE}/pipelines/1") == {"Pipelines": "true"}
    assert current(f"{SPACE}/teams/1") == {"Settings": "true"}
    assert current(f"{SPACE}/pipelinesque") == {}
    assert current("/spaces/other/pipelines") == {}
    assert current("/api-keys") == {}


async def test_every_entry_of_navigation_exists(viewer: Browser) -> None:
    for path, _ in NAVIGATION:
        assert (await viewer.open(SPACE + path)).status_code == 200, path


def menu(text: str) -> list[str]:
    found = re.search(r'<nav aria-label="This space".*?</nav>', text, re.DOTALL)
    return re.findall(r'href="([^"]+)"', found[0]) if found else []


async def test_pages_outside_space_show_navigation_of_space_visited_last(browser: Browser, tenants: TwoTenants) -> None:
    await browser.sign_in(tenants.keys["superadmin"])
    for slug in ("marketing", "finance"):
        await browser.open(f"/spaces/{slug}/timeline")
        for path in (
            "/api-keys",
            "/sessions",
            f"/spaces/{slug}/nothing",
            "/nothing",
            "/spaces/no-such-space/pipelines",
        ):
            links = menu((await browser.open(path)).text)
            assert links == [f"/spaces/{slug}{place}" for place, _ in NAVIGATION], path
    browser.cookies.set(SPACE_COOKIE, "no-such-space")
    assert menu((await browser.open("/api-keys")).text) == [f"{SPACE}{place}" for place, _ in NAVIGATION]


async def test_navigation_of_error_page_names_no_space_of_others(browser: Browser, tenants: TwoTenants) -> None:
    await browser.sign_in(tenants.keys["viewer"])
    browser.cookies.set(SPACE_COOKIE, "marketing")
    refused = await browser.open("/spaces/marketing/pipelines")
    assert refused.status_code == 403
    assert "marketing" not in refused.text.lower()
    assert menu(refused.text) == [f"{SPACE}{place}" for place, _ in NAVIGATION]
    browser.cookies.clear()
    assert menu((await browser.open("/nothing")).text) == []


async def test_every_page_has_breadcrumbs_that_end_with_itself(viewer: Browser, tenants: TwoTenants) -> None:
    some = f"{SPACE}/pipelines/{tenants.finance.pipelines['daily_report']}"
    connector = f"{SPACE}/connectors/{tenants.finance.connector_id}"
    for path in (
        *(SPACE + place for place, _ in NAVIGATION), some, f"{SPACE}/runs/{tenants.finance.run_id}", connector,
        f"{SPACE}/teams/{tenants.finance.team_id}", "/api-keys", "/sessions", "/nothing",
    ):  # fmt: skip
        found = re.search(r'aria-label="Breadcrumbs"><ol>(.*?)</ol>', (await viewer.open(path)).text, re.DOTALL)
        assert found, path
        items = re.findall(r"<li[^>]*>", found[1])
        assert 'aria-current="page"' in items[-1], path
        assert found[1].count("aria-current") == 1, path


async def test_form_address_and_database_errors_are_pages_for_browsers(
    viewer: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = await viewer.open("/sign-out")
    assert (opened.status_code, opened.headers["allow"]) == (405, "POST")
    assert "only receives forms" in opened.text
    assert menu(opened.text)

    async def unavailable(*_: object, **__: object) -> None:
        raise Unavailable("PostgreSQL cannot be reached.")

    monkeypatch.setattr("windsock.web.pipeline_list.list_pipelines", unavailable)
    response = await viewer.open(f"{SPACE}/pipelines")
    assert response.status_code == 503
    assert menu(response.text) == [], "no space was visited before"
    await viewer.open(f"{SPACE}/timeline")
    assert menu((await viewer.open(f"{SPACE}/pipelines")).text), "the menu needs no database"


async def test_error_for_htmx_is_a_toast_instead_of_a_page(viewer: Browser) -> None:
    path = f"{SPACE}/pipelines/{uuid4()}/watch"
    response = await viewer.post(path, data={"watched": "true"}, headers=OWN | {"HX-Request": "true"})
    assert (response.status_code, response.content) == (404, b"")
    assert response.headers["hx-trigger"] == '{"windsock:notice": "There is no such pipeline in this space."}'


@pytest.mark.parametrize("path", ["/pipelines?size=2&page=99&days=30", "/timeline?page=99&hours=6"])
async def test_page_past_the_end_redirects_to_the_last_page(viewer: Browser, path: str) -> None:
    response = await viewer.open(SPACE + path)
    assert response.status_code == 303
    expected = {"/pipelines?size=2&page=99&days=30": "/pipelines?size=2&days=30&page=2"}
    assert response.headers["location"] == SPACE + expected.get(path, "/timeline?hours=6")
    assert (await viewer.open(response.headers["location"])).status_code == 200


async def found(browser: Browser, query: str) -> dict[str, list[dict[str, Any]]]:
    response = await browser.get(PALETTE, params={"q": query})
    assert response.status_code == 200
    return {group["label"]: group["items"] for group in response.json()}


async def test_palette_finds_pipelines_runs_pages_and_actions(
    viewer: Browser, tenants: TwoTenants, db: RolledBackDatabase
) -> None:
    space = tenants.finance
    report = f"{SPACE}/pipelines/{space.pipelines['daily_report']}"
    by_name = await found(viewer, "daily")
    assert by_name["Pipelines"] == [{"label": "daily_report", "detail": "prod", "url": report}]
    assert "Actions" not in by_name, "a viewer cannot trigger"
    cursor = await db.connection.execute("SELECT external_id FROM runs WHERE id = %s", (space.run_id,))
    row = await cursor.fetchone()
    assert row
    for query in (str(space.run_id), str(space.run_id).upper()):
        (run,) = (await found(viewer, query))["Runs"]
        assert (run["url"], run["label"]) == (f"{SPACE}/runs/{space.run_id}", row["external_id"])
    labels = [page["label"] for page in (await found(viewer, ""))["Pages"]]
    assert labels == [
        *(label for _, label in NAVIGATION),
        "Fingerprints",
        "Members",
        "Teams",
        "API keys",
        "Sessions",
        "API reference",
    ]
    await viewer.sign_in(tenants.keys["admin"])
    as_admin = await found(viewer, "daily")
    assert as_admin["Actions"] == [{"label": "Trigger daily_report", "url": f"{report}/trigger"}]
    assert (await found(viewer, "audit"))["Pages"] == [{"label": "Audit log", "url": f"{SPACE}/audit"}]
    assert (await found(viewer, "connect an"))["Actions"][0]["url"] == f"{SPACE}/connectors/new"


async def test_palette_finds_airflow_run_id_in_every_pipeline(
    viewer: Browser, tenants: TwoTenants, db: RolledBackDatabase
) -> None:
    async with db.tenant_transaction(tenants.finance.id):
        await db.connection.execute("UPDATE runs SET external_id = 'scheduled__2026-11-29' WHERE external_id = 'r1'")
    assert len((await found(viewer, "scheduled__2026-11-29"))["Runs"]) == 2
    assert "Runs" not in await found(viewer, "scheduled__2026-11-2")


async def test_palette_of_space_hides_other_spaces(viewer: Browser, tenants: TwoTenants) -> None:
    assert await found(viewer, str(tenants.marketing.run_id)) == {}
    assert (await viewer.open("/spaces/marketing/palette?q=daily")).status_code == 403
    for query in ("%", "_", "\\", "'", "\u202e"):
        assert "Runs" not in await found(viewer, query)


async def test_palette_uses_the_same_number_of_queries_for_any_text(
    viewer: Browser, db: RolledBackDatabase, tenants: TwoTenants
) -> None:
    numbers = set()
    executed = count_statements(db)
    for query in ("", "daily", str(tenants.finance.run_id), "x" * 300):
        executed.clear()
        await found(viewer, query)
        numbers.add(len([statement for statement in executed if "set_config" not in statement]))
    assert len(numbers) == 1, numbers
    assert (await viewer.get(PALETTE, params={"q": "x" * 301}, headers={"Referer": SITE})).status_code == 400
