"""Answers that are not made again: as true as new ones, whoever writes and in whatever process."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import httpx2
import psycopg
import pytest
from psycopg.types.json import Jsonb

from checking import CheckedClient
from conftest import SECRET_KEY
from windsock.app import create_app
from windsock.bootstrap import Storage
from windsock.comments.store import QUERIES as COMMENTS
from windsock.context import AppContext
from windsock.db import CONNECTION_OPTIONS, Database
from windsock.pipelines.store import QUERIES as PIPELINES
from windsock.pipelines.summaries import StatsWindow
from windsock.providers.base import ProviderRun
from windsock.response_cache import ResponseCache
from windsock.runs.store import QUERIES as RUNS
from windsock.settings import Settings
from windsock.sql import Query
from windsock.sync.writer import MirrorWriter
from world import World, a_run, a_task_run, make_world

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio

SPACE = "/spaces/finance/orchestration"
SHOWS = "ETag", "Content-Type", "X-Total-Count", "Link"


@dataclass
class Two:
    """Two processes of one Windsock, each with connections and kept answers of its own."""

    here: CheckedClient
    there: CheckedClient
    db: Database
    world: World

    async def call(self, client: CheckedClient, method: str, path: str, who: str = "editor", **more: Any) -> Any:
        answer = await client.as_(self.world.keys[who], method, SPACE + path, **more)
        assert answer.status_code < 300, answer.text
        return answer

    async def write(self, text: str, **parameters: object) -> None:
        async with self.db.tenant_transaction(self.world.finance.id) as tx:
            assert await tx.execute(Query(text), **parameters), "it wrote nothing"


@asynccontextmanager
async def a_process(url: str, data: "Path") -> AsyncIterator[tuple[AppContext, CheckedClient]]:
    process = AppContext(Settings(data=data), Storage(url, (SECRET_KEY,), None))
    await process.db.open()
    try:
        app = create_app(process, run_worker=False)
        async with CheckedClient(app, httpx2.ASGITransport(app=app)) as client:
            yield process, client
    finally:
        await process.db.close()


@pytest.fixture(scope="module")
async def two(make_database: Callable[[str], str], open_folder: "Path") -> AsyncIterator[Two]:
    url = make_database("two_processes")
    async with AsyncExitStack() as stack:
        process, here = await stack.enter_async_context(a_process(url, open_folder))
        world = await make_world(process.db, SECRET_KEY)
        _, there = await stack.enter_async_context(a_process(url, open_folder))
        yield Two(here, there, process.db, world)


def paths(world: World) -> list[str]:
    daily, space = world.finance.pipelines["daily_report"], world.finance
    return [
        "/pipelines",
        "/pipelines?sort=-last_run_at&days=365",
        "/pipelines?sort=p95_duration_seconds",
        f"/pipelines/{daily}",
        f"/pipelines/{daily}/runs",
        "/runs",
        f"/runs/{space.run_id}",
        f"/runs/{space.run_id}/task-runs",
        f"/runs/{space.run_id}/comments",
        f"/task-runs/{space.task_run_id}",
        f"/task-runs/{space.task_run_id}/comments",
    ]


async def store_runs(two: Two, runs: list[ProviderRun]) -> None:
    space = two.world.finance
    async with two.db.tenant_transaction(space.id) as tx:
        mirror = MirrorWriter(space.id, space.connector_id)
        await mirror.store_runs(tx, runs, space.pipelines)


async def store_a_task(two: Two) -> None:
    space = two.world.finance
    async with two.db.tenant_transaction(space.id) as tx:
        task = a_task_run("daily_report", "r1", "extract", "failed")
        await MirrorWriter(space.id, space.connector_id).store_task_runs(tx, [task], space.pipelines)


async def rename(two: Two) -> None:
    async with two.db.transaction() as tx:
        await tx.execute(Query("UPDATE users SET name = 'Ada' WHERE id = %(id)s"), id=two.world.users["editor"])


def pipeline(two: Two) -> str:
    return f"/pipelines/{two.world.finance.pipelines['daily_report']}"


WRITES: dict[str, Callable[[Two], Awaitable[object]]] = {
    "a run": lambda two: store_runs(two, [a_run("daily_report", "r9", "failed", hours_ago=1, minutes=3)]),
    "the end of a run": lambda two: store_runs(two, [a_run("hourly_load", "r2", "failed", hours_ago=1, minutes=9)]),
    "a task run": store_a_task,
    "a team": lambda two: two.call(
        two.here, "PATCH", f"{pipeline(two)}/team", json={"team_id": str(two.world.finance.team_id)}
    ),
    "criticality": lambda two: two.call(
        two.here, "PATCH", f"{pipeline(two)}/criticality", json={"criticality": "critical"}
    ),
    "the name of the team": lambda two: two.write("UPDATE teams SET name = 'new name'"),
    "a watch": lambda two: two.call(two.here, "PUT", f"{pipeline(two)}/watch", who="viewer"),
    "a comment": lambda two: two.call(
        two.here, "POST", f"/runs/{two.world.finance.run_id}/comments", json={"content": "why?"}
    ),
    "a changed comment": lambda two: two.write("UPDATE comments SET content = 'because'"),
    "the name of who commented": rename,
    "where the links lead": lambda two: two.write(
        "UPDATE connectors SET config = config || %(config)s", config=Jsonb({"web_url": "http://new.example.com"})
    ),
    "the API's version": lambda two: two.write("UPDATE sync_states SET api_version = 'v1'"),
    "a complete sync": lambda two: two.write("UPDATE sync_states SET last_complete_at = now() + interval '1 hour'"),
    "a missing run": lambda two: two.write("UPDATE runs SET removed_at = now() WHERE external_id = 'r2'"),
    "the end of a comment": lambda two: two.write("DELETE FROM comments"),
    "the end of a task run": lambda two: two.write("DELETE FROM task_runs WHERE external_id = 'check'"),
    "the end of runs": lambda two: two.write("DELETE FROM runs WHERE external_id = 'r9'"),
}


def shown(answer: httpx2.Response) -> tuple[Any, ...]:
    return (answer.status_code, answer.content, *(answer.headers.get(name) for name in SHOWS if name != "ETag"))


async def test_what_one_process_writes_the_other_one_shows_at_once(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    now = StatsWindow.ending_now(7)
    monkeypatch.setattr(StatsWindow, "ending_now", lambda days: StatsWindow(days, now.since + timedelta(days=7 - days)))
    for what, write in WRITES.items():
        before = {path: await two.call(two.there, "GET", path, "viewer") for path in paths(two.world)}
        known = {path: {"If-None-Match": answer.headers["etag"]} for path, answer in before.items()}
        for path in before:
            same = await two.there.as_(two.world.keys["viewer"], "GET", SPACE + path, headers=known[path])
            assert same.status_code == 304, (what, path)
        await write(two)
        after = {
            path: await two.there.as_(two.world.keys["viewer"], "GET", SPACE + path, headers=known[path])
            for path in before
        }
        with monkeypatch.context() as without_any_kept:
            without_any_kept.setattr(ResponseCache, "get", lambda *_: None)
            for path, answer in after.items():
                assert answer.status_code == 200, (what, path)
                fresh = await two.call(two.here, "GET", path, "viewer")
                assert shown(answer) == shown(fresh), (what, path)
        assert any(after[path].content != before[path].content for path in before), f"{what} shows nowhere"


async def test_nothing_of_one_space_moves_the_answers_of_another(two: Two) -> None:
    stranger = two.world.keys["stranger"]
    before = await two.there.as_(stranger, "GET", "/spaces/marketing/orchestration/runs")
    await store_runs(two, [a_run("daily_report", "r10", "failed", hours_ago=1, minutes=3)])
    after = await two.there.as_(stranger, "GET", "/spaces/marketing/orchestration/runs")
    assert after.headers["etag"] == before.headers["etag"]


async def test_an_answer_is_its_callers_alone(two: Two) -> None:
    await two.call(two.here, "PUT", f"{pipeline(two)}/watch", who="viewer")
    mine = await two.call(two.there, "GET", pipeline(two), "viewer")
    theirs = await two.call(two.there, "GET", pipeline(two), "editor")
    assert (mine.json()["is_watched"], theirs.json()["is_watched"]) == (True, False)
    assert mine.headers["etag"] != theirs.headers["etag"]
    assert mine.headers["cache-control"] == "private, no-cache"
    assert mine.headers["vary"] == "Authorization, Accept-Encoding"


ANOTHER = """
WITH p AS (
    INSERT INTO pipelines (space_id, connector_id, external_id, name, is_paused, is_active, has_import_errors)
    VALUES (%(space)s, %(connector)s, %(name)s, %(name)s, false, true, false) RETURNING id
)
INSERT INTO runs (space_id, pipeline_id, external_id, status, run_type, run_at)
SELECT %(space)s, p.id, 'r', 'running', 'manual', now() FROM p
"""
NUMBERS = """
SELECT (SELECT count(*) FROM pipelines), (SELECT sum(pipelines) FROM space_versions),
       (SELECT count(*) FROM runs WHERE removed_at IS NULL),
       (SELECT sum(total) FROM space_counts), (SELECT sum(total) FROM run_hours)
"""


async def test_who_writes_at_the_same_time_waits_for_nobody_and_both_are_seen(two: Two) -> None:
    url, space = two.db.url, two.world.finance
    version = "SELECT sum(version) FROM space_versions"
    comment = "INSERT INTO comments (space_id, run_id, author_id, content) VALUES (%s, %s, %s, 'I, too')"
    author = two.world.users["viewer"]
    versions: list[Any] = []

    def read(connection: psycopg.Connection) -> None:
        versions.append((connection.execute(version).fetchone() or [None])[0])

    options = f"{CONNECTION_OPTIONS} -c windsock.space_id={space.id} -c lock_timeout=2000"
    connections = [psycopg.connect(url, options=options) for _ in range(4)]
    reader, *writers = connections
    try:
        reader.autocommit = True
        read(reader)
        for writer in writers:
            writer.execute(comment, (space.id, space.run_id, author))  # would raise LockNotAvailable
            writer.execute("UPDATE pipelines SET updated_at = now() WHERE false")
            writer.execute(ANOTHER, {"space": space.id, "connector": space.connector_id, "name": f"new {id(writer)}"})
        read(reader)
        for writer in reversed(writers):
            writer.commit()
            read(reader)
            pipelines, known, runs, *known_runs = reader.execute(NUMBERS).fetchone() or ()
            assert (pipelines, runs, runs) == (known, *known_runs)
    finally:
        for connection in connections:
            connection.close()
    assert versions[0] == versions[1], "nothing is seen of what is not committed"
    assert versions[1:] == sorted(set(versions[1:])), "each moves it, in whatever order they began"


def test_a_write_of_nothing_moves_nothing(two: Two) -> None:
    with psycopg.connect(two.db.url, options=f"{CONNECTION_OPTIONS} -cwindsock.space_id={two.world.finance.id}") as own:
        version = "SELECT sum(version) FROM space_versions"
        before = own.execute(version).fetchone()
        for table in ("pipelines", "runs", "task_runs", "comments", "watches", "teams", "connectors"):
            own.execute(f"UPDATE {table} SET space_id = space_id WHERE false")  # noqa: S608 - ours
        own.execute("UPDATE sync_states SET failures = failures + 1")
        assert own.execute(version).fetchone() == before


TABLE = re.compile(r"\b(?:FROM|JOIN)\s+([a-z_]+)\b(?!\s*\()")
MOVES = """
SELECT c.relname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_proc f ON f.oid = t.tgfoid
WHERE f.proname LIKE 'bump%'
"""
FOLLOWS = {
    "pipeline_search": "pipelines",
    "pipeline_strips": "pipelines",
    "pipeline_days": "runs",
    "pipeline_weeks": "runs",
    "pipeline_recent_days": "runs",
    "run_counts": "runs",
    "space_counts": "runs",
    "run_hours": "runs",
    "space_versions": "pipelines",
    "team_members": "only a filter of its own caller, who is asked each time",
}
"""Tables whose rows move with those of another."""


def test_every_table_that_a_kept_answer_is_made_of_moves_the_version(two: Two) -> None:
    kept = {
        name: query
        for queries in (PIPELINES, RUNS, COMMENTS)
        for name, query in queries.items()
        if re.match(r"(list|get|count|known)_", name)
    }
    assert len(kept) >= 10, sorted(kept)
    with psycopg.connect(two.db.url, options=CONNECTION_OPTIONS) as connection:
        moves = {row[0] for row in connection.execute(MOVES)}
        tables = {row[0] for row in connection.execute("SELECT relname FROM pg_class WHERE relkind = 'r'")}
    for name, query in kept.items():
        made_of = set(TABLE.findall(query)) & tables
        assert made_of <= moves | set(FOLLOWS), (name, made_of - moves)


async def test_a_window_moves_by_the_minute(
    client: CheckedClient, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, key = "/spaces/finance/orchestration/pipelines", world.keys["viewer"]
    first = await client.as_(key, "GET", one)
    later = StatsWindow.ending_now(7)
    later = StatsWindow(7, later.since.replace(year=later.since.year + 1))
    monkeypatch.setattr(StatsWindow, "ending_now", lambda _days: later)
    second = await client.as_(key, "GET", one, headers={"If-None-Match": first.headers["etag"]})
    assert second.status_code == 200
    assert second.json()[0]["summary"]["total_runs"] == 0
