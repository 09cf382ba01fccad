"""Logs of task runs through the API: filters, cursors, the cache, many viewers, refusals."""

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest
from fastapi import FastAPI

from conftest import RolledBackDatabase
from factories import PASSWORD, TwoTenants
from failures.log_requests import configure, get, get_page, set_task, texts
from fake_airflow.logs import Raised
from validating_client import ValidatingClient
from windsock.failures import log_cache, log_reader, policy
from windsock.providers.airflow import read_logs_setting

if TYPE_CHECKING:
    from failures.conftest import LoggedTask

pytestmark = pytest.mark.anyio


async def test_log_ends_with_traceback_of_the_failure(
    client: ValidatingClient, tenants: TwoTenants, logged: "LoggedTask"
) -> None:
    logged.write("starting")
    logged.write("Task failed with exception", level="error", raised=Raised("BankError", "not sent"))
    page = await get_page(client, tenants)
    assert (page["try_number"], page["is_finished"], page["limit"], page["has_more_before"]) == (1, True, None, False)
    first, last = page["lines"]
    assert (first["number"], first["level"], first["logger"], first["event"]) == (1, "info", "task", "starting")
    assert last["event"].startswith("Task failed with exception\nTraceback (most recent call last):\n  File ")
    assert last["event"].endswith("line 12, in run\nBankError: not sent")  # fmt: skip
    assert first["timestamp"].endswith("Z")


async def test_tail_level_and_cursor_choose_lines(
    client: ValidatingClient, tenants: TwoTenants, logged: "LoggedTask"
) -> None:
    for number in range(1, 7):
        logged.write(str(number), level="error" if number % 2 else "info")
    for query, expected, has_more_before in (
        ("", "123456", False),
        ("?tail=2", "56", True),
        ("?tail=6", "123456", False),
        ("?level=error", "135", False),
        ("?level=error&tail=2", "35", True),
        ("?level=critical", "", False),
        ("?level=debug", "123456", False),
        ("?cursor=4", "56", False),
        ("?cursor=4&tail=1", "6", True),
        ("?cursor=6", "", False),
        ("?cursor=99", "", False),
    ):
        page = await get_page(client, tenants, query)
        assert ("".join(texts(page)), page["has_more_before"]) == (expected, has_more_before), query
        assert page["cursor"] == ("99" if "99" in query else "6")
    assert len(logged.reads) == 1


@pytest.mark.parametrize(
    "query",
    ["?tail=0", "?tail=5001", "?tail=x", "?level=loud", "?cursor=-1", "?cursor=a", "?cursor=1234567890123",
     "?try_number=0", "?try_number=99999999999", "?full_content=true", "?cursor="],
)  # fmt: skip
async def test_odd_parameters_are_422(
    client: ValidatingClient, tenants: TwoTenants, logged: "LoggedTask", query: str
) -> None:
    assert (await get(client, tenants, query)).status_code == 422
    assert logged.reads == []


async def test_finished_log_is_read_once_for_all_and_running_one_at_each_poll(
    client: ValidatingClient, tenants: TwoTenants, logged: "LoggedTask", monkeypatch: pytest.MonkeyPatch
) -> None:
    logged.write("one")
    for kind in ("viewer", "editor", "viewer"):
        assert (await get(client, tenants, kind=kind)).status_code == 200
    assert len(logged.reads) == 1
    later = time.monotonic() + log_cache.FINISHED_SECONDS + 1
    monkeypatch.setattr(time, "monotonic", lambda: later)
    await get(client, tenants)
    assert len(logged.reads) == 2


async def test_log_of_try_that_has_just_ended_is_read_again(
    client: ValidatingClient,
    tenants: TwoTenants,
    logged: "LoggedTask",
    db: RolledBackDatabase,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await set_task(db, tenants, "failed", ago="5 seconds")
    logged.write("one")
    assert texts(await get_page(client, tenants)) == ["one"]
    logged.write("two")
    later = time.monotonic() + log_cache.INCOMPLETE_SECONDS + 1
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert texts(await get_page(client, tenants)) == ["one", "two"]


async def test_many_viewers_share_one_request_to_airflow(
    client: ValidatingClient, tenants: TwoTenants, logged: "LoggedTask", db: RolledBackDatabase
) -> None:
    await set_task(db, tenants, "running")
    logged.task.state = "running"
    logged.write("one")
    responses = await asyncio.gather(*(get(client, tenants) for _ in range(20)))
    assert [response.status_code for response in responses] == [200] * 20
    assert len(logged.reads) == 1
    assert responses[0].json()["is_finished"] is False


async def test_one_log_at_a_time_is_read_from_an_airflow(
    client: ValidatingClient, tenants: TwoTenants, logged: "LoggedTask", db: RolledBackDatabase
) -> None:
    await set_task(db, tenants, "failed", try_number=4)
    logged.task.try_number = 4
    at_once = most = 0

    async def slowly() -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0.02)
        at_once -= 1

    logged.airflow.meanwhile = slowly
    queries = [f"?try_number={number}" for number in range(1, 5)]
    responses = await asyncio.gather(*(get(client, tenants, query) for query in queries))
    assert [response.json()["try_number"] for response in responses] == [1, 2, 3, 4]
    assert most == 1


async def test_log_that_waits_too_long_for_its_turn_is_504(
    client: ValidatingClient,
    tenants: TwoTenants,
    logged: "LoggedTask",
    db: RolledBackDatabase,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(policy, "WAIT_SECONDS", 0.05)
    await set_task(db, tenants, "failed", try_number=2)
    may_respond = asyncio.Event()

    async def wait() -> None:
        await may_respond.wait()

    logged.task.try_number, logged.airflow.meanwhile = 2, wait
    first = asyncio.create_task(get(client, tenants, "?try_number=1"))
    await asyncio.sleep(0.02)
    second = await get(client, tenants, "?try_number=2")
    assert second.status_code == 504
    assert "one log at a time" in second.json()["detail"]
    may_respond.set()
    assert (await first).status_code == 200


async def test_setting_off_is_409_without_request_to_airflow(
    client: ValidatingClient, tenants: TwoTenants, logged: "LoggedTask"
) -> None:
    assert (await get(client, tenants)).status_code == 200
    await configure(client, tenants, read_logs="off")
    for end in ("", "/stream"):
        response = await get(client, tenants, end=end)
        assert (response.status_code, response.json()["detail"]) == (409, log_reader.OFF)
    await configure(client, tenants, read_logs=None)
    assert (await get(client, tenants)).status_code == 200
    assert len(logged.opened) == 1


@pytest.mark.parametrize(
    ("setting", "version", "expected"),
    [
        (None, "3.2.0", "on_failure"),
        (None, "3.10.1", "on_failure"),
        (None, "4.0.0b1", "on_failure"),
        (None, "3.1.8", "on_demand"),
        (None, "2.11.2", "on_demand"),
        (None, "3", "on_demand"),
        (None, None, "on_demand"),
        ("off", "3.3.2", "off"),
        ("on_failure", "2.11.2", "on_failure"),
    ],
)
async def test_default_of_setting_is_chosen_by_version(setting: Any, version: str | None, expected: str) -> None:
    assert read_logs_setting(setting, version) == expected


async def test_refusal_of_airflow_is_relayed_and_cached_for_seconds(
    client: ValidatingClient, tenants: TwoTenants, logged: "LoggedTask", monkeypatch: pytest.MonkeyPatch
) -> None:
    logged.airflow.api.logs.is_refused = True
    for _ in range(3):
        response = await get(client, tenants)
        assert (response.status_code, response.headers["x-provider"]) == (403, "airflow")
        assert "Forbidden" in response.json()["detail"]
        assert PASSWORD not in response.text
    reads = len(logged.reads)
    logged.airflow.api.logs.is_refused = False
    assert (await get(client, tenants)).status_code == 403
    assert len(logged.reads) == reads
    later = time.monotonic() + log_cache.FAILED_SECONDS + 1
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert (await get(client, tenants)).status_code == 200


async def test_unreachable_airflow_is_502_with_a_sentence(
    client: ValidatingClient, tenants: TwoTenants, logged: "LoggedTask"
) -> None:
    logged.airflow.faults.chance, logged.airflow.faults.kinds = 1.0, ("drop",)
    response = await get(client, tenants)
    assert response.status_code == 502
    assert "could not be sent to Airflow" in response.json()["detail"]


async def test_log_missing_in_airflow_has_reason_from_airflow(
    client: ValidatingClient, tenants: TwoTenants, logged: "LoggedTask"
) -> None:
    logged.airflow.api.logs.cannot_be_read = True
    page = await get_page(client, tenants)
    assert page["lines"] == []
    assert "Could not read served logs: 403 Client Error" in page["limit"]


async def test_task_that_was_not_started_has_no_log_and_costs_no_request(
    client: ValidatingClient, tenants: TwoTenants, logged: "LoggedTask", db: RolledBackDatabase
) -> None:
    for status, is_finished in (("upstream_failed", True), ("scheduled", False)):
        await set_task(db, tenants, status, try_number=0)
        page = await get_page(client, tenants)
        assert (page["lines"], page["limit"]) == ([], log_reader.NOT_STARTED)
        assert page["is_finished"] is is_finished
    assert logged.opened == []


async def test_credentials_of_connector_are_not_in_the_log(
    client: ValidatingClient, tenants: TwoTenants, logged: "LoggedTask"
) -> None:
    logged.write(f"the password is {PASSWORD}", "postgresql://etl:hunter2xyz@db/bank")
    response = await get(client, tenants)
    assert PASSWORD not in response.text
    assert "hunter2xyz" not in response.text


async def test_task_run_of_other_space_is_404_as_an_unknown_one(
    client: ValidatingClient, tenants: TwoTenants, logged: "LoggedTask"
) -> None:
    await get(client, tenants)
    for end in ("", "/stream"):
        path = f"/spaces/finance/orchestration/task-runs/{tenants.marketing.task_run_id}/logs{end}"
        assert (await client.as_(tenants.keys["viewer"], "GET", path)).status_code == 404
        path = path.replace("/finance/", "/marketing/")
        assert (await client.as_(tenants.keys["viewer"], "GET", path)).status_code == 403
    assert [connector.id for connector in logged.opened] == [tenants.finance.connector_id]


async def test_cache_of_logs_is_bounded_in_bytes(
    client: ValidatingClient,
    tenants: TwoTenants,
    logged: "LoggedTask",
    app: FastAPI,
    db: RolledBackDatabase,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(log_cache, "MAX_BYTES", 3_000)
    await set_task(db, tenants, "failed", try_number=9)
    logged.task.try_number = 9
    for number in range(1, 10):
        assert (await get(client, tenants, f"?try_number={number}")).status_code == 200
    cache = app.state.logs._cache
    assert 0 < cache._bytes <= 3_000
    assert cache._bytes == sum(size for _, _, size in cache._entries.values())
