"""Channels, rules, messages and personal settings in the API."""

from typing import Any

import pytest

from conftest import RolledBackDatabase
from factories import TwoTenants
from notifications.harness import SIGNING_SECRET
from validating_client import ValidatingClient
from windsock.notifications.rendering import unsubscribe_token

pytestmark = pytest.mark.anyio

BASE = "/spaces/finance/notifications"
WEBHOOK = {
    "name": "hook",
    "kind": "webhook",
    "config": {"url": "https://a.example.com"},
    "secret": {"signing_secret": SIGNING_SECRET},
}


async def test_secret_is_never_returned_and_needed_again_for_another_address(
    client: ValidatingClient, tenants: TwoTenants
) -> None:
    editor = tenants.keys["editor"]
    created = await client.as_(editor, "POST", f"{BASE}/channels", json=WEBHOOK)
    assert created.status_code == 201
    assert created.json()["has_secret"]
    assert "whsec_" not in created.text
    path = f"{BASE}/channels/{created.json()['id']}"
    moved = await client.as_(editor, "PATCH", path, json={"config": {"url": "https://b.example.com"}})
    assert (moved.status_code, moved.json()["detail"][0]["loc"]) == (422, ["body", "secret"])
    both = {"config": {"url": "https://b.example.com"}, "secret": {"signing_secret": SIGNING_SECRET}}
    assert (await client.as_(editor, "PATCH", path, json=both)).json()["config"]["url"] == "https://b.example.com"


@pytest.mark.parametrize(
    ("kind", "config", "secret", "place"),
    [
        ("webhook", {"url": "ftp://a.example.com"}, {"signing_secret": SIGNING_SECRET}, ["config", "url"]),
        ("webhook", {"url": "https://u:p@a.example.com"}, {"signing_secret": SIGNING_SECRET}, ["config", "url"]),
        ("webhook", {"url": "https://a.example.com"}, {"signing_secret": "short"}, ["secret", "signing_secret"]),
        ("webhook", {"url": "https://a.example.com"}, None, ["secret", "signing_secret"]),
        ("slack", {}, {"bot_token": "xoxb-1"}, ["config", "channel"]),
        ("slack", {}, {}, ["secret"]),
        ("email", {"to": ["a@example.com\nBcc: b@example.com"]}, None, ["config", "to", 0]),
        ("email", {"to": []}, None, ["config", "to"]),
        ("alertmanager", {"url": "https://a.example.com"}, {"username": "u"}, ["secret"]),
        ("pagerduty", {"other": 1}, {"routing_key": "R"}, ["config", "other"]),
    ],
)
async def test_config_that_does_not_fit_the_kind_is_refused(
    client: ValidatingClient, tenants: TwoTenants, kind: str, config: Any, secret: Any, place: list[Any]
) -> None:
    body = {"name": "x", "kind": kind, "config": config, "secret": secret}
    response = await client.as_(tenants.keys["editor"], "POST", f"{BASE}/channels", json=body)
    assert (response.status_code, response.json()["detail"][0]["loc"]) == (422, ["body", *place])


async def test_space_begins_with_default_rules_in_words(client: ValidatingClient, tenants: TwoTenants) -> None:
    rules = (await client.as_(tenants.keys["viewer"], "GET", f"{BASE}/rules")).json()
    assert [rule["sentence"] for rule in rules] == [
        "Announce every incident of criticality high or above to the channels of the owning team.",
        "Announce every incident to those who watch the pipeline, by e-mail.",
    ]


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"quiet_start": "22:00"}, []),
        ({"quiet_start": "22:00", "quiet_end": "22:00"}, []),
        ({"digest_at": "25:00"}, ["digest_at"]),
        ({"digest_at": "22+01"}, ["digest_at"]),
        ({"time_zone": "Mars/Olympus"}, ["time_zone"]),
        ({"min_failures": 0}, ["min_failures"]),
        ({"kinds": ["other"]}, ["kinds", 0]),
    ],
)
async def test_rule_that_makes_no_sense_is_refused(
    client: ValidatingClient, tenants: TwoTenants, body: dict[str, Any], place: list[Any]
) -> None:
    response = await client.as_(tenants.keys["editor"], "POST", f"{BASE}/rules", json={"name": "x", **body})
    assert (response.status_code, response.json()["detail"][0]["loc"]) == (422, ["body", *place])


async def test_rule_can_be_changed_in_part_and_quiet_hours_removed(
    client: ValidatingClient, tenants: TwoTenants
) -> None:
    editor, body = tenants.keys["editor"], {"name": "x", "quiet_start": "22:00", "quiet_end": "06:30"}
    created = (await client.as_(editor, "POST", f"{BASE}/rules", json=body)).json()
    assert "Quiet from 22:00 to 06:30 (UTC)" in created["sentence"]
    path = f"{BASE}/rules/{created['id']}"
    half = await client.as_(editor, "PATCH", path, json={"quiet_end": None})
    assert half.status_code == 422
    changed = await client.as_(editor, "PATCH", path, json={"quiet_start": None, "quiet_end": None, "hold_seconds": 5})
    assert (changed.json()["quiet_start"], changed.json()["hold_seconds"]) == (None, 5)


async def test_rule_cannot_name_things_of_another_space(client: ValidatingClient, tenants: TwoTenants) -> None:
    other = tenants.marketing
    for name, id_ in (
        ("channel_ids", other.channel_id),
        ("team_ids", other.team_id),
        ("connector_ids", other.connector_id),
    ):
        for path in ("rules", "rules/preview"):
            response = await client.as_(
                tenants.keys["editor"], "POST", f"{BASE}/{path}", json={"name": "x", name: [str(id_)]}
            )
            assert response.status_code == 404, name


async def test_preview_lists_messages_of_past_incidents(client: ValidatingClient, tenants: TwoTenants) -> None:
    body = {"name": "x", "channel_ids": [str(tenants.finance.channel_id)]}
    preview = (await client.as_(tenants.keys["viewer"], "POST", f"{BASE}/rules/preview", json=body)).json()
    assert (preview["event_count"], preview["message_count"]) == (1, 1)
    (message,) = preview["messages"]
    assert message["recipient"]["name"] == "on call"
    assert [incident["name"] for incident in message["incidents"]] == ["daily_report"]
    assert preview["decisions"] == {"sent": 1}
    body["min_criticality"] = "critical"
    preview = (await client.as_(tenants.keys["viewer"], "POST", f"{BASE}/rules/preview", json=body)).json()
    assert preview["decisions"] == {"below_criticality": 1, "no_rule": 1}


async def test_pipeline_recipients_have_an_outcome_per_rule(client: ValidatingClient, tenants: TwoTenants) -> None:
    path = f"/spaces/finance/orchestration/pipelines/{tenants.finance.pipelines['daily_report']}/recipients"
    found = (await client.as_(tenants.keys["viewer"], "GET", path, params={"kind": "failed"})).json()
    assert {(row["rule"]["name"], row["outcome"]) for row in found["recipients"] if row["rule"]} == {
        ("Channel of the owning team", "below_criticality"),
        ("Watchers", "no_recipient"),
    }


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("status=sent", 1),
        ("status=failed", 0),
        ("channel_id={channel}", 1),
        ("channel_id={other}", 0),
        ("pipeline_id={pipeline}", 1),
        ("pipeline_id={other}", 0),
        ("created_from=2099-01-01T00:00:00Z", 0),
        ("created_to=2099-01-01T00:00:00Z", 1),
    ],
)
async def test_messages_can_be_filtered(client: ValidatingClient, tenants: TwoTenants, query: str, count: int) -> None:
    ids = {
        "channel": tenants.finance.channel_id,
        "pipeline": tenants.finance.pipelines["daily_report"],
        "other": tenants.marketing.channel_id,
    }
    response = await client.as_(tenants.keys["viewer"], "GET", f"{BASE}/messages?{query.format(**ids)}")
    assert len(response.json()) == count


async def test_resent_message_is_another_message(client: ValidatingClient, tenants: TwoTenants) -> None:
    path = f"{BASE}/messages/{tenants.finance.message_id}/resend"
    response = await client.as_(tenants.keys["editor"], "POST", path)
    assert (response.status_code, response.json()["state"]) == (202, "queued")
    assert response.json()["id"] != str(tenants.finance.message_id)
    again = await client.as_(tenants.keys["editor"], "POST", f"{BASE}/messages/{response.json()['id']}/resend")
    assert again.status_code == 409


async def test_test_message_returns_response_of_receiver(client: ValidatingClient, tenants: TwoTenants) -> None:
    path = f"{BASE}/channels/{tenants.finance.channel_id}/test"
    result = (await client.as_(tenants.keys["editor"], "POST", path)).json()
    assert not result["success"]
    assert "WINDSOCK_SMTP_HOST" in result["detail"]
    messages = (await client.as_(tenants.keys["viewer"], "GET", f"{BASE}/messages?status=failed")).json()
    assert [(row["event"], len(row["attempts"])) for row in messages] == [("test", 1)]


async def test_unsubscribe_link_works_without_a_session_and_cannot_be_forged(
    client: ValidatingClient, db: RolledBackDatabase, tenants: TwoTenants
) -> None:
    del db
    app: Any = client._app
    token = unsubscribe_token(app.state.secrets, tenants.users["viewer"], tenants.finance.id)
    site, html = "http://windsock.test", {"Accept": "text/html"}
    assert (await client.get(f"{site}/unsubscribe/{token}", headers=html)).status_code == 200
    before = (await client.as_(tenants.keys["viewer"], "GET", "/users/me/notifications")).json()
    assert before["muted_space_ids"] == []
    done = await client.post(f"{site}/unsubscribe/{token}", headers=html, data={"List-Unsubscribe": "One-Click"})
    assert done.status_code == 200
    after = (await client.as_(tenants.keys["viewer"], "GET", "/users/me/notifications")).json()
    assert after["muted_space_ids"] == [str(tenants.finance.id)]
    forged = await client.post(f"{site}/unsubscribe/{token[:-4]}AAAA", headers={"Accept": "application/json"})
    assert forged.status_code == 404


async def test_personal_settings_are_replaced_as_a_whole(client: ValidatingClient, tenants: TwoTenants) -> None:
    viewer, path = tenants.keys["viewer"], "/users/me/notifications"
    body = {"quiet_start": "22:00", "quiet_end": "07:00", "time_zone": "Europe/Berlin", "digest_at": "08:15"}
    assert (await client.as_(viewer, "PUT", path, json=body)).json()["digest_at"] == "08:15"
    assert (await client.as_(viewer, "PUT", path, json={})).json()["quiet_start"] is None
