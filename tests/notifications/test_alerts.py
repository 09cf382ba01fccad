"""PagerDuty and Alertmanager show what is open: each alert ends with its group."""

from datetime import UTC, datetime

import orjson
import pytest

from notifications.harness import Harness, around_now, hours_ago

pytestmark = pytest.mark.anyio


async def test_quiet_hours_let_an_alert_follow_the_state_of_its_group(harness: Harness) -> None:
    """A collected change would be an alert of its own, which nothing resolves."""
    await harness.add_rule(await harness.add_channel("pagerduty"), **around_now(60, 60))
    incident = await harness.open_incident()
    await harness.evaluate(hours_ago(2))
    await harness.deliver()
    await harness.add_event(incident, "fingerprint_changed")
    await harness.run()
    await harness.resolve(incident)
    await harness.run()
    sent = [orjson.loads(request.body) for request in harness.outbound.requests]
    assert [event["event_action"] for event in sent] == ["trigger", "trigger", "resolve"]
    assert len({event["dedup_key"] for event in sent}) == 1


async def test_what_quiet_hours_collected_is_no_alert_when_all_is_resolved(harness: Harness) -> None:
    for kind in ("pagerduty", "alertmanager"):
        await harness.add_rule(await harness.add_channel(kind), **around_now(60, 60))
    incident = await harness.open_incident()
    await harness.run()
    await harness.resolve(incident)
    await harness.run()
    await harness.make_due()
    await harness.deliver()
    assert [row["event"] for row in await harness.messages()] == ["catch_up", "catch_up"]
    sent = [orjson.loads(request.body) for request in harness.outbound.requests]
    (event,) = [content for content in sent if isinstance(content, dict)]
    ((alert,),) = [content for content in sent if isinstance(content, list)]
    assert event["event_action"] == "resolve"
    assert alert["endsAt"] < datetime.now(UTC).isoformat()


async def test_what_quiet_hours_collected_is_no_alert_when_it_was_resolved_and_is_open_again(harness: Harness) -> None:
    """The alert of the group that is open again is the only one: nothing would resolve the other."""
    for kind in ("pagerduty", "alertmanager"):
        await harness.add_rule(await harness.add_channel(kind), **around_now(60, 60))
    incident = await harness.open_incident()
    await harness.evaluate()
    await harness.resolve(incident)
    await harness.evaluate()
    await harness.add_event(incident, "reopened", state="open")
    await harness.evaluate(hours_ago(2))
    await harness.make_due()
    await harness.deliver()
    await harness.make_due()
    await harness.deliver()
    sent = [orjson.loads(request.body) for request in harness.outbound.requests]
    actions = [event["event_action"] for event in sent if isinstance(event, dict)]
    now = datetime.now(UTC).isoformat()
    is_firing = [alerts[0]["endsAt"] > now for alerts in sent if isinstance(alerts, list)]
    assert (sorted(actions), sorted(is_firing)) == (["resolve", "trigger"], [False, True])


async def test_alertmanager_resolves_each_severity_that_a_group_has_had(harness: Harness) -> None:
    await harness.add_rule(await harness.add_channel("alertmanager"), group_by=["connector"])
    incidents = []
    for criticality in ("low", "critical"):
        incidents.append(await harness.open_incident(await harness.add_pipeline(criticality)))
        await harness.evaluate()
        await harness.make_due()
        await harness.deliver()
    for incident in incidents:
        await harness.resolve(incident)
    await harness.run()
    sent = [orjson.loads(request.body) for request in harness.outbound.requests]
    assert [[alert["labels"]["severity"] for alert in alerts] for alerts in sent] == [
        ["low"],
        ["critical", "low"],
        ["critical"],
    ]
    now = datetime.now(UTC).isoformat()
    assert [[alert["endsAt"] > now for alert in alerts] for alerts in sent] == [[True], [True, False], [False]]
