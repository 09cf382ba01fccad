"""Rows of real answers of 3.3.2 and 2.11.2, in our words."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from windsock.errors import ProviderBadResponse
from windsock.providers.airflow import v1, v2
from windsock.providers.airflow.dialect import task_run_key
from windsock.providers.airflow.parsing import decode

if TYPE_CHECKING:
    from providers.conftest import Lab


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc,arg-type]  # mypy cannot count the parts


def dags(lab: "Lab", api: str) -> dict[str, Any]:
    parse = v2.parse_pipeline if api == "v2" else v1.parse_pipeline
    return {row.external_id: row for row in map(parse, lab.sample(f"{api}_dags")["dags"])}


def test_airflow_3_owners_are_sorted(lab: "Lab") -> None:
    raw = next(row for row in lab.sample("v2_dags")["dags"] if row["dag_id"] == "lab_success")
    assert raw["owners"] == ["bob", "alice"]
    found = v2.parse_pipeline(raw)
    assert (found.owner, found.owners) == ("alice, bob", ["alice", "bob"])
    assert found == v2.parse_pipeline({**raw, "owners": ["alice", "bob"]})


def test_airflow_2_owners_are_split_and_trimmed(lab: "Lab") -> None:
    found = dags(lab, "v1")["lab_success"]
    assert (found.owner, found.owners) == ("alice, bob", ["alice", "bob"])


def test_airflow_3_dag_is_parsed(lab: "Lab") -> None:
    found = dags(lab, "v2")["lab_success"]
    assert (found.schedule, found.next_run_at) == ("0 * * * *", utc(2026, 11, 23, 15))
    assert (found.tags, found.is_active, found.is_paused) == (["finance", "tier-1"], True, False)
    assert found.provider_metadata["fileloc"].endswith(".py")


def test_broken_airflow_3_dag_is_inactive(lab: "Lab") -> None:
    found = dags(lab, "v2")["lab_breaks_later"]
    assert (found.is_active, found.has_import_errors, found.schedule) == (False, True, None)


def test_airflow_2_dag_is_parsed(lab: "Lab") -> None:
    found = dags(lab, "v1")["lab_success"]
    assert (found.schedule, found.schedule_description, found.is_active) == ("@hourly", "Every hour", True)
    assert found.next_run_at is not None
    assert found.next_run_at.tzinfo is UTC
    assert dags(lab, "v1")["lab_manual"].schedule is None


@pytest.mark.parametrize("api", ["v1", "v2"])
def test_dag_metadata_excludes_volatile_fields(lab: "Lab", api: str) -> None:
    for found in dags(lab, api).values():
        names = set(found.provider_metadata)
        assert not {name for name in names if "pars" in name or name.startswith("next_")}
        assert not names & {"file_token", "dag_id", "owners", "tags", "last_expired"}


def test_next_run_is_parsed_from_newer_field_name() -> None:
    raw = {"dag_id": "d", "next_dagrun_create_after": "2026-01-02T03:04:05Z"}
    assert v2.parse_pipeline(raw).next_run_at == utc(2026, 1, 2, 3, 4, 5)


@pytest.mark.parametrize(
    ("interval", "expected"),
    [
        (None, None),
        ("@once", "@once"),
        ({"__type": "CronExpression", "value": "0 1 * * *"}, "0 1 * * *"),
        ({"__type": "TimeDelta", "days": 1, "seconds": 0, "microseconds": 0}, "1 day, 0:00:00"),
        ({"__type": "TimeDelta", "days": 0, "seconds": 90, "microseconds": 5}, "0:01:30.000005"),
        ({"__type": "RelativeDelta", "months": 1, "days": 0, "day": 1}, "1 months at day 1"),
        ({"__type": "TimeDelta", "days": 10**9}, None),
    ],
)
def test_airflow_2_schedules_are_parsed(interval: object, expected: str | None) -> None:
    assert v1.schedule(interval) == expected


def test_airflow_3_runs_are_parsed(lab: "Lab") -> None:
    scheduled, manual = map(v2.parse_run, lab.sample("v2_runs")["dag_runs"])
    assert (scheduled.run_at, scheduled.triggered_by) == (utc(2026, 11, 23, 14), None)
    assert (manual.logical_date, manual.triggered_by, manual.conf) == (None, "admin", {"n": 5})
    assert manual.run_at == manual.run_after == utc(2026, 11, 23, 14, 32, 22, 817421)
    assert manual.provider_metadata["triggered_by"] == "rest_api"
    assert "last_scheduling_decision" not in manual.provider_metadata
    assert "duration" not in manual.provider_metadata


def test_dag_versions_of_run_have_stable_order() -> None:
    raw = {"dag_id": "d", "dag_run_id": "r", "run_after": "2026-01-01T00:00:00Z"}
    versions = [{"id": "b", "version_number": 2}, {"id": "a", "version_number": 1}]
    found = v2.parse_run({**raw, "dag_versions": versions})
    assert found == v2.parse_run({**raw, "dag_versions": versions[::-1]})


def test_airflow_2_runs_are_parsed(lab: "Lab") -> None:
    scheduled, manual = map(v1.parse_run, lab.sample("v1_runs")["dag_runs"])
    assert (scheduled.logical_date, scheduled.run_at) == (utc(2026, 11, 23, 13), utc(2026, 11, 23, 14))
    assert manual.run_at == manual.logical_date == utc(2026, 11, 23, 14, 32, 24, 438408)
    assert manual.provider_metadata == {"external_trigger": True}
    assert (manual.queued_at, manual.run_after, manual.triggered_by) == (None, None, None)


def test_run_without_type_derives_type_from_trigger() -> None:
    raw = {"dag_id": "d", "dag_run_id": "r", "execution_date": "2026-01-01T00:00:00+00:00", "conf": None}
    assert v1.parse_run({**raw, "external_trigger": True}).run_type == "manual"
    assert v1.parse_run(raw).run_type == "scheduled"
    assert v1.parse_run(raw).conf == {}


def test_airflow_3_task_instances_are_parsed(lab: "Lab") -> None:
    plain, mapped, _ = map(v2.parse_task_run, lab.sample("v2_task_instances")["task_instances"])
    assert (plain.map_index, plain.operator, plain.status, plain.hostname) == (-1, "@task", "success", "vm")
    assert mapped.map_index >= 0
    assert plain.provider_metadata["operator"] == "_PythonDecoratedOperator"
    assert not set(plain.provider_metadata) & {"id", "rendered_fields", "run_after", "duration"}


def test_airflow_2_task_instances_are_parsed(lab: "Lab") -> None:
    plain, mapped, skipped = map(v1.parse_task_run, lab.sample("v1_task_instances")["task_instances"])
    assert (plain.external_id, plain.operator, plain.try_number) == ("t", "BashOperator", 1)
    assert (mapped.map_index, mapped.status, mapped.provider_metadata["rendered_map_index"]) == (2, "failed", "part-2")
    assert skipped.status == "upstream_failed"


@pytest.mark.parametrize(
    ("parse", "times"),
    [
        (v1.parse_task_run, {"execution_date": "2026-11-23T14:00:00+00:00"}),
        (v2.parse_task_run, {"run_after": "2026-11-23T14:00:00Z", "logical_date": "2026-11-22T14:00:00Z"}),
        (v2.parse_task_run, {"run_after": None, "logical_date": "2026-11-23T14:00:00Z"}),
    ],
)
def test_task_instance_includes_date_of_its_run(parse: Any, times: dict[str, Any]) -> None:
    raw = {"dag_id": "d", "dag_run_id": "r", "task_id": "t"}
    assert parse(raw).run_at is None
    assert parse({**raw, **times}).run_at == utc(2026, 11, 23, 14)
    assert parse({**raw, **times}).provider_metadata == {}


@pytest.mark.parametrize("parse", [v1.parse_task_run, v2.parse_task_run])
def test_null_or_odd_task_instance_fields_are_tolerated(parse: Any) -> None:
    raw = {"dag_id": "d", "dag_run_id": "r", "task_id": "t", "state": None, "hostname": 7, "try_number": None}
    job = {"triggerer_job": {"id": 1, "latest_heartbeat": "2026-01-01T00:00:00Z"}}
    found = parse({**raw, **job})
    assert (found.status, found.hostname, found.try_number, found.max_tries) == ("none", "7", 0, 0)
    assert (found.map_index, found.name) == (-1, "t")
    assert found.provider_metadata["triggerer_job"] == {"id": 1}


@pytest.mark.parametrize(
    ("parse", "raw"),
    [
        (v2.parse_pipeline, {"dag_id": None}),
        (v1.parse_pipeline, {}),
        (v2.parse_run, {"dag_id": "d", "run_after": "2026-01-01T00:00:00Z"}),
        (v2.parse_run, {"dag_id": "d", "dag_run_id": "r"}),
        (v1.parse_run, {"dag_id": "d", "dag_run_id": "r"}),
        (v1.parse_run, {"dag_id": "d", "dag_run_id": "r", "execution_date": "yesterday"}),
        (v2.parse_task_run, {"dag_id": "d", "task_id": "t"}),
        (v1.parse_task_run, {"dag_id": "d", "dag_run_id": "r", "task_id": 3}),
    ],
)
def test_row_without_identity_or_date_is_bad_response(parse: Any, raw: dict[str, Any]) -> None:
    with pytest.raises(ProviderBadResponse):
        parse(raw)


def test_loop_task_instances_are_distinguished_by_region(lab: "Lab") -> None:
    raw = lab.sample("v2_task_instances_of_loops")["task_instances"]
    found = {task_run_key(row): row for row in map(v2.parse_task_run, raw)}
    assert len(found) == len(raw) == 6
    loops = [row for row in found.values() if row.loop_id == "process_batch"]
    assert sorted((row.external_id, row.loop_iteration, row.map_index, row.region_index) for row in loops) == [
        ("process_batch.batch_ready", 1, -1, 1),
        ("process_batch.choose_items", 0, -1, 0),
        ("process_batch.choose_items", 1, -1, 1),
        ("process_batch.process", 1, 0, 0),
        ("process_batch.process", 1, 1, 1),
    ]
    (plain,) = [row for row in found.values() if row.loop_id is None]
    assert (plain.region_id, plain.region_index, plain.loop_iteration) == ("", -1, None)
    assert not {"region_id", "region_index", "loop_iteration", "in_loop"} & plain.provider_metadata.keys()
    assert plain.provider_metadata["state_reason"] is None


@pytest.mark.parametrize("region_id", ["", "x", 7, [], "x" * 5_000])
def test_region_id_that_is_not_a_uuid_is_bad_response(region_id: Any) -> None:
    with pytest.raises(ProviderBadResponse, match="region_id"):
        v2.parse_task_run({"dag_id": "d", "dag_run_id": "r", "task_id": "t", "region_id": region_id})


@pytest.mark.parametrize("loop", [None, 3, {}, {"loop_id": None, "iteration": 1}])
def test_unreadable_loop_iteration_is_ignored(loop: Any) -> None:
    found = v2.parse_task_run({"dag_id": "d", "dag_run_id": "r", "task_id": "t", "loop_iteration": loop})
    assert (found.loop_id, found.loop_iteration) == (None, None)


def test_team_name_of_airflow_3_4_is_read(lab: "Lab") -> None:
    raw = lab.sample("v2_runs")["dag_runs"][0]
    assert v2.parse_run(raw | {"team_name": "ingestion"}).provider_metadata["team_name"] == "ingestion"


@pytest.mark.parametrize(
    ("state", "expected"), [("draining", True), ("active", False), ("paused", False), (None, False)]
)
def test_draining_dag_is_recognised_by_scheduling_state(state: str | None, expected: bool) -> None:
    found = v2.parse_pipeline({"dag_id": "d", "scheduling_state": state})
    assert (found.is_draining, found.provider_metadata) == (expected, {})
    assert not v2.parse_pipeline({"dag_id": "d"}).is_draining


def test_json_values_unstorable_in_postgresql_are_sanitised() -> None:
    text = rb'"a\u0000": ["x\u0000y", {"b": "\ud800"}], "ok": "\u00e9\ud83d\ude00"'
    body = b'{"n": NaN, "i": 1e999, "big": 99999999999999999999999, ' + text + b"}"
    cleaned = decode(body)
    assert cleaned["a\ufffd"][0] == "x\ufffdy"
    assert "\ud800" not in cleaned["a\ufffd"][1]["b"]
    assert (cleaned["n"], cleaned["i"], cleaned["big"]) == ("NaN", "inf", "99999999999999999999999")
    assert cleaned["ok"] == "é😀"
