"""Saved views: private or shared, who may change them, and what a name and a query may be."""

import re
from html import unescape
from uuid import uuid4

import pytest

from conftest import RolledBackDatabase
from factories import TwoTenants
from validating_client import ValidatingClient
from web.conftest import OWN, Browser
from windsock.saved_views.models import normalize_query
from windsock.saved_views.store import MAX_VIEWS

pytestmark = pytest.mark.anyio

FLEET, VIEWS = "/spaces/finance/pipelines", "/spaces/finance/views"


async def views(browser: Browser, path: str = FLEET) -> dict[str, str]:
    """Address by name of each view that the page offers, without the one of the world."""
    text = (await browser.open(path)).text.split('<details class="views">')[1].split('<form id="save-view"')[0]
    return {
        unescape(name): unescape(href)
        for href, name in re.findall(r'<a href="([^"]*)"[^>]*>(.*?)</a>', text)
        if name != "of the world"
    }


async def view_id(browser: Browser, name: str) -> str:
    text = (await browser.open(FLEET)).text
    found = re.search(rf'Change view {name}</span>.*?action="{VIEWS}/([0-9a-f-]+)"', text, re.DOTALL)
    assert found, f"{name} cannot be changed"
    return found[1]


async def test_view_saves_filters_and_order_under_a_name(viewer: Browser) -> None:
    query = "page=2&size=5&sort=attention&owner=b%26b&status=failed&_=1&nonsense=1"
    saved = await viewer.send_form(VIEWS, name="  My <b>failures</b> ", query=query)
    target = f"{FLEET}?status=failed&owner=b%26b&sort=attention"
    assert (saved.status_code, saved.headers["location"]) == (303, target)
    page = await viewer.open(target)
    assert "The view is saved." in page.text
    assert "The view is saved." not in (await viewer.open(target)).text, "it is said once"
    assert await views(viewer) == {"My <b>failures</b>": target}
    assert f'<a href="{target.replace("&", "&amp;")}" aria-current="true"' in page.text
    assert 'name="query" value="status=failed&amp;owner=b%26b&amp;sort=attention" form="save-view"' in page.text


async def test_private_view_is_its_owners_and_shared_view_is_the_spaces(browser: Browser, tenants: TwoTenants) -> None:
    await browser.sign_in(tenants.keys["editor"])
    await browser.send_form(VIEWS, name="private", query="status=failed")
    await browser.send_form(VIEWS, name="team", query="sort=attention", shared="true")
    assert list(await views(browser)) == ["private", "team"]
    private = await view_id(browser, "private")
    await browser.sign_in(tenants.keys["viewer"])
    assert await views(browser) == {"team": f"{FLEET}?sort=attention"}
    assert "shared by Editor" in (await browser.open(FLEET)).text
    assert (await browser.send_form(f"{VIEWS}/{private}", name="x")).status_code == 404
    assert (await browser.send_form(f"{VIEWS}/{private}/delete")).status_code == 404
    await browser.sign_in(tenants.keys["stranger"])
    assert "team" not in await views(browser, "/spaces/marketing/pipelines")
    for path in (f"/spaces/marketing/views/{private}", f"/spaces/marketing/views/{private}/delete"):
        assert (await browser.send_form(path, name="x")).status_code == 404


async def test_only_editors_share_and_only_owner_or_admin_changes_a_shared_view(
    browser: Browser, tenants: TwoTenants
) -> None:
    await browser.sign_in(tenants.keys["viewer"])
    assert "Share with the space" not in (await browser.open(FLEET)).text
    refused = await browser.send_form(VIEWS, name="ours", query="", shared="true")
    assert refused.status_code == 403
    assert "Only the role editor or above may share views" in refused.text
    await browser.send_form(VIEWS, name="ours", query="")
    mine = await view_id(browser, "ours")
    assert (await browser.send_form(f"{VIEWS}/{mine}", name="ours", shared="true")).status_code == 403
    await browser.sign_in(tenants.keys["admin"])
    await browser.send_form(VIEWS, name="team", query="", shared="true")
    shared = await view_id(browser, "team")
    await browser.sign_in(tenants.keys["editor"])
    for path in (f"{VIEWS}/{shared}", f"{VIEWS}/{shared}/delete"):
        assert (await browser.send_form(path, name="x")).status_code == 403
    assert list(await views(browser)) == ["team"]


async def test_view_can_be_renamed_shared_and_deleted(editor: Browser) -> None:
    await editor.send_form(VIEWS, name="a", query="tag=raw")
    renamed = await editor.send_form(f"{VIEWS}/{await view_id(editor, 'a')}", name="b", query="q=x", shared="true")
    assert renamed.headers["location"] == f"{FLEET}?q=x", "the list that was open"
    assert await views(editor) == {"b": f"{FLEET}?tag=raw"}
    assert '<span class="badge">shared</span>' in (await editor.open(FLEET)).text
    path = f"{VIEWS}/{await view_id(editor, 'b')}/delete"
    confirmation = await editor.send_form(path, query="q=x")
    assert (confirmation.status_code, "Delete the view “b”?" in confirmation.text) == (200, True)
    assert list(await views(editor)) == ["b"], "nothing is deleted yet"
    deleted = await editor.send_form(path, query="q=x", confirmed="true")
    assert deleted.headers["location"] == f"{FLEET}?q=x"
    assert await views(editor) == {}
    assert (await editor.send_form(f"{VIEWS}/{uuid4()}", name="c")).status_code == 404


@pytest.mark.parametrize(
    ("fields", "status", "sentence"),
    [
        ({"name": "  "}, 400, "Enter a name of 1 to 100 characters"),
        ({"name": "x" * 101}, 400, "Enter a name of 1 to 100 characters"),
        ({"name": "taken"}, 409, "You have a view named “taken” already"),
        ({"name": "x", "query": "q=" + "x" * 4_000}, 400, "more filters"),
        ({"name": "x", "query": "q=%00"}, 400, "U+0000"),
    ],
)
async def test_invalid_view_is_refused_with_a_sentence_and_htmx_keeps_the_form(
    viewer: Browser, fields: dict[str, str], status: int, sentence: str
) -> None:
    await viewer.send_form(VIEWS, name="taken", query="")
    refused = await viewer.send_form(VIEWS, **fields)
    assert refused.status_code == status
    assert sentence in unescape(refused.text)
    part = await viewer.post(VIEWS, data=fields, headers={**OWN, "HX-Request": "true"})
    assert part.status_code == 422
    assert sentence in unescape(part.text)
    assert "<html" not in part.text
    assert list(await views(viewer)) == ["taken"]


async def test_htmx_is_sent_to_the_list_after_saving(viewer: Browser) -> None:
    done = await viewer.post(VIEWS, data={"name": "x", "query": "q=a"}, headers={**OWN, "HX-Request": "true"})
    assert (done.status_code, done.headers["hx-redirect"]) == (204, f"{FLEET}?q=a")


async def test_number_of_views_is_limited(viewer: Browser, tenants: TwoTenants, db: RolledBackDatabase) -> None:
    async with db.tenant_transaction(tenants.finance.id):
        await db.connection.execute(
            "INSERT INTO saved_views (space_id, user_id, name, query)"
            " SELECT %s, %s, 'view ' || n, '' FROM generate_series(1, %s) n",
            (tenants.finance.id, tenants.users["viewer"], MAX_VIEWS - 2),  # one is of the world
        )
    assert (await viewer.send_form(VIEWS, name="last", query="")).status_code == 303
    refused = await viewer.send_form(VIEWS, name="one more", query="")
    assert (refused.status_code, "as many as one may have" in refused.text) == (409, True)


async def test_shared_view_is_audited_and_private_one_is_not(
    editor: Browser, client: ValidatingClient, tenants: TwoTenants
) -> None:
    async def trail() -> list[tuple[str, str | None, object, object]]:
        path = "/spaces/finance/audit-events?target_type=saved_view"
        events = (await client.as_(tenants.keys["admin"], "GET", path)).json()
        return [(event["action"], event["target_name"], event["before"], event["after"]) for event in reversed(events)]

    before = len(await trail())
    await editor.send_form(VIEWS, name="mine", query="q=secret")
    mine = f"{VIEWS}/{await view_id(editor, 'mine')}"
    await editor.send_form(mine, name="still mine")
    assert len(await trail()) == before
    await editor.send_form(mine, name="ours", shared="true")
    await editor.send_form(mine, name="ours again", shared="true")
    await editor.send_form(mine, name="mine again")
    await editor.send_form(f"{mine}/delete", confirmed="true")
    assert (await trail())[before:] == [
        ("changed", "ours", {"is_shared": False}, {"is_shared": True}),
        ("changed", "ours again", {"name": "ours"}, {"name": "ours again"}),
        ("changed", None, {"is_shared": True}, {"is_shared": False}),
    ]
    await editor.send_form(VIEWS, name="team", query="q=a", shared="true")
    await editor.send_form(f"{VIEWS}/{await view_id(editor, 'team')}/delete", confirmed="true")
    content = {"name": "team", "query": "q=a", "is_shared": True}
    assert (await trail())[-2:] == [("created", "team", None, content), ("deleted", "team", content, None)]


def test_normalized_query_has_filters_and_order_only_and_one_order() -> None:
    assert normalize_query("sort=name&status=b&status=a&page=3&size=1&q=&x=1") == "status=b&status=a&sort=name"
    assert normalize_query("") == ""
