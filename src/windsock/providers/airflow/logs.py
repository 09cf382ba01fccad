"""Reads the log of one try from Airflow as a stream, and keeps its end.

Measured on 3.3.2 and 2.11.2: a stream (x-ndjson, text/plain) always begins at the first line. The token of its header
Airflow-Continuation-Token holds no position, and the JSON answer, whose token does, is built in the memory of the
server. So the lines that were read before are received again and counted, up to MAX_READ_BYTES.
"""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass

from windsock.errors import ProviderFailed, ProviderTimedOut
from windsock.providers.airflow import log_lines
from windsock.providers.airflow.auth import AuthenticatedClient
from windsock.providers.airflow.dialect import Dialect
from windsock.providers.airflow.log_tail import MAX_READ_BYTES, READ_SECONDS, LogTail
from windsock.providers.airflow.tries import has_ended, region_params, task_path
from windsock.providers.redaction import redact_secrets
from windsock.providers.scopes import NOT_MAPPED, TaskRunId
from windsock.providers.task_logs import LogLine, TaskLog

TOO_LARGE = (
    f"This log is larger than {MAX_READ_BYTES // 1024 // 1024} MB. Airflow delivers a log from its beginning only, and "
    "Windsock stops there: the newest lines are not among these. Open the log in Airflow."
)
TOO_SLOW = f"Airflow did not deliver the whole log within {READ_SECONDS:g} s: the newest lines are missing."
TOO_SLOW_TO_BEGIN = (
    f"Airflow did not begin to deliver the log within {READ_SECONDS:g} s: it is busy, or the log is very large. Open "
    "the log in Airflow."
)
_LARGE_TO_PARSE = 32 * 1024


@dataclass(frozen=True, slots=True)
class LogRequest:
    """As TaskLogProvider.read_log takes it."""

    task_run: TaskRunId
    try_number: int
    resume: str | None
    may_continue: bool


async def read_log(
    session: AuthenticatedClient, dialect: Dialect, which: LogRequest, secrets: Collection[str]
) -> TaskLog:
    """Raises ProviderFailed where nothing was delivered; what was is given, with the reason in `limit`."""
    task_run = which.task_run
    path = f"{task_path(dialect, task_run, 'log')}/logs/{which.try_number}"
    params = region_params(task_run)
    if task_run.map_index != NOT_MAPPED:
        params["map_index"] = str(task_run.map_index)
    tail, limit = _tail(dialect, skip=_position(which.resume)), None
    accept = "application/x-ndjson" if dialect.name == "v2" else "text/plain"
    is_finished = not which.may_continue
    try:
        async with asyncio.timeout(READ_SECONDS):
            if which.may_continue:  # before the log: a try that ends meanwhile may write more than is read
                is_finished = await has_ended(session.get, dialect, task_run, which.try_number)
            await session.stream(path, params, tail, accept)
    except (TimeoutError, ProviderTimedOut) as failure:
        if not tail.has_begun:
            raise ProviderTimedOut(TOO_SLOW_TO_BEGIN) from failure
        limit = TOO_SLOW
    except ProviderFailed as failure:
        if not tail.has_begun:
            raise
        limit = f"The log broke off: {failure}"
    tail.close(is_whole=limit is None)
    if tail.is_cut:
        limit = TOO_LARGE
    entries = list(tail.entries)
    if sum(map(len, entries)) > _LARGE_TO_PARSE:
        lines = await asyncio.to_thread(_parse, dialect, entries, secrets)
    else:
        lines = _parse(dialect, entries, secrets)
    if not tail.count and limit is None:
        words = log_lines.source_words(tail.header, lambda text: redact_secrets(text, secrets))
        limit = f"Airflow has no lines of this log. It says: {words}" if words else "The log is empty."
    return TaskLog(
        lines=tuple(lines),
        has_more_before=tail.count > len(lines),
        is_finished=is_finished,
        resume=str(tail.count),
        limit=limit,
        first_number=tail.count - len(lines) + 1,
    )


def _position(resume: str | None) -> int:
    return int(resume) if resume and resume.isascii() and resume.isdigit() else 0


def _tail(dialect: Dialect, *, skip: int) -> LogTail:
    if dialect.name == "v2":
        return LogTail("application/x-ndjson", lambda _: True, lambda _line, _number: False, skip=skip)
    return LogTail("text/plain", _starts_text_entry, _is_text_header, skip=skip)


def _starts_text_entry(line: bytes) -> bool:
    return log_lines.ENTRY_OF_TEXT.match(line) is not None


def _is_text_header(line: bytes, number: int) -> bool:
    """The name of the host comes first."""
    return line.startswith(b"***") or (number == 0 and not _starts_text_entry(line))


def _parse(dialect: Dialect, entries: list[bytearray], secrets: Collection[str]) -> list[LogLine]:
    parse = log_lines.parse_record if dialect.name == "v2" else log_lines.parse_text
    return [parse(bytes(entry), lambda text: redact_secrets(text, secrets)) for entry in entries]
