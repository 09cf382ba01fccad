"""`windsock inbox`, `windsock ack` and `windsock notifications`, against a server."""

from uuid import uuid4

import pytest
from click.testing import Result

from cli.conftest import Run, json_of
from incident_rows import INCIDENT
from live_server import LiveServer
from notifications.harness import SIGNING_SECRET, ScriptedOutbound, respond_with
from windsock.client import AsyncClient, Client, Forbidden
from windsock.notifications.rule_models import RuleIn

WEBHOOK = {
    "name": "hook", "kind": "webhook", "config": {"url": "https://hooks.example.com"},
    "secret": {"signing_secret": SIGNING_SECRET},
}  # fmt: skip


def names(result: Result) -> list[str]:
    return [row["pipeline"]["name"] for row in json_of(result)]


def test_inbox_filters_and_hides_what_is_held_back(run: Run) -> None:
    assert names(run("inbox", "--json")) == ["daily_report"]
    assert sorted(names(run("inbox", "--all", "--json"))) == ["daily_report", "hourly_load"]
    assert names(run("inbox", "--kind", "failed", "--mine", "--q", "no rows", "--json", kind="viewer")) == [
        "daily_report"
    ]
    assert names(run("inbox", "--all", "--limit", 1, "--json")) == ["daily_report"]
    assert names(run("inbox", "--all", "--team", "ingestion", "--json")) == ["hourly_load"]
    assert run("inbox", "--state", "resolved").stdout == "Nothing needs attention.\n"
    shown = run("inbox").stdout
    assert "daily_report" in shown
    assert str(INCIDENT) in shown
    assert (run("inbox", "--state", "other").exit_code, run("inbox", "--team", "nobody").exit_code) == (2, 3)


def test_ack_needs_an_editor_and_prints_the_count(run: Run) -> None:
    assert run("ack", INCIDENT, kind="viewer").exit_code == 3
    assert run("ack", uuid4()).exit_code == 3
    assert run("ack").exit_code == 2
    done = run("ack", INCIDENT, "--reason", "the disk is full", "--hours", 2)
    assert "Acknowledged 1 of 1" in done.stdout
    (row,) = json_of(run("inbox", "--state", "acknowledged", "--json"))
    assert row["acknowledgement_reason"] == "the disk is full"
    assert row["acknowledged_until"] is not None
    assert json_of(run("ack", INCIDENT, "--json")) == {"acknowledged": 1}


def test_notification_commands_list_channels_rules_messages_and_recipients(run: Run, live: LiveServer) -> None:
    finance = live.tenants.finance
    assert str(finance.channel_id) in run("notifications", "channels").stdout
    (channel,) = json_of(run("notifications", "channels", "--json"))
    assert (channel["name"], channel["kind"]) == ("on call", "email")
    assert "those who watch the pipeline" in run("notifications", "rules").stdout
    assert "Watchers" in {rule["name"] for rule in json_of(run("notifications", "rules", "--json"))}
    shown = run("notifications", "messages", "--channel", "on call", "--pipeline", "daily_report", "--attempts").stdout
    assert "daily_report failed" in shown
    assert "250 queued" in shown, "the response of the receiver"
    (message,) = json_of(run("notifications", "messages", "--status", "sent", "--since", "1h", "--json"))
    assert message["id"] == str(finance.message_id)
    assert run("notifications", "messages", "--status", "dropped").stdout == "No message matches.\n"
    preview = run("notifications", "preview", "Watchers").stdout
    assert "messages in 30 days" in preview
    assert json_of(run("notifications", "preview", "Watchers", "--json"))["days"] == 30
    decided = json_of(run("notifications", "why", "daily_report", "--kind", "approval", "--json"))
    assert (decided["kind"], "Watchers" in {row["rule"]["name"] for row in decided["recipients"]}) == ("approval", True)
    assert "Watchers" in run("notifications", "why", "daily_report", kind="viewer").stdout
    assert run("notifications", "preview", "nothing").exit_code == 3


def test_notification_commands_resend_and_test(run: Run, live: LiveServer, monkeypatch: pytest.MonkeyPatch) -> None:
    message_id = live.tenants.finance.message_id
    assert run("notifications", "resend", message_id, kind="viewer").exit_code == 3
    assert "to on call" in run("notifications", "resend", message_id).stdout
    assert json_of(run("notifications", "resend", message_id, "--json"))["state"] == "queued"
    with Client(live.url, live.tenants.keys["editor"], space="finance") as client:
        refused = run("notifications", "test", "on call")
        assert (refused.exit_code, "Not delivered" in refused.output) == (1, True), "there is no SMTP server"
        created = client._http.post(
            f"{live.url}/api/v1.0/spaces/finance/notifications/channels", json=WEBHOOK,
            headers={"Authorization": f"Bearer {live.tenants.keys['editor']}"},
        )  # fmt: skip
        assert created.status_code == 201
    outbound = ScriptedOutbound(respond_with(200, b"thanks"))
    monkeypatch.setattr(live.app.state.delivery, "outbound", outbound)
    assert "Delivered." in run("notifications", "test", "hook").stdout
    assert json_of(run("notifications", "test", created.json()["id"], "--json"))["status"] == 200


@pytest.mark.anyio
async def test_async_client_reads_notifications_and_clears_a_group_of_failures(live: LiveServer) -> None:
    finance = live.tenants.finance
    async with AsyncClient(live.url, live.tenants.keys["editor"], space="finance") as client:
        assert "on call" in [channel.name async for channel in client.channels()]
        assert "Watchers" in [rule.name async for rule in client.notification_rules()]
        found = [message.id async for message in client.messages(channel_id=finance.channel_id, size=1)]
        assert finance.message_id in found
        copy = await client.resend_message(finance.message_id)
        assert copy.id not in found
        assert (await client.preview_rule(RuleIn(name="x", to_watchers=True))).days == 30
        decided = await client.recipients(finance.pipelines["daily_report"])
        assert {row.outcome for row in decided.recipients} <= {"sent", "no_recipient", "below_criticality"}
        planned = await client.clear_fingerprint(finance.fingerprint_id, dry_run=True)
        assert (planned.status, [run.run_id for run in planned.runs]) == ("planned", [finance.run_id])
        started = await client.clear_fingerprint(finance.fingerprint_id, reason="it is back", idempotency_key="k")
        assert started.id is not None
        again = await client.clear_fingerprint(finance.fingerprint_id, reason="it is back", idempotency_key="k")
        assert again.id == started.id
        followed = await client.bulk_clear(finance.fingerprint_id, started.id)
        assert followed.total == 1
        with pytest.raises(Forbidden):
            async with AsyncClient(live.url, live.tenants.keys["viewer"], space="finance") as viewer:
                await viewer.clear_fingerprint(finance.fingerprint_id)
