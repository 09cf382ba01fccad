"""Comments on the page of a run: replies, edits, deletions, and what they may not do."""

import re
from uuid import UUID, uuid4

import pytest

from conftest import RolledBackDatabase
from factories import TwoTenants
from validating_client import ValidatingClient
from web.conftest import Browser
from windsock.db.queries import Query

pytestmark = pytest.mark.anyio

API = "/spaces/finance/orchestration"
MANY = Query("""
INSERT INTO comments (space_id, run_id, author_id, content)
SELECT %(space_id)s, %(run_id)s, %(author_id)s, 'number ' || i FROM generate_series(1, %(many)s) i
""")


@pytest.fixture
def path(tenants: TwoTenants) -> str:
    return f"/spaces/finance/runs/{tenants.finance.run_id}"


async def write(browser: Browser, path: str, content: str, **fields: str) -> UUID:
    response = await browser.send_form(f"{path}/comments", content=content, **fields)
    assert response.status_code == 303, response.text
    return UUID(response.headers["location"].rpartition("#comment-")[2])


def comment_of(html: str, comment_id: UUID) -> str:
    found = re.search(rf'<li class="comment[^"]*" id="comment-{comment_id}">.*?</li>', html, re.DOTALL)
    assert found
    return found[0]


async def test_reply_stands_below_its_comment(viewer: Browser, path: str) -> None:
    first, second = await write(viewer, path, "first"), await write(viewer, path, "second")
    assert f'name="parent_id" value="{first}"' in (await viewer.open(f"{path}?reply={first}")).text
    reply = await write(viewer, path, "reply", parent_id=str(first))
    nested = await write(viewer, path, "nested", parent_id=str(reply))
    html = (await viewer.open(path)).text
    shown = re.findall(r'<li class="comment[^"]*" id="comment-([^"]+)"', html)
    assert shown == [str(item) for item in (first, reply, nested, second)]
    assert 'class="comment reply"' in comment_of(html, reply)
    assert "in reply to" not in comment_of(html, reply)
    assert f'href="#comment-{reply}"' in comment_of(html, nested)


async def test_reply_on_task_run_stays_with_the_task_run(viewer: Browser, path: str, tenants: TwoTenants) -> None:
    task = f"{path}/task-runs/{tenants.finance.task_run_id}"
    first = await write(viewer, task, "on the task")
    opened = (await viewer.open(f"{path}?reply={first}")).text
    assert f'action="{task}/comments"' in comment_of(opened, first)
    reply = await write(viewer, task, "reply", parent_id=str(first))
    group = (await viewer.open(path)).text.partition(f'id="about-{tenants.finance.task_run_id}"')[2]
    assert comment_of(group, reply)


async def test_author_edits_comment(viewer: Browser, path: str) -> None:
    comment_id = await write(viewer, path, "teh bank")
    form = comment_of((await viewer.open(f"{path}?edit={comment_id}")).text, comment_id)
    assert "teh bank</textarea>" in form
    done = await viewer.send_form(f"{path}/comments/{comment_id}", content="the bank")
    assert (done.status_code, done.headers["location"]) == (303, f"{path}#comment-{comment_id}")
    shown = comment_of((await viewer.open(path)).text, comment_id)
    assert "the bank" in shown
    assert "edited" in shown


async def test_deletion_requires_confirmation(viewer: Browser, path: str) -> None:
    comment_id = await write(viewer, path, "a mistake")
    html = (await viewer.open(path)).text
    assert f'action="{path}/comments/{comment_id}/delete"' not in html, "no deletion in one click"
    confirmation = comment_of((await viewer.open(f"{path}?delete={comment_id}")).text, comment_id)
    assert "Delete this comment?" in confirmation
    assert f'action="{path}/comments/{comment_id}/delete"' in confirmation
    done = await viewer.send_form(f"{path}/comments/{comment_id}/delete")
    assert (done.status_code, done.headers["location"]) == (303, f"{path}#comments")
    assert str(comment_id) not in (await viewer.open(path)).text


async def test_comments_of_others_offer_only_what_the_role_may(
    browser: Browser, tenants: TwoTenants, path: str
) -> None:
    await browser.sign_in(tenants.keys["viewer"])
    comment_id = await write(browser, path, "of the viewer")
    for who, may_delete in (("editor", False), ("admin", True)):
        await browser.sign_in(tenants.keys[who])
        shown = comment_of((await browser.open(f"{path}?edit={comment_id}")).text, comment_id)
        assert "Edit" not in shown
        assert ("Delete" in shown) is may_delete
        assert (await browser.send_form(f"{path}/comments/{comment_id}", content="changed")).status_code == 403
        status = (await browser.send_form(f"{path}/comments/{comment_id}/delete")).status_code
        assert status == (303 if may_delete else 403)


async def test_refused_text_remains_in_its_form(viewer: Browser, path: str) -> None:
    comment_id = await write(viewer, path, "first")
    long = "x" * 10_001
    for target, fields in (("comments", {"parent_id": str(comment_id)}), (f"comments/{comment_id}", {})):
        refused = await viewer.send_form(f"{path}/{target}", content=long, **fields)
        assert refused.status_code == 422
        form = comment_of(refused.text, comment_id)
        assert "1 to 10,000 characters" in form
        assert f"{long}</textarea>" in form


async def test_text_survives_deletion_of_the_comment_it_is_about(viewer: Browser, path: str) -> None:
    missing = str(uuid4())
    for target, fields in (("comments", {"parent_id": missing}), (f"comments/{missing}", {})):
        refused = await viewer.send_form(f"{path}/{target}", content="worth keeping", **fields)
        assert refused.status_code == 422
        assert "was deleted. Your text is below" in refused.text
        assert "worth keeping</textarea>" in refused.text


async def test_comments_of_another_space_cannot_be_reached(viewer: Browser, path: str, tenants: TwoTenants) -> None:
    other = tenants.marketing.comment_id
    assert (await viewer.send_form(f"{path}/comments/{other}", content="x")).status_code == 422
    assert (await viewer.send_form(f"{path}/comments/{other}/delete")).status_code == 404
    assert (await viewer.send_form(f"{path}/comments", content="x", parent_id=str(other))).status_code == 422
    assert (await viewer.open(f"{path}?reply={other}&delete={other}")).status_code == 200


async def test_forms_open_in_place_with_htmx(viewer: Browser, path: str) -> None:
    comment_id = await write(viewer, path, "first")
    part = await viewer.open(f"{path}/comments?reply={comment_id}", headers={"HX-Request": "true"})
    assert part.text.lstrip().startswith('<div id="threads"')
    assert f'value="{comment_id}"' in part.text
    whole = await viewer.open(f"{path}/comments?reply={comment_id}")
    assert (whole.status_code, whole.headers["location"]) == (303, f"{path}?reply={comment_id}#comments")


async def test_newest_comments_are_shown_and_older_ones_on_request(
    viewer: Browser, db: RolledBackDatabase, path: str, tenants: TwoTenants
) -> None:
    async with db.tenant_transaction(tenants.finance.id) as tx:
        which = {"space_id": tenants.finance.id, "run_id": tenants.finance.run_id}
        await tx.execute(MANY, **which, author_id=tenants.users["viewer"], many=120)
    html = (await viewer.open(path)).text
    assert html.count('<li class="comment') == 100
    assert "The newest 100 of 120." in html
    assert (await viewer.open(f"{path}?comments=all")).text.count('<li class="comment') == 120


async def test_counts_include_comments_on_task_runs(
    viewer: Browser, client: ValidatingClient, path: str, tenants: TwoTenants
) -> None:
    await write(viewer, path, "on the run")
    for _ in range(2):
        await write(viewer, f"{path}/task-runs/{tenants.finance.task_run_id}", "on the task")
    run = (await client.as_(tenants.keys["viewer"], "GET", f"{API}/runs/{tenants.finance.run_id}")).json()
    assert (run["comment_count"], run["task_comment_count"]) == (1, 2)
    assert 'Comments <span class="quiet">3</span>' in (await viewer.open(path)).text
    pipeline = (await viewer.open(f"/spaces/finance/pipelines/{run['pipeline_id']}")).text
    row = re.search(rf'<tr class="row">(?:(?!</tr>).)*runs/{run["id"]}.*?</tr>', pipeline, re.DOTALL)
    assert row
    assert '<td class="number">3</td>' in row[0]
    failed = (await viewer.open(path)).text
    assert re.search(r'href="#about-[^"]+">.*2<span class="hidden"> comments on load</span>', failed)


async def test_pipeline_shows_recent_comments(viewer: Browser, client: ValidatingClient, tenants: TwoTenants) -> None:
    run = (await client.as_(tenants.keys["viewer"], "GET", f"{API}/runs/{tenants.finance.run_id}")).json()
    await viewer.send_form(f"/spaces/finance/runs/{run['id']}/comments", content="The <b>bank</b> was late.")
    text = (await viewer.open(f"/spaces/finance/pipelines/{run['pipeline_id']}")).text
    assert "The &lt;b&gt;bank&lt;/b&gt; was late." in text
    assert f'href="/spaces/finance/runs/{run["id"]}#comment-' in text
