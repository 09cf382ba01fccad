"""Logs of tasks read from both APIs: the end of them, within bounds, and in Airflow's words where there is none."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from fake_airflow.api import Api
from fake_airflow.faults import FakeAirflow
from fake_airflow.logs import Entry, Raised
from fake_airflow.model import Model
from fake_airflow.rows import Task
from providers.fake_airflow_helpers import use
from windsock.errors import ProviderBadResponse, ProviderFailed, ProviderHTTPError, ProviderTimedOut
from windsock.providers.airflow import Airflow, log_tail, logs
from windsock.providers.scopes import TaskRunId
from windsock.providers.task_logs import TaskLog

if TYPE_CHECKING:
    from providers.conftest import Lab, Reply, Request

SAMPLES = Path(__file__).parent / "samples"
TASK = TaskRunId("d", "r", "t", -1)
V2_HEADER = b"".join(
    b'{"timestamp":null,"event":"%s"}\n' % event
    for event in (b"::group::Log message source details", b"/opt/log", b"::endgroup::")
)


@pytest.fixture(params=["v2", "v1"])
def fake(request: pytest.FixtureRequest) -> FakeAirflow:
    model = Model(request.param)
    model.add_dag("bills", {"extract": ["load"], "load": []})
    model.start_run("bills", "r1")
    for _ in range(4):
        model.step(("bills", "r1"), fails=True)
    return FakeAirflow(Api(model))


def task_of(fake: FakeAirflow, task_id: str = "extract") -> Task:
    return next(task for task in fake.model.tasks.values() if task.task_id == task_id)


def write(fake: FakeAirflow, event: str, **more: Any) -> None:
    fake.api.logs.write(task_of(fake), Entry(fake.model.now(), event, **more))


def reading(
    try_number: int = 1, resume: str | None = None, task_id: str = "extract", **more: Any
) -> Callable[..., Any]:
    async def read(airflow: Airflow) -> TaskLog:
        return await airflow.read_log(TaskRunId("bills", "r1", task_id, -1), try_number, resume, **more)

    return read


def test_log_of_failed_try_ends_with_its_exception(fake: FakeAirflow) -> None:
    cause = Raised("OSError", "no route", "connect")
    write(fake, "starting", logger="task.stdout")
    write(fake, "Task failed with exception", level="error", raised=Raised("BankError", "not sent", cause=cause))
    log = use(fake, reading())
    assert [(line.level, line.event) for line in log.lines] == [
        ("info", "starting"), ("error", "Task failed with exception"),
    ]  # fmt: skip
    assert all(line.timestamp is not None and line.timestamp.tzinfo is not None for line in log.lines)
    last, before = log.lines[-1].exceptions
    assert (last.type, last.message, last.is_cause) == ("BankError", "not sent", False)
    assert (before.type, before.message, before.frames[-1].function) == ("OSError", "no route", "connect")
    assert (log.has_more_before, log.is_finished, log.limit, log.first_number) == (False, True, None, 1)


def test_log_is_one_request_without_full_content(fake: FakeAirflow) -> None:
    use(fake, reading())
    (request,) = [request for request in fake.requests if "/logs/" in request]
    assert request.endswith("/taskInstances/extract/logs/1")
    accept = {"v2": "application/x-ndjson", "v1": "text/plain"}[fake.model.api]
    assert fake.api.logs.requests == [f"extract/1 {accept}"]


def test_mapped_instance_is_addressed_by_map_index(lab: "Lab") -> None:
    for api in ("v1", "v2"):
        script = lambda _: lab.Reply(V2_HEADER, content_type="application/x-ndjson")  # noqa: E731
        if api == "v1":
            script = lambda _: lab.Reply(b"vm\n", content_type="text/plain")  # noqa: E731
        which = TaskRunId("d", "r", "t", 7, "0-a", 3)
        _, server = lab.against(script, lambda airflow: airflow.read_log(which, 2), api)  # noqa: B023
        assert server.requests[-1].path == f"/api/{api}/dags/d/dagRuns/r/taskInstances/t/logs/2"
        assert server.requests[-1].params == {"map_index": "7", "region_id": "0-a", "region_index": "3"}
        assert server.requests[-1].headers["accept-encoding"] == "identity"


def test_running_try_is_resumed_after_lines_that_were_read(fake: FakeAirflow) -> None:
    write(fake, "one")
    write(fake, "two")
    log = use(fake, reading())
    assert log.resume == "2"
    write(fake, "three")
    log = use(fake, reading(resume=log.resume))
    assert [line.event for line in log.lines] == ["three"]
    assert (log.first_number, log.resume, log.has_more_before) == (3, "3", True)
    assert use(fake, reading(resume="3")).lines == ()


def test_try_that_may_continue_is_finished_by_state_in_airflow(fake: FakeAirflow) -> None:
    task = task_of(fake)
    task.state = "running"
    assert use(fake, reading(may_continue=True)).is_finished is False
    task.state = "success"
    assert use(fake, reading(may_continue=True)).is_finished is True
    task.state, task.try_number = "running", 2
    assert use(fake, reading(may_continue=True)).is_finished is True, "another try has begun"


def test_airflow_without_tries_leaves_try_unfinished(fake: FakeAirflow) -> None:
    handle = fake.api.handle

    def without_tries(method: str, path: str, *more: Any) -> Any:
        return handle(method, path.replace("/tries", "/0/nothing"), *more)

    fake.api.handle = without_tries  # type: ignore[assignment]
    assert use(fake, reading(may_continue=True)).is_finished is False


def test_log_without_file_has_reason_from_airflow(fake: FakeAirflow) -> None:
    fake.api.logs.cannot_be_read = True
    log = use(fake, reading())
    assert log.lines == ()
    assert log.limit is not None
    assert log.limit.startswith("Airflow has no lines of this log. It says: ")
    assert "Could not read served logs: 403 Client Error: Forbidden for url" in log.limit
    assert "worker-1 " not in log.limit


def test_unknown_try_has_reason_from_airflow(fake: FakeAirflow) -> None:
    if fake.model.api == "v2":
        with pytest.raises(ProviderHTTPError, match="TaskInstance not found") as caught:
            use(fake, reading(9))
        assert caught.value.status == 404
    else:
        assert "Could not read served logs" in use(fake, reading(9)).limit


def test_refusal_names_missing_permission(fake: FakeAirflow) -> None:
    fake.api.logs.is_refused = True
    with pytest.raises(ProviderHTTPError) as caught:
        use(fake, reading())
    assert caught.value.status == 403
    assert "can read on Task Logs" in " ".join(caught.value.hints)


def test_task_without_address_is_not_requested(fake: FakeAirflow) -> None:
    with pytest.raises(ProviderHTTPError, match="no address for the log"):
        use(fake, lambda airflow: airflow.read_log(TaskRunId("bills", "a/b", "t", -1), 1))
    assert fake.requests == []


def test_samples_of_both_versions_end_with_the_same_error(lab: "Lab") -> None:
    kinds = {"v2": ("ndjson", "application/x-ndjson"), "v1": ("txt", "text/plain")}
    for api, (suffix, kind) in kinds.items():
        body = (SAMPLES / f"{api}_log.{suffix}").read_bytes()
        log, _ = lab.against(
            lambda _: lab.Reply(body, content_type=kind),  # noqa: B023
            lambda airflow: airflow.read_log(TASK, 1),
            api,
        )
        assert (log.limit, log.has_more_before) == (None, False)
        failed = next(line for line in log.lines if line.exceptions)
        assert (failed.event, failed.exceptions[0].type) == ("Task failed with exception", "RuntimeError")
        assert not any("attempt=1.log" in line.event for line in log.lines), "where it was found is no line of it"
        assert all(line.timestamp for line in log.lines)


def of_records(count: int, size: int = 100) -> bytes:
    return V2_HEADER + b"".join(b'{"event":"%d %s"}\n' % (number, b"x" * size) for number in range(count))


def test_long_log_is_reduced_to_its_last_lines(lab: "Lab") -> None:
    log, _ = lab.against(ndjson(lab, of_records(10_000)), lambda airflow: airflow.read_log(TASK, 1))
    assert log.lines[-1].event.startswith("9999 ")
    assert log.has_more_before
    assert log.limit is None
    assert log.first_number == 10_000 - len(log.lines) + 1
    assert log.lines[0].event.startswith(f"{log.first_number - 1} ")
    assert sum(len(line.event) for line in log.lines) < log_tail.MAX_TAIL_BYTES


def test_reading_stops_at_the_largest_size(lab: "Lab", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_tail, "MAX_READ_BYTES", 1_000_000)
    log, _ = lab.against(ndjson(lab, of_records(40_000)), lambda airflow: airflow.read_log(TASK, 1))
    assert log.limit == logs.TOO_LARGE
    assert log.lines
    assert int(log.resume or 0) < 12_000


def test_log_without_line_breaks_stays_within_bounds(lab: "Lab") -> None:
    for api, kind in (("v2", "application/x-ndjson"), ("v1", "text/plain")):
        body = b'{"timestamp":null,"event":"' + b"y" * 3_000_000 + b'"}\n{"timestamp":null,"event":"end"}\n'
        log, _ = lab.against(
            lambda _: lab.Reply(body, content_type=kind),  # noqa: B023
            lambda airflow: airflow.read_log(TASK, 1),
            api,
        )
        assert len(log.lines) <= 2
        assert max(len(line.event) for line in log.lines) < log_tail.MAX_ENTRY_BYTES


def test_text_without_entries_is_taken_apart(lab: "Lab") -> None:
    body = b"vm\n" + b"".join(b"a plain line %d\n" % number for number in range(20_000))
    log, _ = lab.against(
        lambda _: lab.Reply(body, content_type="text/plain"), lambda airflow: airflow.read_log(TASK, 1), "v1"
    )
    assert log.lines[-1].event.rstrip().endswith("a plain line 19999")
    assert log.has_more_before


def ndjson(lab: "Lab", body: bytes, **more: Any) -> "Callable[[Request], Reply]":
    return lambda _: lab.Reply(body, content_type="application/x-ndjson", **more)


def test_connection_lost_in_the_middle_keeps_what_was_read(lab: "Lab") -> None:
    body = of_records(5) + b'{"event":"half a li'
    log, _ = lab.against(ndjson(lab, body, cuts=True), lambda airflow: airflow.read_log(TASK, 1))
    assert len(log.lines) == 5
    assert log.limit is not None
    assert log.limit.startswith("The log broke off: ")


def test_slow_log_keeps_what_was_read_in_time(fake: FakeAirflow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "READ_SECONDS", 0.05)

    async def wait() -> None:
        await asyncio.sleep(1)

    fake.meanwhile = wait
    with pytest.raises(ProviderTimedOut, match="did not begin to deliver the log within"):
        use(fake, reading())


def test_credentials_of_connector_and_obvious_ones_are_struck_out(lab: "Lab") -> None:
    events = [f"the token is {lab.token}", "postgresql://etl:hunter2-xyz@db/bank", "password=hunter2-xyz"]
    body = b"".join(orjson.dumps({"event": event}) + b"\n" for event in events)
    detail = [{"exc_type": "E", "exc_value": f"refused {lab.token} password=hunter2-xyz", "frames": []}]
    body += orjson.dumps({"event": "failed", "url": "http://a:hunter2-xyz@b/", "error_detail": detail}) + b"\n"
    log, _ = lab.against(ndjson(lab, body), lambda airflow: airflow.read_log(TASK, 1))
    text = repr(log)
    assert lab.token not in text
    assert "hunter2" not in text
    assert "the token is" in text


def test_secret_cut_with_its_line_is_not_shown(lab: "Lab") -> None:
    for offset in range(1, len(lab.token)):
        event = "z" * (log_tail.MAX_ENTRY_BYTES - offset - 8) + lab.token
        log, _ = lab.against(
            lambda _: lab.Reply(b"vm\n\n" + event.encode() + b"\n", content_type="text/plain"),  # noqa: B023
            lambda airflow: airflow.read_log(TASK, 1),
            "v1",
        )
        assert lab.token[:4] not in repr(log)


def test_other_program_in_place_of_airflow_is_not_shown(lab: "Lab") -> None:
    def script(request: "Request") -> "Reply":
        if request.path.endswith("/version"):
            return lab.Reply({"name": "another program"})
        return lab.Reply(b"root:x:0:0\n", content_type="text/plain")

    async def read(airflow: Airflow) -> TaskLog:
        lab.tokens.recognized._addresses.clear()
        return await airflow.read_log(TASK, 1)

    with pytest.raises(ProviderBadResponse) as caught:
        lab.against(script, read, "v1")
    assert "root" not in str(caught.value)


def test_airflow_met_for_the_first_time_is_recognized_before_it_is_read(lab: "Lab") -> None:
    def script(request: "Request") -> "Reply":
        if request.path.endswith("/version"):
            return lab.Reply({"version": "3.3.2"})
        return lab.Reply(of_records(3), content_type="application/x-ndjson")

    async def read(airflow: Airflow) -> TaskLog:
        lab.tokens.recognized._addresses.clear()
        return await airflow.read_log(TASK, 1)

    log, server = lab.against(script, read)
    assert len(log.lines) == 3
    assert [path.rpartition("/")[2] for path in server.paths] == ["version", "1"]


@pytest.mark.parametrize("kind", ["text/html", "application/json", "text/plain; charset=utf-8", ""])
def test_response_of_other_content_type_is_rejected(lab: "Lab", kind: str) -> None:
    with pytest.raises(ProviderFailed):
        lab.against(
            lambda _: lab.Reply(b"<html>sign in</html>", content_type=kind), lambda airflow: airflow.read_log(TASK, 1)
        )
