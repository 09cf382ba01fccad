"""The stream of a log: it follows a running try, ends with it, and is bounded."""

from typing import TYPE_CHECKING

import pytest

from conftest import RolledBackDatabase
from factories import TwoTenants
from failures.log_requests import get, set_task
from validating_client import ValidatingClient
from windsock.failures import log_cache, log_stream

if TYPE_CHECKING:
    from failures.conftest import LoggedTask

pytestmark = pytest.mark.anyio


def events(text: str) -> list[tuple[str, str]]:
    found = []
    for block in text.strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        found.append((fields["event"], fields["data"]))
    return found


async def test_stream_follows_a_running_try_and_ends_with_it(
    client: ValidatingClient,
    tenants: TwoTenants,
    logged: "LoggedTask",
    db: RolledBackDatabase,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(log_stream, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(log_cache, "POLL_SECONDS", 0.0)
    await set_task(db, tenants, "running")
    logged.task.state = "running"
    logged.write("one", "two")
    steps = iter(["three", "", "", "four"])

    def go_on() -> None:
        if "/logs/" not in logged.airflow.requests[-1]:
            return
        step = next(steps, None)
        if step:
            logged.write(step)
        if step is None:
            logged.task.state = "success"

    logged.airflow.between = go_on
    response = await get(client, tenants, "?cursor=1", end="/stream")
    assert response.headers["content-type"].startswith("text/event-stream")
    found = events(response.text)
    assert [name for name, _ in found] == ["lines", "lines", "lines", "end"]
    for (_, data), words in zip(found, ("two", "three", "four"), strict=False):
        assert f'"event":"{words}"' in data
        assert data.count('"event"') == 1
    assert found[-1][1] == '{"is_finished":true,"reason":null}'


async def test_stream_of_finished_try_ends_at_once(
    client: ValidatingClient, tenants: TwoTenants, logged: "LoggedTask"
) -> None:
    logged.write("one", "two")
    path = f"/spaces/finance/orchestration/task-runs/{tenants.finance.task_run_id}/logs/stream?cursor=0"
    response = await client.as_(tenants.keys["viewer"], "GET", path, headers={"Last-Event-ID": "1"})
    (_, lines), (name, _) = events(response.text)
    assert ('"two"' in lines, '"one"' in lines, name) == (True, False, "end")


async def test_stream_ends_when_its_time_is_up_or_airflow_fails(
    client: ValidatingClient,
    tenants: TwoTenants,
    logged: "LoggedTask",
    db: RolledBackDatabase,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(log_stream, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(log_cache, "POLL_SECONDS", 0.0)
    await set_task(db, tenants, "running")
    logged.task.state = "running"
    logged.write("one")
    monkeypatch.setattr(log_stream, "MAX_STREAM_SECONDS", 0.05)
    assert log_stream.TIME_IS_UP in events((await get(client, tenants, end="/stream")).text)[-1][1]
    monkeypatch.undo()
    monkeypatch.setattr(log_stream, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(log_cache, "POLL_SECONDS", 0.0)

    def refuse() -> None:
        logged.airflow.api.logs.is_refused |= "/logs/" in logged.airflow.requests[-1]

    logged.airflow.between = refuse
    name, data = events((await get(client, tenants, end="/stream")).text)[-1]
    assert name == "end"
    assert "Forbidden" in data


async def test_streams_are_limited(
    client: ValidatingClient, tenants: TwoTenants, logged: "LoggedTask", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_stream, "MAX_STREAMS", 0)
    response = await get(client, tenants, end="/stream")
    assert (response.status_code, response.headers["retry-after"]) == (503, "10")
    assert logged.opened == []
