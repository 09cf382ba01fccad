"""Questions that every request begins with: each one statement, prepared, on a connection that all of them share.

In libpq's pipeline mode (https://www.postgresql.org/docs/current/libpq-pipeline-mode.html): a question is sent while
others are still being answered, and its answer found by its place. So none waits for a connection of its own, and the
event loop watches one socket all the time, where psycopg's `execute` would begin and end watching for each.
"""

import asyncio
import itertools
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.adapt import Transformer
from psycopg.pq import ExecStatus, Format
from psycopg.pq.abc import PGresult

from windsock.connections import Connection, error_of, find_recent_refusal, readable_soon
from windsock.sql import to_positional

MOST_WAITING = 2_000
"""Questions that are asked at the same time."""
MOST_SECONDS = 65.0
"""PostgreSQL ends a statement after 60; what has said nothing after that is a connection to nobody."""
PAUSE_SECONDS = 0.1
"""Between two attempts to connect."""

Value = bytes | str | None
"""For a place that takes bytea or text."""
Answer = dict[str, Any] | None


@dataclass(slots=True)
class _Statement:
    name: bytes
    text: bytes
    parameters: tuple[str, ...]
    names: list[str] | None = None
    loaders: list[Callable[[bytes], Any]] | None = None

    @classmethod
    def of(cls, query: str, number: int) -> "_Statement":
        return cls(f"question_{number}".encode(), *to_positional(query))

    def row(self, result: PGresult) -> Answer:
        """The first row, if there is one."""
        if self.loaders is None or self.names is None:
            columns, adapt = range(result.nfields), Transformer()
            self.names = [(result.fname(one) or b"").decode() for one in columns]
            self.loaders = [adapt.get_loader(result.ftype(one), Format.BINARY).load for one in columns]
        if not result.ntuples:
            return None
        values = [result.get_value(0, column) for column in range(len(self.loaders))]
        loaded = [None if value is None else load(value) for load, value in zip(self.loaders, values, strict=True)]
        return dict(zip(self.names, loaded, strict=True))


@dataclass(slots=True)
class _Asked:
    query: str
    statement: _Statement
    answer: asyncio.Future[Answer]
    since: float
    row: Answer = None
    error: psycopg.Error | None = None


class _Line:
    """One connection; if it breaks, all pending queries fail and a new one is opened."""

    def __init__(self, connection: psycopg.AsyncConnection[Any]) -> None:
        self._connection, self._libpq = connection, connection.pgconn
        self._loop = asyncio.get_running_loop()
        self._statements: dict[str, _Statement] = {}
        self._waiting: deque[_Asked] = deque()
        self._numbers, self._writes = itertools.count(), False
        self.is_open = True
        self._libpq.nonblocking = 1
        self._libpq.enter_pipeline_mode()
        self._descriptor = self._libpq.socket
        self._loop.add_reader(self._descriptor, self._read)

    def ask(self, query: str, parameters: Mapping[str, Value]) -> asyncio.Future[Answer]:
        answer: asyncio.Future[Answer] = self._loop.create_future()
        if len(self._waiting) >= MOST_WAITING:
            answer.set_exception(psycopg.OperationalError(f"{MOST_WAITING} questions are waiting for the database"))
            return answer
        statement, now = self._statements.get(query) or _Statement.of(query, next(self._numbers)), self._loop.time()
        given = [parameters[name] for name in statement.parameters]
        values = [one.encode() if isinstance(one, str) else one for one in given]
        # From here on it has its place, by which its answer is found: whatever goes wrong ends the whole line.
        self._waiting.append(_Asked(query, statement, answer, now))
        if now - self._waiting[0].since > MOST_SECONDS:
            self.close(f"no answer for {MOST_SECONDS:g} s")
            return answer
        try:
            self._send(query, statement, values)
        except psycopg.Error as error:
            self.close(error)
        if len(self._waiting) == 1 and readable_soon(self._descriptor):
            self._read()
        return answer

    def _send(self, query: str, statement: _Statement, values: list[bytes | None]) -> None:
        if query not in self._statements:
            self._statements[query] = statement
            self._libpq.send_prepare(statement.name, statement.text)
        binary = [Format.BINARY] * len(values)  # as text, a value would end at its first zero byte
        self._libpq.send_query_prepared(statement.name, values, param_formats=binary, result_format=Format.BINARY)
        self._libpq.pipeline_sync()
        self._write()

    def _write(self) -> None:
        """All that there is to send; what the socket does not take now goes when it does."""
        is_left = bool(self._libpq.flush())
        if is_left and not self._writes:
            self._loop.add_writer(self._descriptor, self._go_on_writing)
        elif self._writes and not is_left:
            self._loop.remove_writer(self._descriptor)
        self._writes = is_left

    def _go_on_writing(self) -> None:
        try:
            self._write()
        except psycopg.Error as error:
            self.close(error)

    def _read(self) -> None:
        try:
            self._libpq.consume_input()
            while self._waiting and not self._libpq.is_busy():
                result = self._libpq.get_result()
                if result is not None:  # it stands between a statement's result and that of the next
                    self._take(result)
        except (psycopg.Error, ValueError) as error:  # ValueError: a value that cannot be read
            self.close(error)

    def _take(self, result: PGresult) -> None:
        asked = self._waiting[0]
        if result.status == ExecStatus.TUPLES_OK:
            asked.row = asked.statement.row(result)
        elif result.status == ExecStatus.PIPELINE_SYNC:
            self._waiting.popleft()
            if not asked.answer.done():
                asked.answer.set_exception(asked.error) if asked.error else asked.answer.set_result(asked.row)
        elif result.status == ExecStatus.FATAL_ERROR:
            asked.error = error_of(result)
            if asked.statement.loaders is None:
                self._statements.pop(asked.query, None)  # it may not even be prepared

    def close(self, why: object = "the connection was closed") -> None:
        """Fail all pending queries with psycopg.OperationalError."""
        if not self.is_open:
            return
        self.is_open = False
        self._loop.remove_reader(self._descriptor)
        if self._writes:
            self._loop.remove_writer(self._descriptor)
        self._libpq.finish()
        for asked in self._waiting:
            if not asked.answer.done():
                asked.answer.set_exception(psycopg.OperationalError(str(why)))
        self._waiting.clear()


class Questions:
    """A shared PostgreSQL connection in pipeline mode. Connects on first use."""

    def __init__(self, conninfo: str, *, patience_seconds: float) -> None:
        self._conninfo, self._patience = conninfo, patience_seconds
        self._connecting = asyncio.Lock()
        self._line: _Line | None = None

    async def row(self, query: str, parameters: Mapping[str, Value]) -> Answer:
        """The first row, its columns by name, or None; places in the query are named (`%(name)s`).

        Asked once more where the connection breaks meanwhile, so it must be a question that may be asked twice.
        Raises psycopg.OperationalError where there is no connection within `patience_seconds`.
        """
        line = self._line if self._line is not None and self._line.is_open else await self._open_line()
        try:
            return await line.ask(query, parameters)
        except psycopg.OperationalError:
            if line.is_open:
                raise
        return await (await self._open_line()).ask(query, parameters)

    def close(self) -> None:
        if self._line is not None:
            self._line.close()

    async def _open_line(self) -> _Line:
        try:
            async with asyncio.timeout(self._patience), self._connecting:
                while self._line is None or not self._line.is_open:
                    self._line = await self._connected()
                return self._line
        except TimeoutError:
            refusal = find_recent_refusal(self._patience)
            raise refusal or psycopg.OperationalError(f"no connection within {self._patience:g} s") from None

    async def _connected(self) -> _Line | None:
        try:
            return _Line(await Connection.connect(self._conninfo, autocommit=True))
        except psycopg.OperationalError:
            await asyncio.sleep(PAUSE_SECONDS)
            return None
