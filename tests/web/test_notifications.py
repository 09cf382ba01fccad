"""Pages of notifications: rules in words, channels, the preview of a rule, messages, and why somebody was notified."""

import re

import pytest

from factories import TwoTenants
from notifications.harness import SIGNING_SECRET
from web.conftest import Browser

pytestmark = pytest.mark.anyio

BASE = "/spaces/finance/notifications"


async def test_rules_are_sentences_and_channels_have_their_health(viewer: Browser) -> None:
    page = (await viewer.open(BASE)).text
    assert "Announce every incident to those who watch the pipeline, by e-mail." in page
    assert "on call" in page
    assert "Add a rule" not in page


async def test_rule_is_previewed_saved_and_deleted(editor: Browser, tenants: TwoTenants) -> None:
    fields = {
        "name": "Night", "is_active": "true", "min_criticality": "low", "channel_ids": str(tenants.finance.channel_id),
        "events": "opened", "min_failures": "1", "after_successes": "0", "hold_seconds": "0", "time_zone": "UTC",
        "quiet_start": "", "quiet_end": "", "group_by": "pipeline",
    }  # fmt: skip
    preview = await editor.send_form(f"{BASE}/rules/new", **fields, do="preview")
    assert "would have sent <strong>1 message</strong>" in preview.text
    assert 'value="Night"' in preview.text
    refused = await editor.send_form(f"{BASE}/rules/new", **{**fields, "time_zone": "Nowhere"})
    assert refused.status_code == 422
    assert "time zone of the IANA database" in refused.text
    endless = await editor.send_form(f"{BASE}/rules/new", **{**fields, "hold_seconds": "9" * 5_000})
    assert endless.status_code == 422
    assert (await editor.send_form(f"{BASE}/rules/new", **fields)).headers["location"] == BASE
    assert "Night" in (await editor.open(BASE)).text
    (rule_id,) = re.findall(r'rules/([0-9a-f-]{36})">Night<', (await editor.open(BASE)).text)
    saved = (await editor.open(f"{BASE}/rules/{rule_id}")).text
    assert re.findall(r'name="group_by" value="(\w+)" checked', saved) == ["pipeline"], (
        "what the form does not send is lost"
    )
    path = f"{BASE}/rules/{tenants.finance.rule_id}"
    assert (await editor.send_form(f"{path}/delete", confirmed="true")).status_code == 303
    assert (await editor.open(path)).status_code == 404


async def test_channel_form_creates_changes_and_tests(editor: Browser, tenants: TwoTenants) -> None:
    fields = {"name": "hook", "config.url": "https://a.example.com", "secret.signing_secret": SIGNING_SECRET}
    more = {"is_active": "true", "max_per_hour": "9"}
    created = await editor.send_form(f"{BASE}/channels/new?kind=webhook", **fields, **more)
    path = created.headers["location"]
    page = (await editor.open(path)).text
    assert "https://a.example.com" in page
    assert "whsec_MDEy" not in page
    saved = await editor.send_form(path, **{**fields, "secret.signing_secret": "", "name": "other"}, **more)
    assert saved.status_code == 303
    moved = await editor.send_form(
        path, **{**fields, "secret.signing_secret": "", "config.url": "https://b.example.com"}, **more
    )
    assert moved.status_code == 422
    assert (await editor.send_form(path, **fields, is_active="true", max_per_hour="9" * 5_000)).status_code == 422
    tested = await editor.send_form(f"{BASE}/channels/{tenants.finance.channel_id}/test")
    assert "The test message was not delivered." in tested.text


async def test_messages_page_shows_attempts_and_sends_again(editor: Browser, tenants: TwoTenants) -> None:
    page = (await editor.open(f"{BASE}/messages")).text
    assert "daily_report failed" in page
    assert "It is in the rule." in page
    sent = await editor.send_form(f"{BASE}/messages/{tenants.finance.message_id}/resend")
    assert sent.headers["location"] == f"{BASE}/messages"
    assert "queued" in (await editor.open(f"{BASE}/messages")).text


async def test_why_page_shows_the_decision_of_each_rule(viewer: Browser, tenants: TwoTenants) -> None:
    page = (await viewer.open(f"{BASE}/why/{tenants.finance.incident_id}")).text
    assert "Watchers" in page
    assert "A message was written for it." in page
    assert (await viewer.open(f"{BASE}/why/{tenants.marketing.incident_id}")).status_code == 404


async def test_personal_settings_are_saved_on_their_page(viewer: Browser) -> None:
    saved = await viewer.send_form(
        "/notifications", email_enabled="true", quiet_start="22:00", quiet_end="07:00", time_zone="Europe/Berlin"
    )
    assert saved.status_code == 303
    assert 'value="Europe/Berlin"' in (await viewer.open("/notifications")).text
    refused = await viewer.send_form("/notifications", time_zone="Nowhere")
    assert refused.status_code == 422
