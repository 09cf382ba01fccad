"""Classifies errors of PostgreSQL by their SQLSTATE: outages, overload, conflicts, values that cannot be stored.

Psycopg's exception classes are no help: its OperationalError holds a lost connection and a row that is too large for an
index. Codes: https://www.postgresql.org/docs/current/errcodes-appendix.html
"""

import re
import struct

import psycopg
from psycopg_pool import TooManyRequests

from windsock.errors import DatabaseFailed, DiskFull, Invalid, Overloaded, StatementTimedOut, Unavailable, WindsockError

OUTAGES = ("08", "25P03", "57P")
"""Connections that failed or that the server ended: shutdown, crash, start-up, idle for too long."""
OUT_OF_CONNECTIONS = re.compile("too many (?:clients|connections)|connection slots are reserved")
"""PostgreSQL's messages for SQLSTATE 53300: libpq reports no code for a refused connection. In another language
(lc_messages) such a refusal counts as an outage."""
UNSTORABLE = ("22", "23", "54")
"""Data exceptions, violated constraints, and values beyond a limit (an index row has at most 2,704 bytes)."""

AWAY = "The database cannot be reached right now. Nothing was changed; try again in a moment."
FULL = "The database has no memory or connections left for this. Nothing was changed; try again in a moment."
OVERTAKEN = "Another change of the same data was faster. Nothing was changed; try again in a moment."
SENTENCES: dict[str, tuple[type[DatabaseFailed], str, int]] = {
    **dict.fromkeys(OUTAGES, (Unavailable, AWAY, 5)),
    "25006": (Unavailable, "The database is read-only right now. Nothing was changed; try again in a moment.", 5),
    "40": (DatabaseFailed, OVERTAKEN, 1),
    "53100": (DiskFull, "The disk of the database is full. Nothing was changed.", 60),
    "53": (Overloaded, FULL, 5),
    "55P03": (DatabaseFailed, OVERTAKEN, 1),
    "57014": (StatementTimedOut, "The database needed longer than 60 s for this; narrow the request.", 0),
    "58": (Unavailable, "The database reports a failure of its system; its log says which. Nothing was changed.", 5),
}
"""By the longest beginning of the SQLSTATE; the number is Retry-After in seconds (0: trying again does not help)."""


CLIENT_REFUSALS = (psycopg.DataError, OverflowError, RecursionError, UnicodeError, struct.error)
"""Raised before a value is sent: numbers beyond 64 bits, text with U+0000, JSON that is nested too deeply."""


def is_unstorable(error: Exception) -> bool:
    """True when a value of the statement is the cause, so that the statement may succeed without that value."""
    if isinstance(error, psycopg.Error) and error.sqlstate is not None:
        return error.sqlstate.startswith(UNSTORABLE)
    return isinstance(error, CLIENT_REFUSALS)


def classify(error: psycopg.Error) -> WindsockError | None:
    """The error a caller receives; None for data exceptions, violations and faults, which pass unchanged.

    An error without a SQLSTATE was raised by the client: the connection, or the pool.
    """
    if isinstance(error, TooManyRequests):
        return _build(Overloaded, "Too many requests are waiting for the database. Try again in a moment.", 5)
    if error.sqlstate is None:
        if OUT_OF_CONNECTIONS.search(str(error)):
            return _build(*SENTENCES["53"])
        is_lost = isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
        return _build(Unavailable, AWAY, 5) if is_lost else None
    if error.sqlstate.startswith("54"):
        return Invalid("A value is larger than the database can store.", loc=())
    known = max((state for state in SENTENCES if error.sqlstate.startswith(state)), key=len, default=None)
    return None if known is None else _build(*SENTENCES[known])


def _build(kind: type[DatabaseFailed], sentence: str, retry_after: int) -> DatabaseFailed:
    return kind(sentence, headers={"Retry-After": str(retry_after)} if retry_after else None)
