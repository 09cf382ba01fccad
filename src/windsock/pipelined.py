"""Executes several statements in one round trip and one transaction.

In libpq's pipeline mode (https://www.postgresql.org/docs/current/libpq-pipeline-mode.html): all of them are sent, then
all that they found is read. What stands before one synchronization point is one transaction, without BEGIN and COMMIT.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import abc
from psycopg.abc import Buffer, PQGen
from psycopg.adapt import AdaptersMap, Loader, PyFormat, Transformer
from psycopg.pq import ConnStatus, ExecStatus, Format
from psycopg.pq.abc import PGconn, PGresult
from psycopg.types.string import ByteaBinaryLoader
from psycopg.waiting import Ready, Wait

from windsock.connections import Connection, error_of
from windsock.sql import Query, render, to_positional

MAX_PREPARED_STATEMENTS = 100
"""Statements of one connection, those that were asked last: as psycopg keeps them."""

Rows = list[dict[str, Any]]


class RawJsonbLoader(Loader):
    """jsonb as bytes: behind the one that says which version of jsonb it is."""

    format = Format.BINARY

    def load(self, data: Buffer) -> bytes:
        return bytes(data)[1:]


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement. `prepare`: PostgreSQL plans it once per connection, not anew for these values."""

    query: Query
    parameters: Mapping[str, object]
    prepare: bool = True


@dataclass(frozen=True, slots=True)
class _Context:
    adapters: AdaptersMap
    connection: psycopg.AsyncConnection[Any]


class BatchConnection(Connection):
    """A connection that can also do that. Its statements are its own.

    Psycopg must prepare none beside them (`prepare_threshold=None`): it forgets its own by DEALLOCATE ALL.
    """

    def __init__(self, *args: Any, **more: Any) -> None:  # noqa: ANN401 - handed through
        super().__init__(*args, **more)
        self._statements: dict[tuple[bytes, tuple[int, ...]], bytes] = {}
        self._numbers = itertools.count()
        self._adapt: abc.Transformer | None = None

    async def fetch_batch(self, statements: Sequence[Statement]) -> list[Rows]:
        """The rows of each, JSON columns unparsed, as bytes. Raises the first error there is."""
        if self._adapt is None:
            adapters = AdaptersMap(self.adapters)
            adapters.register_loader("json", ByteaBinaryLoader)
            adapters.register_loader("jsonb", RawJsonbLoader)
            self._adapt = Transformer(_Context(adapters, self))
        adapt = self._adapt
        async with self.lock:
            before = dict(self._statements)
            try:
                self.pgconn.enter_pipeline_mode()
                sent = [name for statement in statements for name in self._send(statement, adapt)]
                self.pgconn.pipeline_sync()
                results = await self.wait(_drain_results(self.pgconn))
                self.pgconn.exit_pipeline_mode()
            except BaseException:
                await self.close()  # in the middle of a pipeline it is of no use to anybody
                raise
            refused = next((result for result in results if result.status == ExecStatus.FATAL_ERROR), None)
            if refused is None:
                return [_rows(result, adapt) for result in results if result.status == ExecStatus.TUPLES_OK]
            # Behind it nothing was done: of the statements only what was done before it counts.
            done = {name for name, result in zip(sent, results, strict=True) if result.status == ExecStatus.COMMAND_OK}
            all_of_them = (before | self._statements).items()
            self._statements = {key: name for key, name in all_of_them if (key in before) != (name in done)}
            raise error_of(refused)

    def _send(self, statement: Statement, adapt: abc.Transformer) -> Iterator[bytes | None]:
        """For each result that there will be the statement that is made or forgotten, None for that of the question."""
        text, names = to_positional(render(statement.query, statement.parameters))
        arguments = [statement.parameters[name] for name in names]
        values = adapt.dump_sequence(arguments, [PyFormat.AUTO] * len(arguments))
        types, formats = adapt.types or (), adapt.formats
        if not statement.prepare:
            self.pgconn.send_query_params(text, values, types, formats, Format.BINARY)
            yield None
            return
        name = self._statements.pop((text, types), None)
        if name is None:
            name = f"read_{next(self._numbers)}".encode()
            self.pgconn.send_prepare(name, text, types)
            yield name
        self._statements[text, types] = name
        self.pgconn.send_query_prepared(name, values, formats, Format.BINARY)
        yield None
        if len(self._statements) > MAX_PREPARED_STATEMENTS:
            oldest = self._statements.pop(next(iter(self._statements)))
            self.pgconn.send_query_params(b"DEALLOCATE " + oldest, None)
            yield oldest


def _rows(result: PGresult, adapt: abc.Transformer) -> Rows:
    names = [(result.fname(column) or b"").decode() for column in range(result.nfields)]
    adapt.set_pgresult(result)
    return adapt.load_rows(0, result.ntuples, lambda values: dict(zip(names, values, strict=True)))


def _drain_results(libpq: PGconn) -> PQGen[list[PGresult]]:
    """Sends what is to be sent, and gives all results until the synchronization point."""
    while libpq.flush():
        if (yield Wait.RW) & Ready.R:
            libpq.consume_input()
    results: list[PGresult] = []
    while True:
        while libpq.is_busy():
            yield Wait.R
            libpq.consume_input()
        result = libpq.get_result()
        if libpq.status != ConnStatus.OK:
            raise psycopg.OperationalError("the connection to the database was lost")
        if result is None:  # it stands between a statement's result and that of the next
            continue
        if result.status == ExecStatus.PIPELINE_SYNC:
            return results
        results.append(result)
