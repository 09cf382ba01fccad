"""Which messages follow from which events: grouping, thresholds, quiet hours, and a decision for everything."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from notifications.harness import Harness, around_now, respond_with

pytestmark = pytest.mark.anyio

INTERVAL_IS_OVER: Any = """
UPDATE notification_groups SET notified_at = notified_at - interval '301 seconds'
WHERE space_id = %(space_id)s RETURNING id
"""


async def test_incident_is_announced_and_resolved_once(harness: Harness) -> None:
    await harness.add_rule(await harness.add_channel())
    incident = await harness.open_incident()
    await harness.run()
    await harness.add_event(incident, "failed_again")
    await harness.run()
    await harness.resolve(incident)
    await harness.run()
    assert [(row["event"], row["state"]) for row in await harness.messages()] == [
        ("opened", "sent"),
        ("resolved", "sent"),
    ]
    assert sorted(await harness.outcomes()) == sorted(["sent", "already_sent", "sent"])
    assert await harness.evaluate() == 0


async def test_failures_of_one_group_are_one_message_and_one_resolution(harness: Harness) -> None:
    await harness.add_rule(await harness.add_channel(), group_by=["connector"])
    incidents = [await harness.open_incident() for _ in range(3)]
    await harness.run()
    assert sorted(await harness.outcomes()) == sorted(["sent", "grouped", "grouped"])
    for incident in incidents[:2]:
        await harness.resolve(incident)
    await harness.run()
    assert len(await harness.messages()) == 1
    await harness.resolve(incidents[2])
    await harness.run()
    assert [row["event"] for row in await harness.messages()] == ["opened", "resolved"]
    assert len(harness.outbound.requests) == 2


async def test_group_closes_and_its_successor_opens_in_one_evaluation(harness: Harness) -> None:
    await harness.add_rule(await harness.add_channel(), group_by=["connector"])
    incident = await harness.open_incident()
    await harness.run()
    await harness.resolve(incident)
    await harness.open_incident()
    await harness.run()
    assert sorted(row["event"] for row in await harness.messages()) == ["opened", "opened", "resolved"]


async def test_message_that_waits_is_dropped_when_all_is_resolved(harness: Harness) -> None:
    await harness.add_rule(await harness.add_channel(), hold_seconds=60)
    incident = await harness.open_incident()
    await harness.run()
    await harness.resolve(incident)
    await harness.run()
    assert [row["state"] for row in await harness.messages()] == ["dropped"]
    assert sorted(await harness.outcomes()) == sorted(["sent", "resolved_before"])
    assert harness.outbound.requests == []


@pytest.mark.parametrize(
    ("rule", "outcome"),
    [
        ({"min_criticality": "critical"}, "below_criticality"),
        ({"kinds": ["approval"]}, "not_matching"),
        ({"tags": ["finance"]}, "not_matching"),
        ({"min_failures": 2}, "too_few_failures"),
        ({"after_successes": 1}, "flapping"),
        ({"events": ["resolved"]}, "not_announced"),
        ({"channel_ids": []}, "no_recipient"),
    ],
)
async def test_withheld_message_has_a_decision_with_the_reason(
    harness: Harness, rule: dict[str, object], outcome: str
) -> None:
    await harness.add_rule(**{"channel_ids": [await harness.add_channel()], **rule})
    await harness.open_incident()
    await harness.run()
    assert outcome in await harness.outcomes()
    assert await harness.messages() == []


@pytest.mark.parametrize("state", ["acknowledged", "snoozed"])
async def test_acknowledged_or_snoozed_incident_is_not_announced(harness: Harness, state: str) -> None:
    await harness.add_rule(await harness.add_channel())
    incident = await harness.open_incident()
    await harness.add_event(incident, "failed_again", state=state)
    await harness.run()
    assert sorted(await harness.outcomes()) == sorted([state, state])


async def test_incident_without_rules_has_a_decision(harness: Harness) -> None:
    await harness.open_incident()
    await harness.evaluate()
    assert sorted(await harness.outcomes()) == sorted(["no_rule"])


async def test_two_rules_with_the_same_channel_send_one_message(harness: Harness) -> None:
    channel = await harness.add_channel()
    await harness.add_rule(channel)
    await harness.add_rule(channel)
    incident = await harness.open_incident()
    await harness.run()
    await harness.resolve(incident)
    await harness.run()
    assert [row["event"] for row in await harness.messages()] == ["opened", "resolved"]
    assert sorted(await harness.outcomes()) == ["grouped", "grouped", "sent", "sent"]


async def test_second_failure_threshold_announces_the_incident(harness: Harness) -> None:
    await harness.add_rule(await harness.add_channel(), min_failures=2)
    incident = await harness.open_incident()
    await harness.run()
    await harness.execute("UPDATE incidents SET occurrences = 2 WHERE space_id = %(space_id)s RETURNING id")
    await harness.add_event(incident, "failed_again")
    await harness.run()
    assert sorted(await harness.outcomes()) == sorted(["too_few_failures", "sent"])


async def test_quiet_hours_collect_into_one_message_at_their_end(harness: Harness) -> None:
    await harness.add_rule(await harness.add_channel(), **around_now(60, 60))
    first, _second = await harness.open_incident(), await harness.open_incident()
    critical = await harness.open_incident(await harness.add_pipeline("critical"))
    await harness.run()
    await harness.resolve(first)
    await harness.run()
    assert sorted(await harness.outcomes()) == sorted(["quiet", "quiet", "sent", "grouped"])
    events = {row["event"]: row for row in await harness.messages()}
    assert set(events) == {"catch_up", "opened"}
    assert events["catch_up"]["state"] == "queued"
    assert timedelta(minutes=58) < events["catch_up"]["due_at"] - datetime.now(UTC) <= timedelta(minutes=60)
    await harness.make_due()
    await harness.deliver()
    assert b"Collected: 2 incidents, 1 unresolved" in harness.outbound.requests[-1].body
    assert str(critical).encode() in harness.outbound.requests[0].body


async def test_digest_collects_until_its_time(harness: Harness) -> None:
    at = (datetime.now(UTC) + timedelta(hours=2)).strftime("%H:%M")
    await harness.add_rule(await harness.add_channel(), digest_at=at)
    await harness.open_incident()
    await harness.open_incident()
    await harness.run()
    assert sorted(await harness.outcomes()) == sorted(["digest", "digest"])
    assert [row["event"] for row in await harness.messages()] == ["digest"]


async def test_messages_beyond_the_limit_of_a_channel_are_collected(harness: Harness) -> None:
    await harness.add_rule(await harness.add_channel(max_per_hour=2))
    for _ in range(5):
        await harness.open_incident()
    await harness.run()
    assert sorted(await harness.outcomes()) == sorted(["sent", "sent", "rate_limited", "rate_limited", "rate_limited"])
    assert sorted(row["event"] for row in await harness.messages()) == ["catch_up", "opened", "opened"]


async def test_late_summary_is_one_message(harness: Harness) -> None:
    await harness.add_rule(await harness.add_channel())
    incidents = [await harness.open_incident() for _ in range(3)]
    await harness.execute("UPDATE incident_events SET evaluated_at = now() WHERE space_id = %(space_id)s RETURNING id")
    at = datetime.now(UTC)
    for part in (incidents[:2], incidents[2:]):  # of more incidents than one event names there are several
        ids = [str(incident) for incident in part]
        await harness.add_event(part[-1], "late_summary", happened_at=at, details={"incident_ids": ids, "opened": 3})
    await harness.run()
    assert sorted(await harness.outcomes()) == sorted(["late", "late", "late"])
    assert len(harness.outbound.requests) == 1


async def test_default_rules_notify_watchers_and_channel_of_team(harness: Harness) -> None:
    await harness.execute(
        "INSERT INTO notification_rules (space_id, name, to_watchers) VALUES (%(space_id)s, 'w', true) RETURNING id"
    )
    await harness.execute(
        "INSERT INTO notification_rules (space_id, name, to_team_channels, min_criticality)"
        " VALUES (%(space_id)s, 't', true, 'high') RETURNING id"
    )
    team, user = await harness.add_team(), await harness.add_member()
    await harness.add_channel("slack", team_id=team)
    pipeline = await harness.add_pipeline(team_id=team)
    await harness.watch(pipeline, user)
    await harness.open_incident(pipeline)
    await harness.open_incident(await harness.add_pipeline("low", team_id=team))
    await harness.run()
    assert len(harness.outbound.requests) == len(harness.outbound.mails) == 1
    assert "You get this because you watch this pipeline" in harness.outbound.mails[0].text
    assert harness.outbound.mails[0].headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert "below_criticality" in await harness.outcomes()


async def test_user_outside_the_space_gets_no_mail(harness: Harness) -> None:
    user = await harness.add_member()
    await harness.add_rule(to_watchers=True)
    pipeline = await harness.add_pipeline()
    await harness.watch(pipeline, user)
    await harness.open_incident(pipeline)
    await harness.evaluate()
    await harness.execute("DELETE FROM memberships WHERE space_id = %(space_id)s RETURNING user_id")
    await harness.deliver()
    assert harness.outbound.mails == []
    assert [row["state"] for row in await harness.messages()] == ["dropped"]


async def test_unacknowledged_incident_is_announced_again_with_a_decision(harness: Harness) -> None:
    await harness.add_rule(await harness.add_channel(), repeat_seconds=300)
    incident = await harness.open_incident()
    await harness.run()
    await harness.execute(INTERVAL_IS_OVER)
    await harness.run()
    await harness.run()
    assert [row["event"] for row in await harness.messages()] == ["opened", "reminder"]
    assert sorted(await harness.outcomes()) == sorted(["sent", "reminded"])
    await harness.execute(INTERVAL_IS_OVER)
    await harness.add_event(incident, "acknowledged", state="acknowledged")
    await harness.run()
    assert [row["event"] for row in await harness.messages()] == ["opened", "reminder", "acknowledged"]


async def test_reminder_that_failed_is_followed_by_another_after_the_interval(harness: Harness) -> None:
    await harness.add_rule(await harness.add_channel("slack"), repeat_seconds=300)
    await harness.open_incident()
    await harness.run()
    await harness.execute(INTERVAL_IS_OVER)
    harness.outbound.respond = respond_with(500)
    for _ in range(3):
        await harness.run()
        await harness.make_due()
    assert [(row["event"], row["state"]) for row in await harness.messages()] == [
        ("opened", "sent"),
        ("reminder", "failed"),
    ]
    await harness.execute(INTERVAL_IS_OVER)
    await harness.run()
    assert [row["event"] for row in await harness.messages()] == ["opened", "reminder", "reminder"]


async def test_incident_held_back_by_an_outage_is_not_announced(harness: Harness) -> None:
    await harness.add_rule(await harness.add_channel())
    incident = await harness.open_incident()
    await harness.execute(
        "WITH outage AS (INSERT INTO incidents (space_id, connector_id, kind, opened_at, last_failed_at) VALUES"
        " (%(space_id)s, %(connector_id)s, 'sync', now(), now()) RETURNING id)"
        " UPDATE incidents SET held_back_by_incident_id = (SELECT id FROM outage)"
        " WHERE space_id = %(space_id)s AND id = %(incident_id)s RETURNING id",
        connector_id=harness.connector_id,
        incident_id=incident,
    )
    await harness.run()
    assert sorted(await harness.outcomes()) == sorted(["held_back"])


async def test_ten_thousand_failures_at_once_are_as_many_messages_as_groups(harness: Harness) -> None:
    await harness.add_rule(await harness.add_channel(), group_by=["connector"])
    await harness.execute(
        "INSERT INTO pipelines (space_id, connector_id, external_id, name, is_paused, is_active, has_import_errors)"
        " SELECT %(space_id)s, %(connector_id)s, 'p' || n, 'p' || n, false, true, false"
        " FROM generate_series(1, 10000) n"
        " RETURNING id",
        connector_id=harness.connector_id,
    )
    await harness.execute(
        "WITH opened AS (INSERT INTO incidents (space_id, connector_id, pipeline_id, kind, opened_at, last_failed_at)"
        " SELECT space_id, connector_id, id, 'failed', now(), now() FROM pipelines WHERE space_id = %(space_id)s"
        " RETURNING space_id, id) INSERT INTO incident_events (space_id, incident_id, kind)"
        " SELECT space_id, id, 'opened' FROM opened RETURNING id"
    )
    await harness.run()
    assert len(harness.outbound.requests) == 1
    assert len(await harness.outcomes()) == 10_000
