"""What tests stand on: a real PostgreSQL, a world of two spaces, callers of every kind, checked answers."""

import asyncio
import contextlib
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import UUID

import httpx2
import hypothesis
import pytest
from cryptography.fernet import Fernet
from fastapi import FastAPI
from psycopg.rows import dict_row
from xdist.scheduler import LoadFileScheduling

from databases import Databases
from factories import TwoTenants, create_two_tenants
from validating_client import ValidatingClient
from windsock import log
from windsock.app import create_app
from windsock.auth.authorizer import Uses
from windsock.context import AppContext
from windsock.db.bootstrap import APPLICATION, DATABASE, OWNER, Storage, _make_roles_and_database, _migrate
from windsock.db.database import CONNECTION_OPTIONS, Connection, Database, Row, Statement
from windsock.embedded import EmbeddedPostgres
from windsock.settings import Settings

# The same examples each time: a suite that fails by chance is not believed. `--hypothesis-profile=default` explores.
hypothesis.settings.register_profile("repeatable", derandomize=True)
hypothesis.settings.load_profile("repeatable")

SECRET_KEY = Fernet.generate_key().decode()
TWO_TENANTS_DATABASE = "two_tenants"


class OneAirflowScheduling(LoadFileScheduling):  # type: ignore[misc]
    """Tests of a file run in one process, in their order; all of tests/airflow in one: two Airflows are too much."""

    def _split_scope(self, nodeid: str) -> str:
        return "tests/airflow" if nodeid.startswith("tests/airflow/") else str(super()._split_scope(nodeid))


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> OneAirflowScheduling:
    return OneAirflowScheduling(config, log)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def open_folder() -> Iterator[Path]:
    """A folder that other users can reach, unlike pytest's own: PostgreSQL does not run as root."""
    folder = Path(tempfile.mkdtemp(prefix="windsock-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres(open_folder: Path) -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL of the tests' own with a migrated, empty database; fsync is off, since nothing of it is kept."""
    with EmbeddedPostgres(open_folder / "data", settings={"fsync": "off", "max_connections": "200"}) as embedded:
        _make_roles_and_database(embedded)
        _migrate(embedded.url(user=OWNER, database=DATABASE), APPLICATION)
        yield embedded


@pytest.fixture(scope="session")
def make_database(postgres: EmbeddedPostgres) -> Databases:
    return Databases(postgres)


@pytest.fixture(scope="session")
async def _two_tenants_database(make_database: Databases) -> tuple[str, TwoTenants]:
    url = make_database(TWO_TENANTS_DATABASE)
    db = Database(url, pool_size=2)
    await db.open()
    try:
        tenants = await create_two_tenants(db, SECRET_KEY)
    finally:
        await db.close()
    return url, tenants


@pytest.fixture(scope="session")
def tenants(_two_tenants_database: tuple[str, TwoTenants]) -> TwoTenants:
    """Two spaces with things of the same names, and callers of every kind; see factories.py."""
    return _two_tenants_database[1]


class RolledBackDatabase(Database):
    """Everything happens in one transaction on one connection, which the test rolls back.

    Each transaction of the application is a savepoint. Settings made for one would last on, so they are cleared first.
    """

    def __init__(self, url: str, connection: Connection) -> None:
        super().__init__(url, pool_size=2)
        self.connection = connection
        self._lock = asyncio.Lock()
        self._owner: asyncio.Task[object] | None = None

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        """The connection, for one task at a time: savepoints of concurrent requests must not interleave."""
        if self._owner is asyncio.current_task():
            yield await self._without_settings()
            return
        async with self._lock:
            self._owner = asyncio.current_task()
            try:
                yield await self._without_settings()
            finally:
                self._owner = None

    async def _without_settings(self) -> Connection:
        await self.connection.execute(
            "SELECT set_config('windsock.space_id', '', true), set_config('windsock.user_id', '', true),"
            " set_config('windsock.actor', '', true)"
        )
        return self.connection

    async def fetch_batch(self, space_id: UUID, *statements: Statement) -> list[list[Row]]:
        async with self.transaction():
            return await super().fetch_batch(space_id, *statements)


@pytest.fixture
async def db(_two_tenants_database: tuple[str, TwoTenants]) -> AsyncIterator[RolledBackDatabase]:
    """The world's database as the application's role; whatever the test does is rolled back."""
    url = _two_tenants_database[0]
    connection = await Connection.connect(url, options=CONNECTION_OPTIONS, row_factory=dict_row)
    try:
        async with connection.transaction(force_rollback=True):
            yield RolledBackDatabase(url, connection)
    finally:
        await connection.close()


@pytest.fixture
def process(db: RolledBackDatabase, open_folder: Path) -> AppContext:
    settings = Settings(data=open_folder / "data")
    app_context = AppContext(settings, Storage(db.url, (SECRET_KEY,), None))
    app_context.db = db
    app_context.uses = Uses(db)
    app_context.bulk_clears.db = db
    app_context.delivery.db = db
    return app_context


class FakeJobQueue:
    """Counts how often a worker was woken; no test of a route waits for one."""

    def __init__(self) -> None:
        self.woken = 0

    def wake(self) -> None:
        self.woken += 1


@pytest.fixture
def app(process: AppContext, bare_app: FastAPI) -> FastAPI:
    """The routes are those of one application: FastAPI resolves their dependencies at the first request of each."""
    application = create_app(process, run_worker=False)
    application.router.routes = bare_app.router.routes
    application.state.db, application.state.secrets, application.state.jobs = (
        process.db,
        process.secrets,
        FakeJobQueue(),
    )
    return application


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[ValidatingClient]:
    """Requests without a server; every answer is checked against the models of its route."""
    async with ValidatingClient(app, httpx2.ASGITransport(app=app)) as validating_client:
        yield validating_client


@pytest.fixture(scope="session")
def bare_app() -> FastAPI:
    """The application to walk through; it reaches no database."""
    return create_app(AppContext(Settings(), Storage("", (Fernet.generate_key().decode(),), None)), run_worker=False)


@pytest.fixture
async def key_ids(db: RolledBackDatabase, tenants: TwoTenants) -> dict[str, UUID]:
    """The id of each caller's key."""
    cursor = await db.connection.execute("SELECT user_id, id FROM api_keys")
    of_user = {row["user_id"]: row["id"] for row in await cursor.fetchall()}
    return {kind: of_user[user_id] for kind, user_id in tenants.users.items()}


PEOPLE_ADD = (
    "INSERT INTO teams (space_id, name) VALUES (%(space_id)s, 'data') ON CONFLICT DO NOTHING",
    """
    INSERT INTO team_members (space_id, team_id, user_id)
    SELECT space_id, id, %(user_id)s FROM teams ON CONFLICT DO NOTHING
    """,
    """
    INSERT INTO watches (space_id, pipeline_id, user_id)
    SELECT space_id, id, %(user_id)s FROM pipelines ON CONFLICT DO NOTHING
    """,
    """
    INSERT INTO pipeline_reads (space_id, pipeline_id, read_at)
    SELECT space_id, id, now() FROM pipelines ON CONFLICT DO NOTHING
    """,
    """
    INSERT INTO comments (space_id, run_id, author_id, content)
    SELECT space_id, id, %(user_id)s, 'looked at it' FROM runs
    """,
    """
    INSERT INTO comments (space_id, run_id, task_run_id, author_id, content)
    SELECT space_id, run_id, id, %(user_id)s, 'looked at it' FROM task_runs
    """,
    """
    INSERT INTO saved_views (space_id, user_id, name, query) VALUES (%(space_id)s, %(user_id)s, 'mine', 'status=failed')
    """,
    """
    INSERT INTO actions (space_id, kind, pipeline_id, user_id, body_hash, lease_until)
    SELECT space_id, 'trigger', id, %(user_id)s, '', now() FROM pipelines
    """,
    """
    INSERT INTO actions (space_id, kind, pipeline_id, run_id, user_id, body_hash, lease_until, outcome)
    SELECT space_id, 'clear', pipeline_id, id, %(user_id)s, '', now(), 'done' FROM runs
    """,
    """
    INSERT INTO run_transitions (space_id, connector_id, pipeline_id, run_id, to_status, happened_at, applied_at)
    SELECT r.space_id, p.connector_id, p.id, r.id, 'failed', now(), now()
    FROM runs r JOIN pipelines p ON p.space_id = r.space_id AND p.id = r.pipeline_id
    """,
)


@pytest.fixture
async def two_tenants_full(db: RolledBackDatabase, tenants: TwoTenants) -> TwoTenants:
    """The world with a row in every table of both spaces: also what no sync writes."""
    for space, user in ((tenants.finance, "viewer"), (tenants.marketing, "stranger")):
        async with db.tenant_transaction(space.id):
            for statement in PEOPLE_ADD:
                await db.connection.execute(statement, {"space_id": space.id, "user_id": tenants.users[user]})
    return tenants


def pytest_configure() -> None:
    """Nothing of the caller's environment may change what is tested; logs are what users get."""
    log.configure("json", "warning")
    for name in [name for name in os.environ if name.startswith("WINDSOCK_") and not name.startswith("WINDSOCK_TEST_")]:
        del os.environ[name]
