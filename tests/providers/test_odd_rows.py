"""A row that cannot be parsed is left out and named; an optional field that cannot be read is dropped and named."""

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from fake_airflow import serializers
from fake_airflow.model import Model
from fake_airflow.oddities import ODD_VALUES, nested
from windsock.providers.airflow import v1, v2
from windsock.providers.airflow.fields import MAX_NESTING, Fields
from windsock.providers.base import Page, SkippedRow
from windsock.providers.hints import EventLogHints
from windsock.providers.scopes import UpdatedSince

if TYPE_CHECKING:
    from providers.conftest import Lab, Reply, Request
    from windsock.providers.airflow import Airflow

PARSERS = {"v1": v1, "v2": v2}
RUN = {"dag_id": "d", "dag_run_id": "r", "run_after": "2026-11-23T14:00:00Z", "logical_date": "2026-11-23T14:00:00Z"}
TASK = {"dag_id": "d", "dag_run_id": "r", "task_id": "t", "map_index": -1}


def skipped(pages: list[Page[Any]]) -> list[SkippedRow]:
    return [row for page in pages for row in page.skipped]


@pytest.mark.parametrize("api", ["v1", "v2"])
@pytest.mark.parametrize(
    ("kind", "field", "value", "instead"),
    [
        *[("run", name, "yesterday", None) for name in ("start_date", "end_date", "data_interval_start")],
        ("run", "end_date", 5, None),
        ("run", "end_date", "2026-02-30T00:00:00Z", None),
        ("run", "start_date", "0001-01-01T00:00:00+14:00", None),
        ("run", "note", {"a": 1}, None),
        ("run", "state", ["success"], "none"),
        ("run", "conf", nested(MAX_NESTING + 1), {}),
        ("task", "try_number", 2**40, 0),
        ("task", "try_number", "many", 0),
        ("task", "max_tries", -(2**31), 0),
        ("task", "max_tries", 1e300, 0),
        ("task", "queued_when", "0", None),
        ("task", "hostname", ["a"], None),
        ("pipeline", "description", {}, None),
        ("pipeline", "tags", "finance", []),
        ("pipeline", "owners", {"a": 1}, []),
        ("pipeline", "is_paused", "no", False),
        ("pipeline", "next_dagrun_create_after", "soon", None),
    ],
)
def test_unreadable_optional_field_is_dropped_and_reported(
    api: str, kind: str, field: str, value: Any, instead: Any
) -> None:
    parse = {"run": "parse_run", "task": "parse_task_run", "pipeline": "parse_pipeline"}[kind]
    fields = Fields({**(RUN if kind == "run" else TASK), field: value})
    found = getattr(PARSERS[api], parse)(fields)
    columns = {
        "start_date": "started_at", "end_date": "ended_at", "state": "status", "queued_when": "queued_at",
        "next_dagrun_create_after": "next_run_at",
    }  # fmt: skip
    assert getattr(found, columns.get(field, field)) == instead
    assert fields.unread == [field]


@pytest.mark.parametrize("api", ["v1", "v2"])
@pytest.mark.parametrize(("levels", "is_retained"), [(1, True), (253, True), (254, True), (255, False), (800, False)])
def test_conf_and_trigger_retain_nesting_accepted_by_airflow(api: str, levels: int, *, is_retained: bool) -> None:
    fields = Fields({**RUN, "conf": nested(levels)})
    assert PARSERS[api].parse_run(fields).conf == (nested(levels) if is_retained else {})
    task = Fields({**TASK, "trigger": nested(levels - 1) if levels > 1 else 1, "pid": 1})
    metadata = PARSERS[api].parse_task_run(task).provider_metadata
    assert metadata.keys() == ({"trigger", "pid"} if is_retained else {"pid"})
    assert (fields.unread, task.unread) == (([], []) if is_retained else (["conf"], ["trigger"]))


@pytest.mark.parametrize("api", ["v1", "v2"])
@pytest.mark.parametrize("conf", ["text", "", 5, False, [1, {"a": []}], {"a": 1}])
def test_conf_of_any_type_is_passed_through(api: str, conf: object) -> None:
    fields = Fields({**RUN, "conf": conf})
    assert PARSERS[api].parse_run(fields).conf == conf
    assert fields.unread == []


@pytest.mark.parametrize("map_index", [2**31, 2**40, -2, "x", [], 1e300, True])
def test_row_with_unstorable_map_index_is_skipped(lab: "Lab", map_index: object) -> None:
    """It is part of what identifies the row: another number would make it another one."""
    rows = [{**TASK, "task_id": f"t{number}", "id": f"i{number}"} for number in range(3)]
    rows[1]["map_index"] = map_index
    body = {"task_instances": rows, "total_entries": 3, "next_cursor": None}
    pages, fake = lab.against(lambda _: lab.Reply(body), reading_tasks)
    assert [row.external_id for page in pages for row in page.rows] == ["t0", "t2"]
    (item,) = skipped(pages)
    assert (item.pipeline_external_id, item.run_external_id, item.task_external_id) == ("d", "r", "t1")
    assert (item.map_index, item.fields) == (None, ())
    assert "map_index" in item.reason
    assert len(fake.requests) == 1


async def reading_tasks(airflow: "Airflow") -> list[Page[Any]]:
    return [page async for page in airflow.task_runs(UpdatedSince(datetime(2026, 1, 1, tzinfo=UTC)))]


async def reading_log(airflow: "Airflow") -> EventLogHints:
    return await airflow.read_event_log(datetime(2026, 1, 1, tzinfo=UTC), [], [])


BAD_RUNS: list[Any] = [
    None, 7, "run", [], {}, {"dag_id": "d"}, {"dag_id": "d", "dag_run_id": ["x"], "run_after": "2026-11-23T14:00:00Z"},
    {"dag_id": "d", "dag_run_id": "bad", "run_after": "soon", "logical_date": "soon"}, {"id": [1], "dag_id": {}},
]  # fmt: skip


@pytest.mark.parametrize("how", ["v2 cursor", "v2 offset", "v1"])
@pytest.mark.parametrize("bad", BAD_RUNS, ids=[json.dumps(bad)[:40] for bad in BAD_RUNS])
@pytest.mark.parametrize("places", [[0], [99], [100], [149], [3, 99, 100]])
def test_unparsable_row_is_skipped_and_counts_as_received(lab: "Lab", how: str, bad: Any, places: list[int]) -> None:
    """With as many requests as a list of good rows."""
    rows: list[Any] = lab.runs(150)
    for place in places:
        has_ids = isinstance(bad, dict) and isinstance(bad.get("dag_run_id"), str)
        rows[place] = {**bad, "dag_run_id": f"bad-{place}"} if has_ids else bad
    good = [row["dag_run_id"] for place, row in enumerate(lab.runs(150)) if place not in places]
    script = lab.by_cursor(rows) if how == "v2 cursor" else lab.by_offset(rows)
    pages, fake = lab.against(script, lab.reading(), how[:2])
    assert [row.external_id for page in pages for row in page.rows] == good
    assert {row.kind for row in skipped(pages)} == {"runs"}
    _, clean = lab.against(
        lab.by_cursor(lab.runs(150)) if how == "v2 cursor" else lab.by_offset(lab.runs(150)), lab.reading(), how[:2]
    )
    # Rows that cannot be told apart are one row, which the total does not fit: that takes a second look, and no more.
    assert len(fake.requests) <= len(clean.requests) + (4 if len(places) > 1 else 0)


def test_every_fiftieth_row_unreadable_costs_no_extra_requests(lab: "Lab") -> None:
    rows: list[Any] = lab.runs(1000)
    for place in range(25, 1000, 50):
        rows[place] = {**rows[place], "run_after": "never", "logical_date": None}
    for api, script in (("v2", lab.by_cursor), ("v1", lab.by_offset)):
        pages, fake = lab.against(script(rows), lab.reading(), api)
        _, clean = lab.against(script(lab.runs(1000)), lab.reading(), api)
        assert sum(len(page.rows) for page in pages) == 980
        assert [row.run_external_id for row in skipped(pages)] == [f"run-{place:05}" for place in range(25, 1000, 50)]
        assert len(fake.requests) == len(clean.requests)


def test_dropped_field_is_reported_once_per_row_across_overlapping_pages(lab: "Lab") -> None:
    rows: list[Any] = lab.runs(150)
    for place in (99, 100):
        rows[place] = {**rows[place], "end_date": "later", "note": []}
    pages, _ = lab.against(lab.by_offset(rows), lab.reading(), "v1")
    assert sum(len(page.rows) for page in pages) == 150
    assert [(row.run_external_id, row.fields) for row in skipped(pages)] == [
        ("run-00099", ("end_date", "note")),
        ("run-00100", ("end_date", "note")),
    ]


@pytest.mark.parametrize("api", ["v1", "v2"])
def test_unreadable_dags_and_dag_fields_are_reported(lab: "Lab", api: str) -> None:
    rows = [*lab.dags(3), {"dag_id": 5}, {"dag_id": "odd", "owners": "x", "tags": []}, None]

    def script(request: "Request") -> "Reply":
        return lab.page("import_errors" if "import" in request.path else "dags", rows, request)

    found, _ = lab.against(script, lambda airflow: airflow.list_pipelines(), api)
    assert [row.external_id for row in found.rows] == ["dag-00000", "dag-00001", "dag-00002", "odd"]
    assert [(row.pipeline_external_id, row.fields) for row in found.skipped] == [
        (None, ()), ("odd", ("owners",)), (None, ()),
    ]  # fmt: skip


@pytest.mark.parametrize("api", ["v1", "v2"])
@pytest.mark.parametrize("kind", ["dag", "run", "task"])
def test_odd_values_other_than_map_index_do_not_reject_row(api: str, kind: str) -> None:
    model = Model(api)
    model.add_dag("d")
    run = model.start_run("d", "r")
    task = model.tasks["d", "r", "load", -1]
    rows: dict[str, tuple[Any, ...]] = {"dag": (model.dags["d"], 1), "run": (run,), "task": (task, run)}
    parse = {"dag": "parse_pipeline", "run": "parse_run", "task": "parse_task_run"}[kind]
    for odd in ODD_VALUES[kind]:
        raw = getattr(serializers, f"{kind}_{api}")(*rows[kind]) | odd
        if "map_index" not in odd:
            assert getattr(PARSERS[api], parse)(Fields(raw)) is not None


def test_unreadable_event_log_entries_are_skipped(lab: "Lab") -> None:
    entry = {"event_log_id": 7, "when": "2026-11-23T14:00:00Z", "event": "patch_dag_run", "dag_id": "d", "run_id": "r"}
    for bad in (None, {}, {**entry, "event_log_id": "x"}, {**entry, "event_log_id": 9, "when": "today"}):
        body = {"event_logs": [bad, entry], "total_entries": 2}
        hints, _ = lab.against(lambda _, body=body: lab.Reply(body), reading_log)  # type: ignore[misc]
        assert (hints.runs, hints.is_complete) == ([("d", "r")], False)
