"""Airflow's log of what people did is followed for what no list of changes shows, as often as it takes and no more."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from windsock.errors import ProviderHTTPError

if TYPE_CHECKING:
    from providers.conftest import Lab, Reply, Request, Script, ScriptedServer
    from windsock.providers.airflow import Airflow
    from windsock.providers.hints import EventLogHints

NOW = datetime(2026, 11, 23, 14, 35, 33, tzinfo=UTC)
SINCE = NOW - timedelta(minutes=2)


def entry(number: int, event: str = "patch_dag_run", age: float = 60, **more: Any) -> dict[str, Any]:
    when = (NOW - timedelta(seconds=age)).isoformat().replace("+00:00", "Z")
    found = {"event_log_id": number, "when": when, "event": event, "dag_id": "d", "run_id": f"r{number}", "extra": None}
    return {**found, **more}


def serving(lab: "Lab", rows: list[dict[str, Any]]) -> "Script":
    return lambda parameters: lab.page("event_logs", rows, parameters)


def hints(
    lab: "Lab", script: "Script", api: str = "v2", *, seen: Sequence[int] = (), once: Sequence[int] = ()
) -> tuple["EventLogHints", "ScriptedServer"]:
    async def use(airflow: "Airflow") -> "EventLogHints":
        return await airflow.read_event_log(SINCE, list(seen), list(once))

    return lab.against(script, use, api)


@pytest.mark.parametrize("api", ["v1", "v2"])
def test_recent_log_entry_yields_hint_at_once_and_again_after_commit(lab: "Lab", api: str) -> None:
    """Airflow commits the entry before it acts; a look between the two reads what was there before."""
    young, old = serving(lab, [entry(7, age=3)]), serving(lab, [entry(7, age=30)])
    first, _ = hints(lab, young, api)
    assert (first.runs, first.processed_ids, first.recheck_ids) == ([("d", "r7")], [], [7])
    again, _ = hints(lab, young, api, seen=first.processed_ids or [], once=first.recheck_ids)
    assert (again.runs, again.processed_ids, again.recheck_ids) == ([], [], [7])
    last, _ = hints(lab, old, api, seen=again.processed_ids or [], once=again.recheck_ids)
    assert (last.runs, last.processed_ids, last.recheck_ids) == ([("d", "r7")], [7], [])
    after, _ = hints(lab, old, api, seen=last.processed_ids or [], once=last.recheck_ids)
    assert (after.runs, after.processed_ids, after.recheck_ids) == ([], [7], [])


def test_old_log_entry_yields_hint_once(lab: "Lab") -> None:
    found, _ = hints(lab, serving(lab, [entry(7, age=21)]))
    assert (found.runs, found.processed_ids, found.recheck_ids) == ([("d", "r7")], [7], [])


def test_deleted_or_paused_dag_is_checked_twice(lab: "Lab") -> None:
    for event, deleted in (("delete_dag", {"d"}), ("patch_dag", set())):
        first, _ = hints(lab, serving(lab, [entry(7, event, age=1, run_id=None)]))
        last, _ = hints(lab, serving(lab, [entry(7, event, age=25, run_id=None)]), once=first.recheck_ids)
        for found in (first, last):
            assert (found.pipelines_changed, found.deleted_pipelines) == (True, deleted)


def test_number_of_log_entries_read_is_bounded_and_log_is_incomplete(lab: "Lab") -> None:
    rows = [entry(number, age=1 if number > 3000 else 60) for number in range(6000, 0, -1)]
    found, _ = hints(lab, serving(lab, rows), seen=[9999], once=[8888])
    assert (len(found.processed_ids or []), len(found.recheck_ids), found.is_complete) == (2000, 3000, False)


def test_log_entries_of_commands_and_heartbeats_are_excluded(lab: "Lab") -> None:
    _, scripted = hints(lab, serving(lab, []), "v1")
    excluded = scripted.requests[0].params["excluded_events"].split(",")
    assert {"cli_task_run", "cli_check", "task_instance_heartbeat", "heartbeat timeout", "success"} <= set(excluded)
    _, scripted = hints(lab, serving(lab, []), "v2")
    assert scripted.requests[0].params["excluded_events"] == excluded[-1]  # of many that were sent one by one, the last


def older(lab: "Lab", rows: list[dict[str, Any]]) -> "Script":
    """An Airflow before 2.9, which knows neither `after` nor `excluded_events`."""

    def script(request: "Request") -> "Reply":
        if "excluded_events" in request.params:
            return lab.Reply({"detail": "Extra query parameter(s) after not in spec"}, status=400)
        return lab.page("event_logs", rows, request)

    return script


def test_older_airflow_log_is_read_past_commands_and_heartbeats(lab: "Lab") -> None:
    noise = ["cli_task_run", "task_instance_heartbeat", "success", "cli_some_plugin"]
    rows = [entry(1000 - number, noise[number % 4], run_id=None) for number in range(350)]
    rows += [entry(5), entry(4, age=500)]
    found, scripted = hints(lab, older(lab, rows), "v1")
    assert (found.runs, found.processed_ids, found.recheck_ids) == ([("d", "r5")], [5], [])
    assert (found.pipelines_changed, found.is_complete) == (False, True)
    assert len(scripted.requests) == 1 + 4


def test_older_airflow_log_is_read_for_a_bounded_number_of_pages(lab: "Lab") -> None:
    rows = [entry(9000 - number, "cli_task_run") for number in range(3000)]
    found, scripted = hints(lab, older(lab, rows), "v1")
    assert (found.runs, found.processed_ids, found.is_complete) == ([], [], False)
    assert len(scripted.requests) == 1 + 5


FOLLOWED = [
    ("v2", "patch_dag_run"), ("v2", "patch_task_instance"), ("v2", "delete_dag_run"), ("v2", "delete_task_instance"),
    ("v2", "bulk_task_instances"), ("v2", "patch_task_instance_by_map_index"), ("v1", "api.set_dag_run_note"),
    ("v1", "ui.set_dag_run_note"), ("v1", "ui.set_task_instance_note"), ("v1", "api.set_mapped_task_instance_note"),
    ("v1", "api.delete_dag_run"), ("v1", "api.patch_task_instance"),
]  # fmt: skip
LEFT_TO_THE_SWEEP = [
    ("v2", "trigger_dag_run"), ("v2", "clear_dag_run"), ("v2", "post_clear_task_instances"), ("v1", "api.post_dag_run"),
    ("v1", "api.clear_dag_run"), ("v1", "api.update_dag_run_state"), ("v1", "api.post_clear_task_instances"),
    ("v1", "api.post_set_task_instances_state"), ("v1", "trigger"), ("v1", "clear"), ("v1", "dagrun_clear"),
    ("v1", "dagrun_failed"), ("v1", "dagrun_success"), ("v1", "dagrun_queued"),
]  # fmt: skip


@pytest.mark.parametrize(("api", "event"), FOLLOWED)
def test_log_entry_of_note_or_deletion_yields_hint(lab: "Lab", api: str, event: str) -> None:
    found, _ = hints(lab, serving(lab, [entry(7, event)]), api)
    assert (found.runs, found.processed_ids) == ([("d", "r7")], [7])


@pytest.mark.parametrize(("api", "event"), LEFT_TO_THE_SWEEP)
def test_log_entry_of_change_to_updated_at_yields_no_hint(lab: "Lab", api: str, event: str) -> None:
    sent = '{"dag_run_id": "r", "note": null, "method": "POST"}'
    for run_id in ("r7", None):
        found, _ = hints(lab, serving(lab, [entry(7, event, run_id=run_id, extra=sent)]), api)
        assert (found.runs, found.pipelines_changed, found.processed_ids, found.recheck_ids) == ([], False, [], [])


@pytest.mark.parametrize("event", ["clear_dag_run", "post_clear_task_instances"])
def test_log_entry_of_clear_with_note_yields_hint(lab: "Lab", event: str) -> None:
    sent = '{"dag_run_id": "r8", "note": "again, please", "method": "POST"}'
    found, _ = hints(lab, serving(lab, [entry(7, event, run_id=None, extra=sent)]))
    assert found.runs == [("d", "r8")]


def test_forbidden_event_log_yields_no_hints_and_failing_one_raises(lab: "Lab") -> None:
    found, _ = hints(lab, lambda _: lab.Reply({"detail": "Forbidden"}, status=403), seen=[1], once=[2])
    assert (found.runs, found.processed_ids, found.recheck_ids, found.is_complete) == ([], None, [], False)
    with pytest.raises(ProviderHTTPError):
        hints(lab, lambda _: lab.Reply({"detail": "Database error"}, status=500))


BULK = [
    ('{"actions": [{"action": "update", "entities": [{"dag_run_id": "r/1", "note": "n"}]}]}', [("d", "r/1")]),
    ('{"actions": [{"action": "delete", "entities": ["r1", {"dag_run_id": "r2"}]}]}', [("d", "r1"), ("d", "r2")]),
    (
        '{"actions": [{"entities": [{"dag_run_id": "r1", "dag_id": "e"}]}, {"entities": ["r2"]}]}',
        [("e", "r1"), ("d", "r2")],
    ),
]


@pytest.mark.parametrize(("sent", "runs"), BULK)
def test_log_entry_of_bulk_request_yields_hint_for_each_run(lab: "Lab", sent: str, runs: list[tuple[str, str]]) -> None:
    found, _ = hints(lab, serving(lab, [entry(7, "bulk_dag_runs", run_id=None, extra=sent)]))
    assert (found.runs, found.pipelines_changed, found.processed_ids) == (runs, False, [7])


def test_log_entry_of_bulk_clear_yields_hints_only_with_note(lab: "Lab") -> None:
    sent = '{"dag_runs": [{"dag_run_id": "r1"}, {"dag_run_id": "r2"}], "note": "again"}'
    found, _ = hints(lab, serving(lab, [entry(7, "clear_dag_runs", run_id=None, extra=sent)]))
    assert found.runs == [("d", "r1"), ("d", "r2")]
    found, _ = hints(
        lab, serving(lab, [entry(7, "clear_dag_runs", run_id=None, extra=sent.replace("note", "nothing"))])
    )
    assert found.runs == []


def test_bulk_request_to_all_dags_yields_hints_for_entities_with_dag_id(lab: "Lab") -> None:
    sent = '{"actions": [{"action": "delete", "entities": [{"dag_id": "d", "dag_run_id": "r1"}, "r2"]}]}'
    found, _ = hints(lab, serving(lab, [entry(7, "bulk_dag_runs", dag_id="~", run_id=None, extra=sent)]))
    assert found.runs == [("d", "r1")]


@pytest.mark.parametrize(
    "sent", ['{"actions": 5}', '{"actions": [5, {"entities": {}}]}', '{"actions": [{"entities": [5, null, [], ""]}]}']
)
def test_unreadable_bulk_request_marks_pipelines_as_changed(lab: "Lab", sent: str) -> None:
    found, _ = hints(lab, serving(lab, [entry(7, "bulk_dag_runs", run_id=None, extra=sent)]))
    assert (found.runs, found.pipelines_changed) == ([], True)
