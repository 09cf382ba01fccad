"""A log as it was read at one moment, in the form in which it is cached and answered."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from windsock.failures.log_models import LEVELS, Level
from windsock.http.responses import dump_json
from windsock.providers.airflow import format_exceptions
from windsock.providers.task_logs import LogLine, TaskLog

_OVERHEAD_BYTES = 150
"""Of a line in memory, besides its JSON."""
_RANKS = {"trace": 0, "notset": 0, "warn": 2, "exception": 3, "fatal": 4} | {
    level: rank for rank, level in enumerate(LEVELS)
}


@dataclass(frozen=True, slots=True)
class StoredLine:
    """A TaskLogLine as JSON. `rank`: the place of its level in LEVELS, -1 without one."""

    number: int
    rank: int
    json: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSnapshot:
    """`end`: the number of the last line of the log; `seconds`: how long it took to read."""

    try_number: int
    lines: tuple[StoredLine, ...]
    end: int
    is_finished: bool
    limit: str | None
    as_of: datetime
    seconds: float

    @property
    def size(self) -> int:
        return sum(len(line.json) + _OVERHEAD_BYTES for line in self.lines) + _OVERHEAD_BYTES

    def page(self, *, tail: int, level: Level | None, after: int = 0) -> dict[str, Any]:
        """A TaskLogPage: the last `tail` lines of at least this level behind the line `after`. Its lines are JSON."""
        wanted = [line for line in self.lines if line.number > after and _is_wanted(line, level)]
        shown = wanted[-tail:]
        first_number = self.lines[0].number if self.lines else self.end + 1
        return {
            "try_number": self.try_number,
            "lines": [line.json for line in shown],
            "cursor": str(max(self.end, after)),
            "has_more_before": len(shown) < len(wanted) or first_number > after + 1,
            "is_finished": self.is_finished,
            "limit": self.limit,
            "as_of": self.as_of,
        }


def _is_wanted(line: StoredLine, level: Level | None) -> bool:
    return level is None or line.rank >= LEVELS.index(level)


def take_snapshot(log: TaskLog, *, try_number: int, as_of: datetime, seconds: float) -> LogSnapshot:
    return LogSnapshot(
        try_number=try_number,
        lines=tuple(_stored(log)),
        end=log.first_number + len(log.lines) - 1,
        is_finished=log.is_finished,
        limit=log.limit,
        as_of=as_of,
        seconds=seconds,
    )


def _stored(log: TaskLog) -> Iterator[StoredLine]:
    for number, line in enumerate(log.lines, log.first_number):
        fields = {
            "number": number,
            "timestamp": line.timestamp,
            "level": line.level,
            "logger": line.logger,
            "event": _text_of(line),
        }
        yield StoredLine(number, _RANKS.get(line.level or "", -1), dump_json(fields))


def _text_of(line: LogLine) -> str:
    """With the traceback as Python prints it."""
    return "\n".join(filter(None, (line.event, format_exceptions(line.exceptions))))
