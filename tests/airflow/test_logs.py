"""Logs of tasks of real Airflows: what is read of them, and that the double gives the same."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from pydantic import SecretStr

from airflow.added_dags import added_dags
from airflow.harness import find_failed_run
from fake_airflow.api import Api
from fake_airflow.logs import Entry, Raised
from fake_airflow.model import Model
from windsock import egress
from windsock.errors import ProviderHTTPError
from windsock.providers.airflow import Airflow, AirflowConfig, TokenCache
from windsock.providers.airflow.config import PasswordCredentials
from windsock.providers.scopes import TaskRunId

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_lab import AirflowLab
    from windsock.providers.task_logs import TaskLog

DAG, TASK = "invoice_export", "send_to_bank"


@pytest.fixture(scope="module")
def log_probe(airflow: AirflowLab) -> Iterator[str]:
    """A DAG whose task writes a line each second."""
    with added_dags(airflow, "log_probe.py", ["log_probe"]):
        airflow.unpause("log_probe")
        yield "log_probe"


@pytest.fixture(scope="module")
def failed(airflow: AirflowLab) -> TaskRunId:
    """A task that has raised an exception of its own."""
    return TaskRunId(DAG, find_failed_run(airflow, DAG), TASK, -1)


def read(lab: AirflowLab, which: TaskRunId, try_number: int = 1, user: str = "admin", **more: Any) -> TaskLog:
    async def run() -> TaskLog:
        provider = Airflow(
            AirflowConfig(base_url=lab.url),
            PasswordCredentials(auth_type="password", username=user, password=SecretStr(user)),
            policy=egress.Policy.of(loopback=True),
            api_version="v2" if lab.major == "3" else "v1",
            tokens=TokenCache(),
            key="lab",
        )
        try:
            return await provider.read_log(which, try_number, **more)
        finally:
            await provider.aclose()

    return asyncio.run(run())


def request_log(lab: AirflowLab, which: TaskRunId, accept: str) -> httpx2.Response:
    api = "v2" if lab.major == "3" else "v1"
    path = f"/api/{api}/dags/{which.pipeline_external_id}/dagRuns/{which.run_external_id}/taskInstances/{TASK}/logs/1"
    if api == "v1":
        return httpx2.get(lab.url + path, headers={"Accept": accept}, auth=("admin", "admin"), timeout=30)
    lab.api("GET", "/version")
    headers = {"Accept": accept, "Authorization": f"Bearer {lab._token}"}
    return httpx2.get(lab.url + path, headers=headers, timeout=30)


def log_file(lab: AirflowLab, which: TaskRunId) -> Path:
    (found,) = lab.home.glob(f"**/dag_id={DAG}/run_id={which.run_external_id}/task_id={TASK}/attempt=1.log")
    return found


@pytest.mark.parametrize("user", ["admin", "viewer"])
def test_log_of_failed_task_ends_with_its_exception(airflow: AirflowLab, failed: TaskRunId, user: str) -> None:
    log = read(airflow, failed, user=user)
    assert (log.limit, log.has_more_before, log.is_finished, log.first_number) == (None, False, True, 1)
    assert all(line.timestamp is not None for line in log.lines)
    line = next(line for line in log.lines if line.exceptions)
    assert (line.level, line.exceptions[0].type) == ("error", "BankRefused")
    frame = line.exceptions[0].frames[-1]
    assert (frame.filename.endswith("finance.py"), frame.function) == (True, TASK)
    assert not any("attempt=1.log" in line.event for line in log.lines)


def test_resumed_log_has_no_line_twice(airflow: AirflowLab, failed: TaskRunId) -> None:
    log = read(airflow, failed)
    assert log.resume is not None
    assert read(airflow, failed, resume=log.resume).lines == ()
    assert read(airflow, failed, resume=str(int(log.resume) - 2)).lines == log.lines[-2:]
    assert read(airflow, failed, may_continue=True).is_finished


def test_unknown_try_and_task_are_refused_in_airflows_words(airflow: AirflowLab, failed: TaskRunId) -> None:
    unknown = TaskRunId(DAG, failed.run_external_id, "nothing", -1)
    with pytest.raises(ProviderHTTPError) as caught:
        read(airflow, unknown)
    assert caught.value.status == 404
    if airflow.major == "3":
        with pytest.raises(ProviderHTTPError, match="TaskInstance not found"):
            read(airflow, failed, 9)
    else:
        assert (read(airflow, failed, 9).limit or "").startswith("Airflow has no lines of this log. It says: ")


def test_log_without_file_has_reason_from_airflow(airflow: AirflowLab, failed: TaskRunId) -> None:
    path = log_file(airflow, failed)
    aside = path.rename(path.with_suffix(".aside"))
    try:
        log = read(airflow, failed)
    finally:
        aside.rename(path)
    assert log.lines == ()
    assert "Could not read served logs" in (log.limit or "")


def test_running_task_is_followed_until_it_ends(airflow: AirflowLab, log_probe: str) -> None:
    run_id = airflow.trigger(log_probe)
    which, events, resume, is_finished = TaskRunId(log_probe, run_id, "count", -1), [], None, False
    until = time.monotonic() + 90
    reads = 0
    while not is_finished and time.monotonic() < until:
        time.sleep(1)
        try:
            log = read(airflow, which, resume=resume, may_continue=True)
        except ProviderHTTPError:  # the try has not begun
            continue
        reads += 1
        events += [line.event for line in log.lines]
        resume, is_finished = log.resume, log.is_finished
    counted = [event for event in events if event.startswith("counted ")]
    assert counted == [f"counted {number}" for number in range(5)]
    assert reads > 2


def test_fake_airflow_serves_logs_like_airflow(airflow: AirflowLab, failed: TaskRunId) -> None:
    api = "v2" if airflow.major == "3" else "v1"
    model = Model(api)
    model.add_dag(DAG, {TASK: []})
    model.start_run(DAG, "r")
    (task,) = model.tasks.values()
    task.state, task.try_number = "failed", 1
    fake = Api(model)
    fake.logs.write(task, Entry(model.now(), "Task failed with exception", "error", raised=Raised("BankRefused", "no")))
    headers = {"authorization": "Bearer token.0" if api == "v2" else "Basic YTpi"}
    path = f"/api/{api}/dags/{DAG}/dagRuns/r/taskInstances/{TASK}/logs/1"
    for accept in ("application/x-ndjson", "text/plain", "application/json"):
        if (api, accept) == ("v1", "application/x-ndjson"):
            continue
        real = request_log(airflow, failed, accept)
        mine = fake.handle("GET", path, {}, {**headers, "accept": accept})
        assert mine.status == real.status_code, accept
        assert mine.content_type == real.headers["content-type"].partition(";")[0], accept
        if accept == "application/json":
            assert mine.body.keys() == real.json().keys()
        elif accept == "application/x-ndjson":
            assert "airflow-continuation-token" in real.headers
            assert "Airflow-Continuation-Token" in mine.headers
            same_records(real.content, mine.content)
        elif api == "v1":
            kinds = [content.decode().splitlines()[1:2] for content in (real.content, mine.content)]
            assert kinds[0] == kinds[1] == [" INFO - ::group::Log message source details"]
            assert b"\n*** Found local files:\n***   * /" in real.content
            assert b"\n*** Found local files:\n***   * /" in mine.content


def same_records(real: bytes, mine: bytes) -> None:
    theirs, ours = ([json.loads(line) for line in content.splitlines()] for content in (real, mine))
    assert [record["event"] for record in theirs[:3:2]] == [record["event"] for record in ours[:3:2]]
    assert all(record.keys() == {"timestamp", "event"} for record in (*theirs[:3], *ours[:3]))
    failure, own = (next(record for record in records if "error_detail" in record) for records in (theirs, ours))
    assert own.keys() == failure.keys()
    assert own["error_detail"][0].keys() == failure["error_detail"][0].keys()
    assert own["error_detail"][0]["frames"][0].keys() == failure["error_detail"][0]["frames"][0].keys()
