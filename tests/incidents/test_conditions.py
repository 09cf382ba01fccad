"""Incidents that last as long as a condition, and what happens because a time has come."""

from datetime import UTC, datetime

import pytest

from factories import make_task_run
from incidents.harness import IncidentHarness
from windsock.sync.writer import MirrorWriter

pytestmark = pytest.mark.anyio


async def kinds(harness: IncidentHarness) -> list[tuple[str, str]]:
    return [(row["kind"], row["state"]) for row in await harness.incidents()]


async def test_import_error_opens_and_resolves_with_the_flag(harness: IncidentHarness) -> None:
    for flag, expected in ((True, "open"), (False, "resolved"), (True, "open")):
        await harness.execute(
            "UPDATE pipelines SET has_import_errors = %(flag)s WHERE external_id = 'daily_report'", flag=flag
        )
        await harness.update()
        await harness.update()
        assert await kinds(harness) == [("import_error", expected)]
    assert await harness.events() == ["opened", "resolved", "reopened"]


async def test_connector_without_complete_sync_opens_an_incident_that_the_next_one_resolves(
    harness: IncidentHarness,
) -> None:
    await harness.execute(
        "UPDATE sync_states SET failing_since = now(), last_complete_at = now() - interval '1 minute'"
    )
    await harness.update()
    assert await kinds(harness) == [], "three intervals are not over"
    await harness.execute("UPDATE sync_states SET last_complete_at = now() - interval '10 minutes'")
    await harness.update(watching_since=datetime.now(UTC))
    assert await kinds(harness) == [], "nobody looked before"
    await harness.update()
    assert await kinds(harness) == [("sync", "open")]
    await harness.execute("UPDATE sync_states SET failing_since = NULL, last_complete_at = now()")
    await harness.update()
    assert await kinds(harness) == [("sync", "resolved")]


async def test_failing_sync_holds_back_what_fails_meanwhile_and_releases_it(harness: IncidentHarness) -> None:
    await harness.execute(
        "UPDATE sync_states SET failing_since = now(), last_complete_at = now() - interval '10 minutes'"
    )
    await harness.update()
    await harness.end_run("a")
    await harness.update()
    (failed,) = [row for row in await harness.incidents() if row["kind"] == "failed"]
    assert failed["held_back_by_incident_id"] is not None
    await harness.execute("UPDATE sync_states SET failing_since = NULL, last_complete_at = now()")
    await harness.update()
    (failed,) = [row for row in await harness.incidents() if row["kind"] == "failed"]
    assert (failed["state"], failed["held_back_by_incident_id"]) == ("open", None)
    assert await harness.events() == ["opened", "opened", "held_back", "resolved", "released"]


async def test_task_that_waits_for_input_is_an_incident_until_its_response(harness: IncidentHarness) -> None:
    await harness.end_run("a", "running")
    for status, expected in (("awaiting_input", "open"), ("success", "resolved")):
        task = make_task_run("daily_report", "a", "ask", status)
        async with harness.db.tenant_transaction(harness.tenant.id) as tx:
            await MirrorWriter(harness.tenant.id, harness.tenant.connector_id).store_task_runs(
                tx, [task], harness.tenant.pipelines
            )
        await harness.update()
        assert await kinds(harness) == [("approval", expected)]


async def test_acknowledgement_and_snooze_end_at_their_time(harness: IncidentHarness) -> None:
    await harness.end_run("a")
    await harness.update()
    for change, event in (
        (
            "UPDATE incidents SET state = 'acknowledged', acknowledged_at = now(), acknowledged_until = now()",
            "acknowledgement_ended",
        ),
        ("UPDATE incidents SET state = 'snoozed', snoozed_until = now()", "snooze_ended"),
    ):
        await harness.execute(change)
        await harness.update()
        assert (await harness.incident())["state"] == "open"
        assert (await harness.events())[-1] == event


async def test_fingerprint_is_taken_over_when_the_log_has_been_read(harness: IncidentHarness) -> None:
    run_id = await harness.end_run("a")
    await harness.update()
    assert (await harness.incident())["fingerprint_id"] is None
    task = make_task_run("daily_report", "a", "load", "failed")
    async with harness.db.tenant_transaction(harness.tenant.id) as tx:
        await MirrorWriter(harness.tenant.id, harness.tenant.connector_id).store_task_runs(
            tx, [task], harness.tenant.pipelines
        )
    await harness.execute(
        "INSERT INTO task_failures (space_id, run_id, task_run_id, try_number, place, failed_at, summary,"
        " fingerprint_id)"
        " SELECT t.space_id, t.run_id, t.id, 1, 0, now(), 'KeyError', %(fingerprint_id)s FROM task_runs t"
        " WHERE t.run_id = %(run_id)s",
        run_id=run_id, fingerprint_id=harness.tenant.fingerprint_id,
    )  # fmt: skip
    await harness.execute("UPDATE run_transitions SET is_fingerprint_due = true")
    await harness.update()
    incident = await harness.incident()
    assert (incident["fingerprint_id"], incident["occurrences"]) == (harness.tenant.fingerprint_id, 1)
    assert await harness.events() == ["opened", "fingerprint_changed"]
