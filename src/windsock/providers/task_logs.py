"""Lines of a task's log, in one shape for Airflow 2 and 3."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from windsock.providers.scopes import TaskRunId


@dataclass(frozen=True, slots=True, kw_only=True)
class StackFrame:
    """A line of code in a stack trace. `filename` as the provider gives it; `lineno` counts from 1.

    `code`: the line itself, "" where the provider does not give it.
    """

    filename: str
    lineno: int | None
    function: str
    code: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedException:
    """An exception of a log. `type` is its class name; `frames` go from the outermost call to the raising one.

    `is_cause`: another exception of the same line was raised from it or while it was handled.
    """

    type: str
    message: str
    frames: tuple[StackFrame, ...] = ()
    is_cause: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """An entry of a log. `level` is lower case ("error"); None where the provider does not give it.

    `exceptions`: those of a stack trace in this entry, the one that ended the task first, then its causes.
    """

    timestamp: datetime | None
    level: str | None
    logger: str | None
    event: str
    exceptions: tuple[LoggedException, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskLog:
    """The end of a try's log, oldest line first. Secrets are redacted.

    `has_more_before`: earlier lines were read and dropped, or are left with the provider.
    `is_finished`: the try has ended, and no more lines follow. `resume`: the provider's token to read on after these
    lines; None where it has none. `limit`: a sentence that says why the end of the log is missing, or why there is no
    log, in the provider's words; None if it is all there. `first_number`: of the first line in the whole log, from 1.
    """

    lines: tuple[LogLine, ...]
    has_more_before: bool
    is_finished: bool
    resume: str | None = None
    limit: str | None = None
    first_number: int = 1


class TaskLogProvider(Protocol):
    """The part of a provider that reads logs."""

    async def read_log(
        self, task_run: TaskRunId, try_number: int, resume: str | None = None, *, may_continue: bool = False
    ) -> TaskLog:
        """The end of the log of one try; after `resume` what came since. One request, within 20 s.

        `may_continue`: the try may be running still, which one request more finds out; otherwise it counts as ended.
        Raises ProviderFailed where the provider gives nothing.
        """
        ...
