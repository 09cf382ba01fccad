"""A real Airflow behind a proxy that misbehaves: the sync says so in a sentence, and removes nothing."""

import json
from collections.abc import AsyncIterator, Callable
from itertools import product

import pytest

from airflow.mirrored import Windsock, a_windsock, beside, quiet
from airflow.proxy import LOGIN_PAGE, Answer, Fault, a_proxy
from airflow_lab import AirflowLab
from conftest import SECRET_KEY

pytestmark = pytest.mark.anyio

PLANTED = "planted-password-0815"


@pytest.fixture
async def windsock(make_database: Callable[[str], str]) -> AsyncIterator[Windsock]:
    async with a_windsock(make_database, SECRET_KEY) as made:
        yield made


def in_trouble(_answer: Answer) -> Answer:
    return Answer(503, {"content-type": "text/plain"}, b"upstream connect error")


def login_page(_answer: Answer) -> Answer:
    return Answer(200, {"content-type": "text/html"}, LOGIN_PAGE)


def truncated(answer: Answer) -> Answer:
    return Answer(answer.status, answer.headers, answer.body[: len(answer.body) // 2])


def fewer_rows(answer: Answer) -> Answer:
    """Half of the rows, and a total of a thousand more: a few that are counted and never listed are no fault."""
    value = json.loads(answer.body)
    if isinstance(value.get("total_entries"), int):
        value["total_entries"] += 1000
    for key in ("dags", "dag_runs", "task_instances"):
        if key in value:
            value[key] = value[key][: len(value[key]) // 2]
            if "next_cursor" in value:
                value["next_cursor"] = None
    return Answer(answer.status, answer.headers, json.dumps(value).encode())


def dropped(_answer: Answer) -> None:
    return None


def refused(_answer: Answer) -> Answer:
    return Answer(401, {"content-type": "application/json"}, json.dumps({"detail": "Token Expired"}).encode())


FAULTS: dict[str, tuple[Fault, str]] = {
    "503": (in_trouble, "503"),
    "an HTML login page": (login_page, "HTML"),
    "half an answer": (truncated, "JSON"),
    "fewer rows than promised": (fewer_rows, "promised"),
    "a dropped connection": (dropped, "connection"),
    "401": (refused, "refused the credentials"),
}
PLACES = {"pipelines": "/dags?", "runs": "dagRuns?", "task runs": "taskInstances?"}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_is_told_and_removes_nothing(airflow: AirflowLab, windsock: Windsock, fault: str) -> None:
    misbehaviour, word = FAULTS[fault]
    await beside(quiet, airflow)
    with a_proxy(airflow.url) as proxy:
        await windsock.connect(proxy.url)
        assert (await windsock.sync())["status"] == "complete"
        before = await windsock.everything()
        state = await windsock.state()

        for is_full, place in product((True, False), PLACES):
            proxy.misbehave(misbehaviour, where=PLACES[place])
            told = await windsock.sync(is_full=is_full)
            assert told["status"] in {"partial", "failed"}
            assert word.lower() in told["error"].lower(), told["error"]
            assert told["error"].endswith(".")
            assert len(told["error"]) < 600
            assert "<" not in told["error"], "a raw HTML body"
            assert await windsock.everything() == before
        after = await windsock.state()
        assert after["watermark"] == state["watermark"], "the watermark passed something that was not stored"
        assert after["failures"] == 2 * len(PLACES)
        assert after["next_sync_at"] > state["next_sync_at"]

        proxy.misbehave(None)
        assert (await windsock.sync())["status"] == "complete"
        assert await windsock.marked() == 0


async def test_a_fault_half_way_keeps_what_was_read_and_the_next_sync_goes_on(
    airflow3: AirflowLab, windsock: Windsock
) -> None:
    for _ in range(2):
        await beside(airflow3.trigger, "churn_training")
    await beside(quiet, airflow3)
    with a_proxy(airflow3.url, page=5) as proxy:
        await windsock.connect(proxy.url)
        proxy.misbehave(in_trouble, where="taskInstances?", after=3)
        told = await windsock.sync()
        assert told["status"] == "partial"
        assert told["coverage"]["expected"] > told["coverage"]["read"] > 0
        stored = len(await windsock.rows("SELECT id FROM task_runs"))
        assert stored == 15, "three pages of five"
        history = (await windsock.state())["history"]
        assert history["window"]["stream"] == "task_runs"

        proxy.misbehave(None)
        proxy.requests.clear()
        assert (await windsock.sync())["status"] == "complete"
        window = [request for request in proxy.requests if "dagRuns?run_after" in request]
        assert all("run_after_lte" in request for request in window), "the runs of that window were not read again"
        while not (await windsock.state())["history"]["is_complete"]:  # in 15 s, where the machine is not busy
            assert (await windsock.sync())["status"] == "complete"
        total = await beside(airflow3.api, "GET", "/dags/~/dagRuns/~/taskInstances", params={"limit": 1})
        assert len(await windsock.rows("SELECT id FROM task_runs")) == total["total_entries"]
        assert (await windsock.state())["checkpoint"] is None


def without_one_dag(answer: Answer) -> Answer:
    """As an account would see it that may not read the first DAG any more."""
    if b'"dags"' not in answer.body:
        return answer
    value = json.loads(answer.body)
    return Answer(200, answer.headers, json.dumps({**value, "dags": value["dags"][1:], "total_entries": 13}).encode())


def without_one_dag_and_in_trouble(answer: Answer) -> Answer:
    return in_trouble(answer) if b'"task_instances"' in answer.body else without_one_dag(answer)


async def test_what_only_broken_off_syncs_did_not_see_is_not_gone(airflow3: AirflowLab, windsock: Windsock) -> None:
    gone = "SELECT external_id FROM pipelines WHERE removed_at IS NOT NULL OR NOT is_active"
    with a_proxy(airflow3.url) as proxy:
        await windsock.connect(proxy.url)
        await windsock.sync()
        proxy.misbehave(without_one_dag_and_in_trouble)
        for _ in range(3):
            assert (await windsock.sync())["status"] == "partial"
        assert await windsock.rows(gone) == []
        proxy.misbehave(without_one_dag)
        assert (await windsock.sync())["pipelines"]["removed"] == 0
        assert await windsock.rows(gone) == []
        assert (await windsock.sync())["pipelines"]["removed"] == 1
        assert await windsock.rows(gone) == [{"external_id": "campaign_report"}]
        proxy.misbehave(None)
        assert (await windsock.sync())["pipelines"]["updated"] == 1
        assert await windsock.marked() == 0, "it came back"


async def test_an_airflow_that_is_not_there_or_too_slow_is_told(airflow3: AirflowLab, windsock: Windsock) -> None:
    with a_proxy(airflow3.url) as proxy:
        await windsock.connect(proxy.url, timeout_seconds=1)
        assert (await windsock.sync())["status"] == "complete"
        before = await windsock.everything()
        proxy.delay = 2.0
        slow = await windsock.sync()
        assert slow["status"] == "failed"
        assert "1 s" in slow["error"]
    gone = await windsock.sync()
    assert gone["status"] == "failed"
    assert "connect" in gone["error"].lower()
    assert await windsock.everything() == before


async def test_a_wrong_password_is_told_and_is_found_nowhere(
    airflow: AirflowLab, windsock: Windsock, capfd: pytest.CaptureFixture[str]
) -> None:
    await windsock.connect(airflow.url, password=PLANTED)
    told = await windsock.sync()
    assert told["status"] == "failed"
    assert "credentials" in told["error"]
    await assert_nowhere(windsock, PLANTED)
    out, err = capfd.readouterr()
    assert PLANTED not in out + err


async def test_the_right_password_is_found_nowhere(
    airflow: AirflowLab, windsock: Windsock, capfd: pytest.CaptureFixture[str]
) -> None:
    with a_proxy(airflow.url) as proxy:
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
