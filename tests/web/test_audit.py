"""The audit log in words: names and fields that a person understands, filters, links."""

import re
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any
from uuid import UUID, uuid4

import pytest

from factories import TwoTenants
from invariants.operations import OPERATIONS
from validating_client import ValidatingClient
from web.conftest import Browser, main_of
from windsock.web.audit_text import Names, describe, referenced_ids

pytestmark = pytest.mark.anyio

SPACE = "/spaces/finance"
AUDIT = f"{SPACE}/audit"
UUID_PATTERN = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-")


async def entries(browser: Browser, query: str = "") -> list[str]:
    """Text of each entry: who did what, then the changes."""
    page = await browser.open(f"{AUDIT}{query}")
    assert page.status_code == 200, page.text
    body = page.text.partition("<tbody>")[2].partition("</tbody>")[0]
    rows = [re.sub(r"<a class=\"history\".*?</a>", "", row) for row in body.split("<tr>")[1:]]
    texts = [unescape(re.sub(r"<[^>]+>", " ", row.partition("</td>")[2])) for row in rows]
    return [re.sub(r" +(?=[,:])", "", " ".join(text.split())) for text in texts]


async def test_entries_are_sentences_with_names_and_links(admin: Browser, tenants: TwoTenants) -> None:
    """Defect 22: the page showed UUIDs and Python dictionaries."""
    finance, users = tenants.finance, tenants.users
    report = f"pipelines/{finance.pipelines['daily_report']}"
    created = await admin.send_form(f"{SPACE}/teams", name="Billing", contact="#billing")
    team = created.headers["location"].rsplit("/", 1)[1]
    await admin.send_form(f"{SPACE}/teams/{team}/members", user_id=str(users["viewer"]))
    await admin.send_form(f"{SPACE}/pipelines/govern", pipeline=report.split("/")[1], criticality="high", team=team)
    await admin.send_form(f"{SPACE}/{report}/watch", watched="true")
    await admin.send_form(f"{SPACE}/members/{users['viewer']}", role="editor")
    await admin.send_form(f"{SPACE}/settings", name="Finance", retention_days="90", confirmed="true")
    await admin.send_form(f"{SPACE}/teams/{team}", name="Billing", contact="")
    found = await entries(admin, f"?actor_id={users['admin']}")
    assert found[:8] == [
        "Admin changed the team Billing contact: #billing → none",
        "Admin changed the space Finance runs are kept: for ever → 90 days",
        "Admin changed the role of Viewer role: viewer → editor",
        "Admin started watching daily_report",
        "Admin changed the pipeline daily_report criticality: medium → high",
        "Admin changed the pipeline daily_report team: none → Billing",
        "Admin added Viewer to the team Billing",
        "Admin created the team Billing contact: #billing",
    ]
    text = main_of((await admin.open(AUDIT)).text)
    for path in (report, f"teams/{team}", "members", "settings"):
        assert f'href="{SPACE}/{path}"' in text


async def test_names_of_deleted_objects_remain(admin: Browser, tenants: TwoTenants) -> None:
    created = await admin.send_form(f"{SPACE}/teams", name="Night")
    path = created.headers["location"]
    await admin.send_form(f"{path}/members", user_id=str(tenants.users["viewer"]))
    pipeline = str(tenants.finance.pipelines["daily_report"])
    await admin.send_form(f"{SPACE}/pipelines/govern", pipeline=pipeline, team=path.rsplit("/", 1)[1])
    await admin.send_form(f"{path}/delete", confirmed="true")
    await admin.send_form(f"{SPACE}/members/{tenants.users['viewer']}/remove", confirmed="true")
    found = await entries(admin)
    assert found[0] == "Admin removed the member Viewer role: viewer"
    assert "Admin deleted the team Night" in found
    assert "Admin changed the pipeline daily_report team: none → Night" in found
    assert "Admin added Viewer to the team Night" in found


async def test_rules_name_channels_teams_and_connectors_also_when_deleted(
    admin: Browser, client: ValidatingClient, tenants: TwoTenants
) -> None:
    finance, key = tenants.finance, tenants.keys["admin"]

    async def send(method: str, path: str, **body: Any) -> Any:
        response = await client.as_(key, method, f"{SPACE}/{path}", json=body or None)
        assert response.status_code < 300, response.text
        return response.json() if response.content else None

    team = await send("POST", "teams", name="Night")
    channel = await send(
        "POST", "notifications/channels", name="pager", kind="pagerduty", secret={"routing_key": "r" * 32}
    )
    chosen = {
        "channel_ids": [str(finance.channel_id), channel["id"]], "team_ids": [team["id"]],
        "connector_ids": [str(finance.connector_id)],
    }  # fmt: skip
    rule = await send("POST", "notifications/rules", name="Night shift", **chosen)
    await send("PATCH", f"notifications/rules/{rule['id']}", channel_ids=[channel["id"]], team_ids=[])
    found = await entries(admin)
    assert found[0] == "Admin changed the rule Night shift teams: Night → none channels: on call, pager → pager"
    for words in ("channels: on call, pager", "connectors: prod", "teams: Night"):
        assert words in found[1]
    assert f'href="{SPACE}/notifications/rules/{rule["id"]}"' in (await admin.open(AUDIT)).text
    await send("DELETE", f"notifications/channels/{channel['id']}")
    await send("DELETE", f"teams/{team['id']}")
    found = await entries(admin)
    assert "Admin changed the rule Night shift channels: pager → none" in found
    assert "Admin changed the rule Night shift teams: Night → none channels: on call, pager → pager" in found


def test_ids_without_a_known_name_are_called_deleted() -> None:
    event = {
        "action": "changed", "target_type": "notification_rule", "target_id": uuid4(), "target_name": "Night shift",
        "before": {"channel_ids": [str(uuid4())], "team_ids": []},
        "after": {"channel_ids": [], "team_ids": [str(uuid4())]},
    }  # fmt: skip
    changes = describe(event, Names([]))["changes"]
    assert [(item.label, item.before.text, item.after.text) for item in changes] == [
        ("channels", "a deleted channel", "none"), ("teams", "none", "a deleted team"),
    ]  # fmt: skip


async def test_no_write_operation_leaves_ids_or_python_in_the_log(
    superadmin: Browser, client: ValidatingClient, tenants: TwoTenants, key_ids: dict[str, UUID]
) -> None:
    """Every operation of the API, once: whatever the audit log holds then is in words."""
    finance = tenants.finance
    ids: dict[str, Any] = {
        "user_id": tenants.users["viewer"], "key_id": key_ids["viewer"], "connector_id": finance.connector_id,
        "sync_id": finance.sync_id, "pipeline_id": finance.pipelines["daily_report"], "run_id": finance.run_id,
        "task_run_id": finance.task_run_id, "team_id": finance.team_id, "comment_id": finance.comment_id,
        "view_id": finance.view_id,
        "fingerprint_id": finance.fingerprint_id, "bulk_clear_id": finance.bulk_clear_id,
        "incident_id": finance.incident_id, "channel_id": finance.channel_id, "rule_id": finance.rule_id,
        "message_id": finance.message_id,
    }  # fmt: skip
    order = ("POST", "PATCH", "PUT", "DELETE")
    last = {"/spaces/{slug}/members/{user_id}", "/catalog/spaces/{slug}/connectors/{connector_id}", "/users/{user_id}"}
    writing = [item for item in OPERATIONS if item.method != "GET" and str(item) != "DELETE /spaces/{slug}"]
    for item in sorted(writing, key=lambda item: (item.path in last, order.index(item.method))):
        key = tenants.keys["viewer" if item.refused else "superadmin"]
        path = item.path.format(slug="finance", **ids)
        await client.as_(key, item.method, path, json=item.body, headers={"Idempotency-Key": uuid4().hex})
    found = await entries(superadmin, "?size=500")
    kinds = {event["target_type"] for event in await events(client, tenants)}
    assert {"comment", "connector", "hold", "member", "sync", "team", "trigger", "user", "watch"} <= kinds
    assert len(found) > 15
    for text in found:
        without_run_ids = re.sub(r"windsock__\S+", "", text)
        assert not UUID_PATTERN.search(without_run_ids), text
        assert not re.search(r"[{}\[\]]|\bNone\b|\bTrue\b|\bFalse\b|_id\b", text), text


async def events(client: ValidatingClient, tenants: TwoTenants) -> list[dict[str, Any]]:
    listed = await client.as_(tenants.keys["superadmin"], "GET", f"{SPACE}/audit-events", params={"size": 100})
    found: list[dict[str, Any]] = listed.json()
    return found


async def test_audit_log_can_be_filtered(admin: Browser, tenants: TwoTenants) -> None:
    today = datetime.now(UTC).date()
    day, before = today.isoformat(), (today - timedelta(days=1)).isoformat()
    await admin.send_form(f"{SPACE}/teams", name="Billing")
    mine = f"actor_id={tenants.users['admin']}"
    for query, total in (
        (mine, 1),
        (f"{mine}&action=created&target_type=team", 1),
        (f"{mine}&action=deleted", 0),
        (f"{mine}&created_from={before}&created_to={day}", 1),
        (f"{mine}&created_to={before}", 0),
        (f"{mine}&created_from=9999-12-31", 0),
        (f"{mine}&created_to=9999-12-31", 1),
        (f"target_id={tenants.finance.team_id}&target_type=team&action=created", 1),
    ):
        assert len(await entries(admin, f"?{query}")) == total, query
    text = (await admin.open(f"{AUDIT}?{mine}&action=created")).text
    assert f'<option value="{tenants.users["admin"]}" selected' in text
    assert '<option value="created" selected' in text
    for wrong in ("target_type=nothing", "created_from=yesterday", "actor_id=me", "action=renamed"):
        refused = await admin.open(f"{AUDIT}?{wrong}")
        assert (refused.status_code, "cannot be understood" in refused.text) == (400, True)
    empty = await admin.open(f"{AUDIT}?actor_id=&action=created&created_from=")
    assert (empty.status_code, empty.headers["location"]) == (303, f"{AUDIT}?action=created")


async def test_audit_log_is_paged(admin: Browser) -> None:
    for number in range(3):
        await admin.send_form(f"{SPACE}/teams", name=f"Team {number}")
    assert "Page 1 of " in (await admin.open(f"{AUDIT}?size=2")).text
    past = await admin.open(f"{AUDIT}?size=2&page=99")
    assert past.status_code == 303


async def test_only_foreign_keys_are_replaced_by_names() -> None:
    """A text that looks like an id of another space's user must not be replaced by that user's name."""
    user, team = uuid4(), uuid4()
    event = {
        "action": "changed", "target_type": "team", "target_id": team, "target_name": str(user),
        "before": {"name": "a", "source_system_id": str(user)}, "after": {"name": str(user), "source_system_id": None},
    }  # fmt: skip
    assert referenced_ids([event]) == [team]
    names = Names([{"id": user, "kind": "user", "name": "Stranger", "page_id": None}])
    assert "Stranger" not in str(describe(event, names))


async def test_values_are_rendered_inert(admin: Browser) -> None:
    hostile = "<script>alert(1)</script>"
    await admin.send_form(f"{SPACE}/teams", name=hostile, contact=hostile)
    assert hostile not in (await admin.open(AUDIT)).text
