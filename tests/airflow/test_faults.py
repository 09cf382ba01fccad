"""A real Airflow behind a proxy that misbehaves: the sync says so in a sentence, and removes nothing."""

import json
from collections.abc import AsyncIterator
from itertools import product

import pytest

from airflow.harness import Windsock, beside, open_windsock, quiet
from airflow.proxy import LOGIN_PAGE, Fault, Proxy, ProxyResponse, open_proxy
from airflow_lab import AirflowLab
from conftest import SECRET_KEY
from databases import Databases

pytestmark = pytest.mark.anyio

PLANTED = "planted-password-0815"


@pytest.fixture
async def windsock(make_database: Databases) -> AsyncIterator[Windsock]:
    async with open_windsock(make_database, SECRET_KEY) as new_windsock:
        yield new_windsock


def in_trouble(_response: ProxyResponse) -> ProxyResponse:
    return ProxyResponse(503, {"content-type": "text/plain"}, b"upstream connect error")


def login_page(_response: ProxyResponse) -> ProxyResponse:
    return ProxyResponse(200, {"content-type": "text/html"}, LOGIN_PAGE)


def truncated(response: ProxyResponse) -> ProxyResponse:
    return ProxyResponse(response.status, response.headers, response.body[: len(response.body) // 2])


def fewer_rows(response: ProxyResponse) -> ProxyResponse:
    """Half of the rows, and a total of a thousand more: a few that are counted and never listed are no fault."""
    value = json.loads(response.body)
    if isinstance(value.get("total_entries"), int):
        value["total_entries"] += 1000
    for key in ("dags", "dag_runs", "task_instances"):
        if key in value:
            value[key] = value[key][: len(value[key]) // 2]
            if "next_cursor" in value:
                value["next_cursor"] = None
    return ProxyResponse(response.status, response.headers, json.dumps(value).encode())


def dropped(_response: ProxyResponse) -> None:
    return None


def refused(_response: ProxyResponse) -> ProxyResponse:
    return ProxyResponse(401, {"content-type": "application/json"}, json.dumps({"detail": "Token Expired"}).encode())


FAULTS: dict[str, tuple[Fault, str]] = {
    "503": (in_trouble, "503"),
    "an HTML login page": (login_page, "HTML"),
    "half an answer": (truncated, "JSON"),
    "fewer rows than promised": (fewer_rows, "promised"),
    "a dropped connection": (dropped, "connection"),
    "401": (refused, "refused the credentials"),
}
PLACES = {"pipelines": "/dags?", "runs": "dagRuns?", "task runs": "taskInstances?"}


async def test_provider_faults_are_reported_and_remove_no_rows(airflow: AirflowLab, windsock: Windsock) -> None:
    """One after the other, behind one first sync."""
    await beside(quiet, airflow)
    with open_proxy(airflow.url) as proxy:
        await windsock.connect(proxy.url)
        assert (await windsock.sync())["status"] == "complete"
        for fault in FAULTS:
            await assert_harmless(windsock, proxy, fault)


async def assert_harmless(windsock: Windsock, proxy: Proxy, fault: str) -> None:
    misbehaviour, word = FAULTS[fault]
    before = await windsock.row_versions()
    state = await windsock.state()
    for is_full, place in product((True, False), PLACES):
        proxy.misbehave(misbehaviour, where=PLACES[place])
        sync = await windsock.sync(is_full=is_full)
        assert sync["status"] in {"partial", "failed"}, (fault, place)
        assert word.lower() in sync["error"].lower(), (fault, place, sync["error"])
        assert sync["error"].endswith("."), (fault, place, sync["error"])
        assert len(sync["error"]) < 600
        assert "<" not in sync["error"], "a raw HTML body"
        assert await windsock.row_versions() == before, (fault, place)
    after = await windsock.state()
    assert after["watermark"] == state["watermark"], "the watermark passed something that was not stored"
    assert after["failures"] == 2 * len(PLACES)
    assert after["next_sync_at"] > state["next_sync_at"]
    proxy.misbehave(None)
    assert (await windsock.sync())["status"] == "complete"
    assert await windsock.marked() == 0


async def test_partial_sync_retains_stored_rows_and_next_sync_resumes(airflow3: AirflowLab, windsock: Windsock) -> None:
    for _ in range(2):
        await beside(airflow3.trigger, "churn_training")
    await beside(quiet, airflow3)
    with open_proxy(airflow3.url, page=5) as proxy:
        await windsock.connect(proxy.url)
        proxy.misbehave(in_trouble, where="taskInstances?", after=3)
        sync = await windsock.sync()
        assert sync["status"] == "partial"
        assert sync["coverage"]["expected"] > sync["coverage"]["read"] > 0
        stored = len(await windsock.rows("SELECT id FROM task_runs"))
        assert stored == 15, "three pages of five"
        history = (await windsock.state())["backfill"]
        assert history["window"]["stream"] == "task_runs"

        proxy.misbehave(None)
        proxy.requests.clear()
        assert (await windsock.sync())["status"] == "complete"
        window = [request for request in proxy.requests if "dagRuns?run_after" in request]
        assert all("run_after_lte" in request for request in window), "the runs of that window were not read again"
        while not (await windsock.state())["backfill"]["is_complete"]:  # in 15 s, where the machine is not busy
            assert (await windsock.sync())["status"] == "complete"
        total = await beside(airflow3.api, "GET", "/dags/~/dagRuns/~/taskInstances", params={"limit": 1})
        assert len(await windsock.rows("SELECT id FROM task_runs")) == total["total_entries"]
        assert (await windsock.state())["checkpoint"] is None


def without_one_dag(response: ProxyResponse) -> ProxyResponse:
    """As an account would see it that may not read the first DAG any more."""
    if b'"dags"' not in response.body:
        return response
    value = json.loads(response.body)
    fewer = {"dags": value["dags"][1:], "total_entries": value["total_entries"] - 1}
    return ProxyResponse(200, response.headers, json.dumps({**value, **fewer}).encode())


def without_one_dag_and_in_trouble(response: ProxyResponse) -> ProxyResponse:
    return in_trouble(response) if b'"task_instances"' in response.body else without_one_dag(response)


async def test_rows_missed_by_interrupted_syncs_are_not_deleted(airflow3: AirflowLab, windsock: Windsock) -> None:
    path = "SELECT external_id FROM pipelines WHERE removed_at IS NOT NULL OR NOT is_active"
    with open_proxy(airflow3.url) as proxy:
        await windsock.connect(proxy.url)
        await windsock.sync()
        proxy.misbehave(without_one_dag_and_in_trouble)
        for _ in range(3):
            assert (await windsock.sync())["status"] == "partial"
        assert await windsock.rows(path) == []
        proxy.misbehave(without_one_dag)
        assert (await windsock.sync())["pipelines"]["removed"] == 0
        assert await windsock.rows(path) == []
        assert (await windsock.sync())["pipelines"]["removed"] == 1
        assert await windsock.rows(path) == [{"external_id": "campaign_report"}]
        proxy.misbehave(None)
        assert (await windsock.sync())["pipelines"]["updated"] == 1
        assert await windsock.marked() == 0, "it came back"


async def test_missing_or_slow_airflow_is_diagnosed(airflow3: AirflowLab, windsock: Windsock) -> None:
    with open_proxy(airflow3.url) as proxy:
        await windsock.connect(proxy.url)
        assert (await windsock.sync())["status"] == "complete"
        await windsock.execute("UPDATE connectors SET config = config || '{\"timeout_seconds\": 1}'")
        before = await windsock.row_versions()
        await windsock.execute("UPDATE connectors SET config = config || '{\"timeout_seconds\": 1}'")
        proxy.delay = 2.0
        slow = await windsock.sync()
        assert slow["status"] == "failed"
        assert "1 s" in slow["error"]
    sync = await windsock.sync()
    assert sync["status"] == "failed"
    assert "connect" in sync["error"].lower()
    assert await windsock.row_versions() == before


async def test_wrong_password_is_reported_without_disclosing_it(
    airflow: AirflowLab, windsock: Windsock, capfd: pytest.CaptureFixture[str]
) -> None:
    await windsock.connect(airflow.url, password=PLANTED)
    sync = await windsock.sync()
    assert sync["status"] == "failed"
    assert "credentials" in sync["error"]
    await assert_nowhere(windsock, PLANTED)
    out, err = capfd.readouterr()
    assert PLANTED not in out + err


async def test_tokens_of_successful_login_are_neither_stored_nor_logged(
    airflow: AirflowLab, windsock: Windsock, capfd: pytest.CaptureFixture[str]
) -> None:
    with open_proxy(airflow.url) as proxy:
        await windsock.connect(proxy.url, password="admin")  # too short a word to look for
        await windsock.sync()
        tokens = [token for token, _ in windsock.process.tokens._tokens.values()]
        proxy.misbehave(in_trouble)
        await windsock.sync()
    assert bool(tokens) == (airflow.major == "3")
    out, err = capfd.readouterr()
    for token in tokens:
        await assert_nowhere(windsock, token)
        assert token not in out + err


async def assert_nowhere(windsock: Windsock, secret: str) -> None:
    """In no row of any table that the application can read, of any space."""
    tables = await windsock.rows(
        "SELECT schemaname, tablename FROM pg_tables WHERE schemaname IN ('windsock', 'procrastinate')"
    )
    assert len(tables) >= 15
    for table in tables:
        name = f"{table['schemaname']}.{table['tablename']}"
        rows = await windsock.rows(f"SELECT t::text AS whole FROM {name} t")  # noqa: S608 - from the catalogue
        for row in rows:
            assert secret not in row["whole"], name
            assert secret.encode().hex() not in row["whole"], name
