"""ETags from the space version: every write in a space, by any process, makes the stored response stale."""

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

from conftest import SECRET_KEY
from databases import Databases
from factories import TwoTenants, create_two_tenants, make_run, make_task_run
from validating_client import ValidatingClient
from windsock.app import create_app
from windsock.comments.store import QUERIES as COMMENTS
from windsock.context import AppContext
from windsock.db.bootstrap import Storage
from windsock.db.database import CONNECTION_OPTIONS, Database
from windsock.db.queries import Query
from windsock.http import etag
from windsock.pipelines.stats import StatsWindow
from windsock.pipelines.store import QUERIES as PIPELINES
from windsock.providers.base import ProviderRun
from windsock.runs.store import QUERIES as RUNS
from windsock.settings import Settings
from windsock.sync.writer import MirrorWriter

if TYPE_CHECKING:
    from pathlib import Path


pytestmark = pytest.mark.anyio

SPACE = "/spaces/finance/orchestration"
SHOWS = "ETag", "Content-Type", "X-Total-Count", "Link"


@dataclass
class Two:
    """Two processes of one Windsock, each with its own connections."""

    here: ValidatingClient
    there: ValidatingClient
    db: Database
    tenants: TwoTenants

    async def call(self, client: ValidatingClient, method: str, path: str, who: str = "editor", **more: Any) -> Any:
        response = await client.as_(self.tenants.keys[who], method, SPACE + path, **more)
        assert response.status_code < 300, response.text
        return response

    async def write(self, text: str, **parameters: object) -> None:
        async with self.db.tenant_transaction(self.tenants.finance.id) as tx:
            assert await tx.execute(Query(text), **parameters), "it wrote nothing"


@asynccontextmanager
async def a_process(url: str, data: "Path") -> AsyncIterator[tuple[AppContext, ValidatingClient]]:
    process = AppContext(Settings(data=data), Storage(url, (SECRET_KEY,), None))
    app = create_app(process, run_worker=False)
    await process.db.open()
    try:
        async with ValidatingClient(app, httpx2.ASGITransport(app=app)) as client:
            yield process, client
    finally:
        await process.db.close()


@pytest.fixture(scope="module")
async def two(make_database: Databases, open_folder: "Path") -> AsyncIterator[Two]:
    url = make_database("two_processes")
    async with AsyncExitStack() as stack:
        process, here = await stack.enter_async_context(a_process(url, open_folder))
        tenants = await create_two_tenants(process.db, SECRET_KEY)
        _, there = await stack.enter_async_context(a_process(url, open_folder))
        yield Two(here, there, process.db, tenants)


def paths(tenants: TwoTenants) -> list[str]:
    daily, space = tenants.finance.pipelines["daily_report"], tenants.finance
    return [
        *("/pipelines", "/pipelines?sort=-last_run_at&days=365"),
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
    space = two.tenants.finance
    async with two.db.tenant_transaction(space.id) as tx:
        await MirrorWriter(space.id, space.connector_id).store_runs(tx, runs, space.pipelines)


async def store_a_task(two: Two) -> None:
    space = two.tenants.finance
    async with two.db.tenant_transaction(space.id) as tx:
        task = make_task_run("daily_report", "r1", "extract", "failed")
        await MirrorWriter(space.id, space.connector_id).store_task_runs(tx, [task], space.pipelines)


async def rename(two: Two) -> None:
    async with two.db.transaction() as tx:
        await tx.execute(Query("UPDATE users SET name = 'Ada' WHERE id = %(id)s"), id=two.tenants.users["editor"])


def pipeline(two: Two) -> str:
    return f"/pipelines/{two.tenants.finance.pipelines['daily_report']}"


WRITES: dict[str, Callable[[Two], Awaitable[object]]] = {
    "a run": lambda two: store_runs(two, [make_run("daily_report", "r9", "failed", hours_ago=1, minutes=3)]),
    "the end of a run": lambda two: store_runs(two, [make_run("hourly_load", "r2", "failed", hours_ago=1, minutes=9)]),
    "a task run": store_a_task,
    "a team": lambda two: two.call(
        two.here, "PATCH", f"{pipeline(two)}/team", json={"team_id": str(two.tenants.finance.team_id)}
    ),
    "criticality": lambda two: two.call(
        two.here, "PATCH", f"{pipeline(two)}/criticality", json={"criticality": "critical"}
    ),
    "the name of the team": lambda two: two.write("UPDATE teams SET name = 'new name'"),
    "a watch": lambda two: two.call(two.here, "PUT", f"{pipeline(two)}/watch", who="viewer"),
    "a comment": lambda two: two.call(
        two.here, "POST", f"/runs/{two.tenants.finance.run_id}/comments", json={"content": "why?"}
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


def shown(response: httpx2.Response) -> tuple[Any, ...]:
    return (response.status_code, response.content, *(response.headers.get(name) for name in SHOWS if name != "ETag"))


async def test_write_in_one_process_is_visible_at_once_in_another(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    now = StatsWindow.ending_now(7)
    minute = etag.current_minute()
    monkeypatch.setattr(etag, "current_minute", lambda: minute)
    monkeypatch.setattr(StatsWindow, "ending_now", lambda days: StatsWindow(days, now.since + timedelta(days=7 - days)))
    for what, write in WRITES.items():
        before = {path: await two.call(two.there, "GET", path, "viewer") for path in paths(two.tenants)}
        known = {path: {"If-None-Match": reply.headers["etag"]} for path, reply in before.items()}
        for path in before:
            same = await two.there.as_(two.tenants.keys["viewer"], "GET", SPACE + path, headers=known[path])
            assert same.status_code == 304, (what, path)
        await write(two)
        after = {
            path: await two.there.as_(two.tenants.keys["viewer"], "GET", SPACE + path, headers=known[path])
            for path in before
        }
        for path, response in after.items():
            assert response.status_code == 200, (what, path)
            fresh = await two.call(two.here, "GET", path, "viewer")
            assert shown(response) == shown(fresh), (what, path)
        assert any(after[path].content != before[path].content for path in before), f"{what} shows nowhere"


async def test_changes_in_one_space_do_not_invalidate_responses_of_another(two: Two) -> None:
    stranger = two.tenants.keys["stranger"]
    before = await two.there.as_(stranger, "GET", "/spaces/marketing/orchestration/runs")
    await store_runs(two, [make_run("daily_report", "r10", "failed", hours_ago=1, minutes=3)])
    after = await two.there.as_(stranger, "GET", "/spaces/marketing/orchestration/runs")
    assert after.headers["etag"] == before.headers["etag"]


async def test_etag_is_private_to_caller(two: Two) -> None:
    await two.call(two.here, "PUT", f"{pipeline(two)}/watch", who="viewer")
    mine = await two.call(two.there, "GET", pipeline(two), "viewer")
    theirs = await two.call(two.there, "GET", pipeline(two), "editor")
    assert (mine.json()["is_watched"], theirs.json()["is_watched"]) == (True, False)
    assert mine.headers["etag"] != theirs.headers["etag"]
    assert mine.headers["cache-control"] == "private, no-cache"
    assert mine.headers["vary"] == "Authorization, Accept, Accept-Encoding"


ANOTHER = """
WITH p AS (
    INSERT INTO pipelines (space_id, connector_id, external_id, name, is_paused, is_active, has_import_errors)
    VALUES (%(space)s, %(connector)s, %(name)s, %(name)s, false, true, false) RETURNING id
)
INSERT INTO runs (space_id, pipeline_id, external_id, status, run_type, run_at)
SELECT %(space)s, p.id, 'r', 'running', 'manual', now() FROM p
"""
NUMBERS = """
SELECT (SELECT count(*) FROM runs WHERE removed_at IS NULL),
       (SELECT sum(total) FROM pipeline_run_counters), (SELECT sum(total) FROM space_hourly_run_counters)
"""


async def test_concurrent_writers_do_not_block_and_both_are_visible(two: Two) -> None:
    url, space = two.db.url, two.tenants.finance
    version = "SELECT sum(version) FROM space_versions"
    comment = "INSERT INTO comments (space_id, run_id, author_id, content) VALUES (%s, %s, %s, 'I, too')"
    author = two.tenants.users["viewer"]
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
            runs, *counters = reader.execute(NUMBERS).fetchone() or ()
            assert [runs, runs] == counters
    finally:
        for connection in connections:
            connection.close()
    assert versions[0] == versions[1], "nothing is seen of what is not committed"
    assert versions[1:] == sorted(set(versions[1:])), "each moves it, in whatever order they began"


def test_write_without_visible_change_leaves_space_version_unchanged(two: Two) -> None:
    with psycopg.connect(
        two.db.url, options=f"{CONNECTION_OPTIONS} -cwindsock.space_id={two.tenants.finance.id}"
    ) as own:
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
    "pipeline_recent_runs": "pipelines",
    "pipeline_daily_stats": "runs",
    "pipeline_run_counters": "runs",
    "space_hourly_run_counters": "runs",
    "team_members": "only a filter of its own caller, who is asked each time",
}
"""Tables whose rows move with those of another."""


def test_every_table_behind_space_etag_updates_space_version(two: Two) -> None:
    stored = {
        name: query
        for queries in (PIPELINES, RUNS, COMMENTS)
        for name, query in queries.items()
        if re.match(r"(list|get|count|known)_", name)
    }
    assert len(stored) >= 10, sorted(stored)
    with psycopg.connect(two.db.url, options=CONNECTION_OPTIONS) as connection:
        moves = {row[0] for row in connection.execute(MOVES)}
        tables = {row[0] for row in connection.execute("SELECT relname FROM pg_class WHERE relkind = 'r'")}
    for name, query in stored.items():
        tables_read = set(TABLE.findall(query)) & tables
        assert tables_read <= moves | set(FOLLOWS), (name, tables_read - moves)
