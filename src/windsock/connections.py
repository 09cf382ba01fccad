"""Connections to PostgreSQL that do not go through the event loop for what is there within a moment."""

import re
import select
import time
from typing import Any, Self

import psycopg
from psycopg.abc import RV, PQGen
from psycopg.pq import DiagnosticField
from psycopg.pq.abc import PGresult
from psycopg.rows import DictRow
from psycopg.waiting import Ready, Wait

MOMENT_SECONDS = 0.0002
"""How long the event loop stands still for an answer, while nothing else is being asked for."""
MOST_SECONDS_AT_ONCE = 0.004
"""Of an answer that comes and comes; then others have their turn."""
LAST_SELECTABLE = 1023
"""select() takes no file descriptor beyond that; poll() counts in milliseconds."""

OUT_OF_CONNECTIONS = re.compile("too many (?:clients|connections)|connection slots are reserved")
"""PostgreSQL's words (SQLSTATE 53300): of a refused connection libpq gives no code. They are in English unless
lc_messages says otherwise, and then such a refusal counts as an outage."""

_waiting = 0


_last_refusal: tuple[float, psycopg.OperationalError] | None = None


def find_recent_refusal(seconds: float) -> psycopg.OperationalError | None:
    """Why no connection could be made within the last seconds: those who waited for one learn only that they waited."""
    if _last_refusal is None or time.monotonic() - _last_refusal[0] > seconds:
        return None
    return _last_refusal[1]


class Connection(psycopg.AsyncConnection[DictRow]):
    """A round trip on a unix socket takes less time than the event loop needs to look for it.

    And PostgreSQL sends a page of rows in pieces of 8 KB: sixty turns of the loop for one answer.
    """

    @classmethod
    async def connect(cls, conninfo: str = "", **more: Any) -> Self:  # noqa: ANN401 - handed through
        """Raises TooManyConnections where PostgreSQL has none left."""
        global _last_refusal  # noqa: PLW0603 - there is one database of a process
        try:
            return await super().connect(conninfo, **more)
        except psycopg.OperationalError as error:
            _last_refusal = time.monotonic(), error
            if not OUT_OF_CONNECTIONS.search(str(error)):
                raise
            _last_refusal = time.monotonic(), psycopg.errors.TooManyConnections(str(error))
            raise _last_refusal[1] from error

    async def wait(self, gen: PQGen[RV], *args: Any, **more: Any) -> RV:  # noqa: ANN401 - handed through
        return await super().wait(_at_once(gen, self.pgconn.socket), *args, **more)


def _at_once(gen: PQGen[RV], descriptor: int) -> PQGen[RV]:
    """The same generator, to which what is ready is given without asking the event loop."""
    global _waiting  # noqa: PLW0603 - there is one event loop in a process
    try:
        wanted = next(gen)
        started = time.monotonic()
        while True:
            ready = _soon(descriptor, wanted) if time.monotonic() - started < MOST_SECONDS_AT_ONCE else 0
            if not ready:
                _waiting += 1
                try:
                    ready = yield wanted
                finally:
                    _waiting -= 1
                started = time.monotonic()
            wanted = gen.send(ready)
    except StopIteration as end:
        result: RV = end.value
        return result


def _soon(descriptor: int, wanted: Wait) -> int:
    """Poll the socket once; return the ready events, 0 if there are none."""
    if descriptor > LAST_SELECTABLE:
        return 0
    reads, writes, _ = select.select(
        [descriptor] if wanted & Wait.R else [],
        [descriptor] if wanted & Wait.W else [],
        [],
        0 if _waiting else MOMENT_SECONDS,
    )
    return (Ready.R if reads else 0) | (Ready.W if writes else 0)


def readable_soon(descriptor: int) -> bool:
    """Whether there is something to read within a moment."""
    return bool(_soon(descriptor, Wait.R))


def error_of(result: PGresult) -> psycopg.Error:
    """Return the error of a failed result as psycopg's own methods raise it, without diagnostics."""
    state = (result.error_field(DiagnosticField.SQLSTATE) or b"").decode()
    try:
        kind = psycopg.errors.lookup(state)
    except KeyError:
        kind = psycopg.DatabaseError
    error = kind(result.error_message.decode(errors="replace").strip())
    error.sqlstate = state or None
    return error
