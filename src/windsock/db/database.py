"""Connection pool, tenant-scoped transactions, batches of statements, constraint-to-error mapping."""

import select
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self
from uuid import UUID

import orjson
import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from windsock.db.json_adapters import return_raw_json
from windsock.db.queries import Query, as_literal, render
from windsock.db.sqlstates import classify
from windsock.errors import Overloaded, WindsockError

CONNECTION_OPTIONS = (
    "-c search_path=windsock -c timezone=UTC -c jit=off"
    " -c statement_timeout=60s -c idle_in_transaction_session_timeout=60s"
)
POOL_TIMEOUT_SECONDS = 5.0
MAX_WAITING = 1_000
"""Requests that wait for a connection: as many as the server accepts at the same time."""

SET_TENANT = Query(
    "SELECT set_config('windsock.space_id', %(space_id)s::text, true), set_config('enable_memoize', 'off', true)"
)
"""A page looks up each row once, so that memoizing lookups costs and saves nothing."""

SET_USER = Query("SELECT set_config('windsock.user_id', %(user_id)s::text, true)")

PING = Query("SELECT 1 AS one")
BUSY = "All connections to the database are in use. Nothing was changed; try again in a moment."

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Statement:
    """A query with its parameters. `prepare`: plan it once per connection, not for these parameters each time."""

    query: Query
    parameters: Mapping[str, object]
    prepare: bool = True


class Connection(psycopg.AsyncConnection[DictRow]):
    """Stores why the last attempt to connect failed: the pool reports only that it timed out."""

    last_failure: ClassVar[tuple[float, psycopg.OperationalError] | None] = None

    @classmethod
    async def connect(cls, conninfo: str = "", **options: Any) -> Self:  # noqa: ANN401 - options of psycopg
        try:
            return await super().connect(conninfo, **options)
        except psycopg.OperationalError as error:
            Connection.last_failure = time.monotonic(), error
            raise


async def _fetch_batch(connection: Connection, statements: Sequence[Statement]) -> list[list[Row]]:
    """Execute statements in one round trip; return the rows of each, JSON columns as bytes.

    Outside a transaction they form one. `prepare=None` must not be used: psycopg would prepare a statement after some
    executions, and regard it as prepared even when an earlier error in the pipeline prevented that.
    """
    cursors = []
    async with connection.pipeline():
        for statement in statements:
            cursor = connection.cursor(binary=True)
            return_raw_json(cursor)
            query = render(statement.query, statement.parameters)
            cursors.append(await cursor.execute(query, statement.parameters, prepare=statement.prepare))
    return [await cursor.fetchall() for cursor in cursors]


class Transaction:
    """One open transaction. Queries come from .sql files; parameters are named as in the query."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def fetch_all(self, query: Query, /, **parameters: object) -> list[Row]:
        return await (await self._execute(query, parameters)).fetchall()

    async def fetch_one(self, query: Query, /, **parameters: object) -> Row | None:
        return await (await self._execute(query, parameters)).fetchone()

    async def fetch_json(self, query: Query, /, **parameters: object) -> list[Row]:
        """Rows for a response: JSON columns are bytes."""
        return (await self.fetch_batch(Statement(query, parameters)))[0]

    async def fetch_batch(self, *statements: Statement) -> list[list[Row]]:
        """Execute statements in one round trip; return the rows of each. They must not depend on each other."""
        return await _fetch_batch(self._connection, statements)

    async def execute(self, query: Query, /, **parameters: object) -> int:
        """Execute and return the number of affected rows."""
        return (await self._execute(query, parameters)).rowcount

    async def _execute(self, query: Query, parameters: Mapping[str, object]) -> psycopg.AsyncCursor[Row]:
        # Planned for its parameters each time: a sync fills tables, and a generic plan made for few rows scans them.
        return await self._connection.execute(render(query, parameters), parameters, prepare=False)

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        """A part of the transaction that an exception undoes without ending the transaction."""
        async with self._connection.transaction():
            yield

    async def copy_rows(self, query: Query, types: Sequence[str], rows: Iterable[Sequence[object]], /) -> None:
        """Give these rows, of columns of these types, to a COPY … FROM STDIN (FORMAT BINARY)."""
        async with self._connection.cursor().copy(as_literal(query)) as copy:
            copy.set_types(types)
            for row in rows:
                await copy.write_row(row)


class Reader(Protocol):
    """Executes read-only statements: a space, or an open transaction."""

    async def fetch_batch(self, *statements: Statement) -> list[list[Row]]: ...


@dataclass(frozen=True, slots=True)
class Actor:
    """The user who makes a change; the database writes it into the audit trail."""

    user_id: UUID
    api_key_id: UUID | None
    """None for a change on a page."""
    request_id: str | None


def _actor_json(actor: Actor | None) -> str:
    return "" if actor is None else orjson.dumps(actor).decode()


class Database:
    """The application's role on one database. Open it before use, close it after."""

    def __init__(self, url: str, *, pool_size: int) -> None:
        self.url = url
        conninfo = make_conninfo(url, options=CONNECTION_OPTIONS, application_name="windsock")
        self._in_use = 0
        self._pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            conninfo,
            min_size=1,
            max_size=pool_size,
            max_waiting=MAX_WAITING,
            timeout=POOL_TIMEOUT_SECONDS,
            # Delays between attempts double: with the default of 300 s they would outlast an outage by minutes.
            reconnect_timeout=5.0,
            open=False,
            connection_class=Connection,
            check=_is_alive,
            # One statement outside a transaction is one round trip, where a transaction would make it three.
            kwargs={"row_factory": dict_row, "autocommit": True},
        )

    async def open(self) -> None:
        await self._pool.open(wait=True, timeout=30)
        await self.require_unprivileged_role()

    async def close(self) -> None:
        await self._pool.close()

    async def fetch_one(self, query: Query, /, **parameters: object) -> Row | None:
        """The first row of one read-only statement outside any space, prepared, without a transaction around it."""
        async with self._connection() as connection:
            cursor = await connection.execute(render(query, parameters), parameters, prepare=True)
            return await cursor.fetchone()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """A transaction outside any space: users, keys, the list of spaces."""
        async with self._connection() as connection, connection.transaction():
            yield Transaction(connection)

    @asynccontextmanager
    async def tenant_transaction(self, space_id: UUID, actor: Actor | None = None) -> AsyncIterator[Transaction]:
        """A transaction in which row-level security shows this space and nothing else."""
        async with self._connection() as connection, connection.transaction():
            await connection.execute(
                "SELECT set_config('windsock.space_id', %s, true), set_config('windsock.actor', %s, true)",
                (str(space_id), _actor_json(actor)),
            )
            yield Transaction(connection)

    async def fetch_batch(self, space_id: UUID, *statements: Statement) -> list[list[Row]]:
        """Execute read-only statements in this space in one round trip; return the rows of each.

        They are one transaction of their own, in which row-level security shows this space and nothing else.
        """
        return await self._fetch_within(Statement(SET_TENANT, {"space_id": str(space_id)}), statements)

    async def fetch_batch_of_user(self, user_id: UUID, *statements: Statement) -> list[list[Row]]:
        """As fetch_batch, outside any space; a user's own memberships are visible."""
        return await self._fetch_within(Statement(SET_USER, {"user_id": str(user_id)}), statements)

    async def _fetch_within(self, setting: Statement, statements: Sequence[Statement]) -> list[list[Row]]:
        async with self._connection() as connection:
            _, *found = await _fetch_batch(connection, (setting, *statements))
        return found

    @asynccontextmanager
    async def user_transaction(self, actor: Actor) -> AsyncIterator[Transaction]:
        """A transaction outside any space in which a user's own memberships are visible."""
        async with self._connection() as connection, connection.transaction():
            await connection.execute(
                "SELECT set_config('windsock.user_id', %s, true), set_config('windsock.actor', %s, true)",
                (str(actor.user_id), _actor_json(actor)),
            )
            yield Transaction(connection)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        with map_connection_errors():
            try:
                async with self._pool.connection() as connection:
                    self._in_use += 1
                    try:
                        yield connection
                    finally:
                        self._in_use -= 1
            except PoolTimeout as error:
                raise self._explain_timeout(error) from error

    def _explain_timeout(self, error: PoolTimeout) -> Exception:
        """The pool reports only a timeout: all connections were in use, or none could be opened."""
        if self._in_use >= self._pool.max_size:
            return Overloaded(BUSY, headers={"Retry-After": "5"})
        failed_at, failure = Connection.last_failure or (0.0, error)
        return failure if time.monotonic() - failed_at < POOL_TIMEOUT_SECONDS * 2 else error

    async def ping(self) -> None:
        """Raise DatabaseFailed, with the reason that requests receive, unless the database responds."""
        await self.fetch_one(PING)

    async def require_unprivileged_role(self) -> None:
        async with self._connection() as connection:
            cursor = await connection.execute(
                "SELECT current_user AS name, r.rolsuper OR r.rolbypassrls OR EXISTS (SELECT FROM pg_class c"
                " WHERE c.relnamespace = 'windsock'::regnamespace AND pg_has_role(c.relowner, 'USAGE')) AS bypasses_rls"
                " FROM pg_roles r WHERE r.rolname = current_user"
            )
            role = await cursor.fetchone()
        if role is None or role["bypasses_rls"]:
            name = role["name"] if role else "this role"
            raise WindsockError(
                f"The application must not connect as {name}: it is a superuser or owns the tables, so row-level "
                "security would not hold it. Give WINDSOCK_DATABASE_APP_URL another role."
            )


@contextmanager
def map_connection_errors() -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        if (classified := classify(error)) is None:
            raise
        raise classified from error


async def _is_alive(connection: psycopg.AsyncConnection[DictRow]) -> None:
    """An idle connection with something to read has been closed by the server; costs no round trip."""
    readable = select.poll()  # unlike select(), it takes file descriptors beyond 1023
    if not connection.closed:
        readable.register(connection.fileno(), select.POLLIN)
    if connection.closed or readable.poll(0):
        await connection.close()  # the pool would take a connection back that looks open, and offer it again
        raise psycopg.OperationalError("the server closed this connection")


@contextmanager
def map_constraint_errors(sentences: Mapping[str, WindsockError]) -> Iterator[None]:
    """Raise the error of a violated constraint, by its name; other violations pass unchanged."""
    try:
        yield
    except psycopg.IntegrityError as violation:
        if error := sentences.get(violation.diag.constraint_name or ""):
            raise error from violation
        raise
