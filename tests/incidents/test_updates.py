"""Runs that a sync stores become transitions, and transitions incidents."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from incidents.harness import IncidentHarness
from windsock.db.database import Row, Transaction
from windsock.db.queries import Query

pytestmark = pytest.mark.anyio


async def test_failed_run_opens_one_incident(harness: IncidentHarness) -> None:
    run_id = await harness.end_run("a")
    await harness.update()
    incident = await harness.incident()
    assert (incident["state"], incident["kind"], incident["occurrences"]) == ("open", "failed", 1)
    assert incident["first_run_id"] == incident["last_run_id"] == run_id
    assert incident["opened_at"] == harness.now - timedelta(minutes=1)


async def test_run_that_is_read_again_adds_no_transition(harness: IncidentHarness) -> None:
    for _ in range(2):
        await harness.end_run("a")
        await harness.update()
    assert (await harness.incident())["occurrences"] == 1
    assert await harness.events() == ["opened"]


async def test_run_that_ended_before_first_sync_adds_no_transition(harness: IncidentHarness) -> None:
    await harness.execute(
        "UPDATE sync_states SET backfill = jsonb_build_object('as_of', %(at)s::text)", at=harness.now.isoformat()
    )
    await harness.end_run("a")
    assert await harness.rows("SELECT FROM run_transitions") == []


async def test_old_run_of_pipeline_that_is_read_back_adds_no_transition(harness: IncidentHarness) -> None:
    await harness.execute("UPDATE pipelines SET needs_backfill = true")
    await harness.end_run("old", due=500, ended=400)
    await harness.end_run("new", due=50, ended=40)
    assert len(await harness.rows("SELECT FROM run_transitions")) == 1


async def test_archived_run_adds_no_transition(harness: IncidentHarness) -> None:
    await harness.end_run("a", "running")
    await harness.execute("UPDATE runs SET archived_at = now()")
    await harness.end_run("a", "failed")
    assert await harness.rows("SELECT FROM run_transitions") == []


async def test_more_failures_count_up_and_success_of_later_run_resolves(harness: IncidentHarness) -> None:
    await harness.end_run("a", due=60, ended=30)
    await harness.end_run("b", due=50, ended=20)
    await harness.update()
    await harness.end_run("c", "success", due=40, ended=10)
    await harness.update()
    incident = await harness.incident()
    assert (incident["state"], incident["occurrences"]) == ("resolved", 2)
    assert await harness.events() == ["opened", "failed_again", "resolved"]


async def test_success_of_earlier_run_does_not_resolve(harness: IncidentHarness) -> None:
    await harness.end_run("b", due=50, ended=20)
    await harness.end_run("a", "success", due=60, ended=10)
    await harness.update()
    assert (await harness.incident())["state"] == "open"


async def test_cleared_run_that_succeeds_resolves(harness: IncidentHarness) -> None:
    await harness.end_run("a", ended=20)
    await harness.update()
    await harness.end_run("a", "running")
    await harness.end_run("a", "success", ended=5)
    await harness.update()
    assert (await harness.incident())["state"] == "resolved"


async def test_cleared_run_that_fails_again_counts_up(harness: IncidentHarness) -> None:
    await harness.end_run("a", ended=20)
    await harness.end_run("a", ended=5)
    await harness.update()
    assert (await harness.incident())["occurrences"] == 2


async def test_regression_within_a_day_reopens(harness: IncidentHarness) -> None:
    await harness.end_run("a", due=60, ended=30)
    await harness.end_run("b", "success", due=50, ended=20)
    await harness.end_run("c", due=40, ended=10)
    await harness.update()
    incident = await harness.incident()
    assert (incident["state"], incident["reopened_count"], incident["resolved_at"]) == ("open", 1, None)
    assert (incident["occurrences"], incident["occurrences_before"]) == (2, 1)
    assert await harness.events() == ["opened", "resolved", "reopened"]


async def test_failure_a_day_after_the_resolution_opens_another_incident(harness: IncidentHarness) -> None:
    await harness.end_run("a", due=60, ended=30)
    await harness.update()
    await harness.execute(
        "UPDATE incidents SET state = 'resolved', resolved_at = %(at)s", at=datetime.now(UTC) - timedelta(hours=25)
    )
    await harness.end_run("c", due=40, ended=10)
    await harness.update()
    assert [row["state"] for row in await harness.incidents()] == ["resolved", "open"]


async def test_failure_applied_after_later_success_opens_nothing(harness: IncidentHarness) -> None:
    await harness.end_run("b", "success", due=50, ended=10)
    await harness.update()
    await harness.end_run("a", due=60, ended=20)
    await harness.update()
    assert await harness.incidents() == []
    assert await harness.rows("SELECT FROM run_transitions WHERE applied_at IS NULL") == []


async def test_late_failures_are_summarised_once_the_sync_has_caught_up(harness: IncidentHarness) -> None:
    for number, pipeline in enumerate(["daily_report", "hourly_load"]):
        await harness.end_run("a", pipeline=pipeline, due=400, ended=300 + number)
    await harness.update()
    assert await harness.incidents() == []
    await harness.catch_up()
    await harness.update()
    assert [row["state"] for row in await harness.incidents()] == ["open", "open"]
    queue = await harness.rows("SELECT kind, details FROM incident_events WHERE evaluated_at IS NULL")
    assert [row["kind"] for row in queue] == ["late_summary"]
    assert (queue[0]["details"]["opened"], len(queue[0]["details"]["incident_ids"])) == (2, 2)
    assert sorted(await harness.events()) == ["late_summary", "opened", "opened"]


async def test_five_pipelines_within_two_minutes_are_one_outage(harness: IncidentHarness) -> None:
    names = await harness.add_pipelines(6)
    for number, name in enumerate(names[:5]):
        await harness.end_run("a", pipeline=name, ended=3 - number * 0.2)
    await harness.update()
    outage = next(row for row in await harness.incidents() if row["pipeline_id"] is None)
    held = [row for row in await harness.incidents() if row["held_back_by_incident_id"] == outage["id"]]
    assert (outage["kind"], outage["occurrences"], len(held)) == ("failed", 5, 5)
    await harness.end_run("a", pipeline=names[5], ended=0)
    await harness.update()
    outage = next(row for row in await harness.incidents() if row["pipeline_id"] is None)
    assert outage["occurrences"] == 6
    for name in names[:5]:
        await harness.end_run("b", "success", pipeline=name, due=10, ended=0)
    await harness.update()
    assert sum(row["state"] == "resolved" for row in await harness.incidents()) == 5
    await harness.end_run("b", "success", pipeline=names[5], due=10, ended=0)
    await harness.update()
    assert all(row["state"] == "resolved" for row in await harness.incidents())
    assert (await harness.events()).count("held_back") == 6


async def test_four_pipelines_are_no_outage(harness: IncidentHarness) -> None:
    for name in await harness.add_pipelines(4):
        await harness.end_run("a", pipeline=name)
    await harness.update()
    assert all(row["pipeline_id"] for row in await harness.incidents())


async def test_outage_without_further_failures_releases_what_is_left(harness: IncidentHarness) -> None:
    for name in await harness.add_pipelines(5):
        await harness.end_run("a", pipeline=name)
    await harness.update()
    await harness.execute(
        "UPDATE incidents SET last_failed_at = now() - interval '61 minutes' WHERE pipeline_id IS NULL"
    )
    await harness.update()
    incidents = await harness.incidents()
    assert [row["pipeline_id"] for row in incidents if row["state"] == "resolved"] == [None]
    assert not any(row["held_back_by_incident_id"] for row in incidents)
    assert (await harness.events()).count("released") == 5


async def test_worker_that_dies_between_any_two_statements_loses_and_repeats_nothing(
    harness: IncidentHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its transaction is rolled back, as that of a killed process; the next worker applies the same transitions."""
    names = await harness.add_pipelines(6)
    for name in names:
        await harness.end_run("a", pipeline=name)
    execute, deaths = Transaction._execute, 0
    for place in range(1, 20):
        left = place

        async def die(tx: Transaction, query: Query, parameters: Mapping[str, object]) -> psycopg.AsyncCursor[Row]:
            nonlocal left
            left -= 1
            if left == 0:
                raise _KilledError
            return await execute(tx, query, parameters)

        monkeypatch.setattr(Transaction, "_execute", die)
        try:
            await harness.jobs.apply_transitions()
        except _KilledError:
            deaths += 1
            monkeypatch.setattr(Transaction, "_execute", execute)
            assert await harness.incidents() == []
            assert await harness.events() == []
            continue
        break
    monkeypatch.setattr(Transaction, "_execute", execute)
    assert deaths >= 8
    await harness.update()
    assert sorted(row["occurrences"] for row in await harness.incidents()) == [1, 1, 1, 1, 1, 1, 6]
    assert (await harness.events()).count("opened") == 7
    assert await harness.rows("SELECT FROM run_transitions WHERE applied_at IS NULL") == []


class _KilledError(BaseException):
    """A process ends here."""
