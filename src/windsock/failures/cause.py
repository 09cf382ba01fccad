"""Finds in the log of a failed try what ended it: an exception, a signal, the last lines of a command, or nothing."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from windsock.failures.normalize import clean
from windsock.providers.task_logs import LoggedException, LogLine, StackFrame, TaskLog

MAX_ERROR_LINES = 3
LINES_SEARCHED = 500
"""Before the end of the task, for the words of a command that failed."""
MAX_LINE_CHARACTERS = 2_000
MAX_ENTRY_LINES = 4
"""Of each entry around the end of a try: Airflow explains some signals at length."""


class Kind(StrEnum):
    """How a try ended. The values are part of fingerprints."""

    EXCEPTION = "exception"
    COMMAND = "command"
    TIMEOUT = "timeout"
    STOPPED = "stopped"
    KILLED = "killed"
    TERMINATED = "terminated"
    CRASHED = "crashed"
    LOST = "lost"
    EXECUTOR = "executor"
    UNKNOWN = "unknown"


SENTENCES = {
    Kind.TIMEOUT: "The task took longer than its timeout.",
    Kind.STOPPED: "Stopped: its state was changed in Airflow while it was running.",
    Kind.KILLED: "Killed by SIGKILL, most often because memory ran out.",
    Kind.TERMINATED: "Terminated by a signal.",
    Kind.CRASHED: "Crashed with a segmentation fault.",
    Kind.LOST: "The process or its machine was lost: Airflow fails a task whose heartbeat is missing.",
    Kind.EXECUTOR: "The executor reported a failure before the task could run.",
    Kind.UNKNOWN: "The log has no error.",
}
"""The summary of each kind that has no words of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """`exceptions`: the one that ended the task first, then its causes. `frame`: see `own_frame`.

    `error_lines`: of a command, the last ones before its end. `context`: lines around the error, for people.
    `words`: what Airflow says of the end, where that is all there is.
    """

    kind: Kind
    exceptions: tuple[LoggedException, ...] = ()
    frame: StackFrame | None = None
    error_lines: tuple[str, ...] = ()
    context: tuple[str, ...] = ()
    words: str = ""


# Airflow 2 and 3 say the same in different words. The order decides: a process that was stopped also gets a signal.
_ENDS = (
    (Kind.STOPPED, r"has been externally set to \w+\.|the task shouldn't be running anymore|^Task killed!"),
    (Kind.LOST, r"did not emit heartbeat within|heartbeat timeout|Detected (?:a )?(?:zombie|task instance without)"),
    (Kind.EXECUTOR, r"[Ee]xecutor .{0,300} reported that the task instance .{0,1000} finished with state"),
    (Kind.CRASHED, r"SIGSEGV|segmentation (?:fault|violation)|exited with return code -11\b|exit_?code[=:]? ?-11\b"),
    (Kind.KILLED, r"exited with return code -9\b|terminated by signal\. Likely out of memory|SIGKILL\b"),
    (Kind.TERMINATED, r"exited with return code -\d|Process terminated by signal|Received SIGTERM"),
)
ENDS = tuple((kind, re.compile(pattern)) for kind, pattern in _ENDS)
EXITED = re.compile(r"^Task exited(?: with return code [1-9]| exit_code=|$)|^Process exited abnormally|SystemExit\(")
FINISHED = re.compile(
    r"^Task (?:exited|finished|instance is in state)|^Marking task as|::group::Post |^Process exited|^Pausing task"
)
"""A log with one of these did not break off."""
FAILED = "Task failed with exception"
NOISE = re.compile(
    r"callback|listener|Failed to (?:send|upload|execute job)|Failed to set rendered|heartbeat|openlineage",
    re.IGNORECASE,
)
"""Errors that happen beside the task, or after it."""

TERMINATED_TYPES = {"AirflowTaskTerminated"}
TIMEOUT_TYPES = {"AirflowTaskTimeout"}
SEGFAULT_MESSAGE = "Segmentation Fault detected."
"""Of the AirflowException that Airflow 2 raises in place of the signal."""
GENERIC_TYPES = {"CalledProcessError", "SystemExit", "DbtRunFailed", "PodLaunchFailedException"}
GENERIC_MESSAGE = re.compile(
    r"command (?:has )?(?:failed|returned)|non-zero|exit(?:ed)?[ _]?(?:with )?(?:code|status)|return code"
    r"|Pod .{0,300}(?:returned a failure|failed)|Docker container failed|[Cc]annot execute|SSH operator error"
    r"|(?:Job|Application|Batch|Task) .{0,200}(?:failed|FAILED|is not in success state)"
    r"|could not be found; either it does not exist or it failed to parse|process (?:failed|finished)",
)
"""Words that only say that something else failed."""

ERROR_LIKE = re.compile(
    r"\b\w*(?:Error|Exception)\b|\berror\b|\bERROR\b|\bFATAL\b|\bfatal\b|\bpanic\b|\bCRITICAL\b|\b[Ff]ailed\b"
    r"|\bFAILED\b|\bfailure\b|[Nn]o such file|not found\b|\b[Dd]enied\b|[Rr]efused|\bKilled\b|[Oo]ut of memory"
    r"|OOMKilled|unbound variable|[Tt]imed out|syntax error|\babort(?:ed)?\b"
)
BOILERPLATE = re.compile(
    r"^(?:Task failed with exception|Command exited with return code|Task exited|Output:|::(?:end)?group"
    r"|Failed to execute|Marking task as|Traceback \(most recent|Running command|Process exited|Dag not found during)"
    r"|^\s*(?:File \"|at [\w$.]+\(|[\^~]+\s*$)|^\s+"
)
FOREIGN = re.compile(
    r"/(?:site|dist)-packages/|/lib(?:64)?/python\d|/src/airflow/|^airflow/|^<|/airflow/(?:models|sdk)/"
)


def find_cause(log: TaskLog, state_reason: str | None = None) -> Cause:
    """`state_reason`: Airflow's words for the state of the task, where the log has none."""
    lines = log.lines
    if (end := _find_end(lines, {Kind.STOPPED})) is not None:
        return _ended(Kind.STOPPED, lines, end)
    place = _find_exception(lines)
    if place is not None:
        return _of_exception(lines, place)
    if (end := _find_end(lines, set(Kind))) is not None:
        return _ended(_kind_of(lines[end]), lines, end)
    if (exited := _find_last(lines, EXITED)) is not None:
        return _of_command(lines, exited, lines[exited].event)
    return _without_error(log, state_reason)


def own_frame(exceptions: Sequence[LoggedException]) -> StackFrame | None:
    """The innermost line of the user's own code: not of Python, an installed package or Airflow.

    That of the first cause that has one: it is where the fault is.
    """
    for exception in reversed(exceptions):
        for frame in reversed(exception.frames):
            if not FOREIGN.search(frame.filename.replace("\\", "/")):
                return frame
    return None


def short_type(exception: LoggedException) -> str:
    """The class name without its module, which Airflow 3 leaves out."""
    return exception.type.rsplit(".", 1)[-1]


def first_line(text: str) -> str:
    return next((line.strip() for line in clean(text).splitlines() if line.strip()), "")[:MAX_LINE_CHARACTERS]


def is_generic(exception: LoggedException) -> bool:
    """Whether it only says that something else failed."""
    if short_type(exception) in GENERIC_TYPES:
        return True
    return "Airflow" in short_type(exception) and bool(GENERIC_MESSAGE.search(exception.message))


def _find_exception(lines: Sequence[LogLine]) -> int | None:
    """The entry of the exception that ended the task. Airflow 2 repeats it when the process ends."""
    found = None
    for place, line in enumerate(lines):
        if line.exceptions and (line.event.startswith(FAILED) or (not NOISE.search(first_line(line.event)))):
            found = place if found is None or not lines[found].event.startswith(FAILED) else found
            if line.event.startswith(FAILED):
                found = place
    if found is None:
        return next((place for place, line in enumerate(lines) if line.exceptions), None)
    return found


def _of_exception(lines: Sequence[LogLine], place: int) -> Cause:
    exceptions = lines[place].exceptions
    name = short_type(exceptions[0])
    if name in TERMINATED_TYPES:
        return _ended(Kind.TERMINATED, lines, place)
    if exceptions[0].message.strip() == SEGFAULT_MESSAGE:
        return _ended(Kind.CRASHED, lines, place)
    if name in TIMEOUT_TYPES:
        return Cause(kind=Kind.TIMEOUT, exceptions=exceptions, frame=own_frame(exceptions))
    if all(is_generic(exception) for exception in exceptions):
        for before in range(place - 1, -1, -1):
            if lines[before].exceptions and not is_generic(lines[before].exceptions[0]):
                nearer = lines[before].exceptions
                return Cause(kind=Kind.EXCEPTION, exceptions=nearer, frame=own_frame(nearer))
        return _of_command(lines, place, exceptions[0].message, exceptions)
    return Cause(kind=Kind.EXCEPTION, exceptions=exceptions, frame=own_frame(exceptions))


def _of_command(
    lines: Sequence[LogLine], place: int, words: str, exceptions: tuple[LoggedException, ...] = ()
) -> Cause:
    """A command, container or job whose exception says nothing: its last lines do."""
    begin = max(0, place - LINES_SEARCHED)
    output = [text for line in lines[begin:place] for text in _texts(line)]
    candidates = [text for text in output if not BOILERPLATE.search(text)]
    errors = [text.strip() for text in candidates if ERROR_LIKE.search(text)]
    return Cause(
        kind=Kind.COMMAND,
        exceptions=exceptions,
        frame=own_frame(exceptions),
        error_lines=tuple(errors[-MAX_ERROR_LINES:]),
        context=tuple(output[-20:]),
        words=first_line(words),
    )


def _texts(line: LogLine) -> list[str]:
    marked = "ERROR: " if line.level in {"error", "critical"} and not ERROR_LIKE.search(line.event) else ""
    return [f"{marked}{text[:MAX_LINE_CHARACTERS]}" for text in clean(line.event).splitlines() if text.strip()]


def _find_end(lines: Sequence[LogLine], kinds: set[Kind]) -> int | None:
    """The entry that says how the task ended, of the first kind in the order of ENDS that any entry has."""
    for kind, pattern in ENDS:
        if kind in kinds and (place := _find_last(lines, pattern)) is not None:
            return place
    return None


def _find_last(lines: Sequence[LogLine], pattern: re.Pattern[str]) -> int | None:
    return next((place for place in range(len(lines) - 1, -1, -1) if pattern.search(lines[place].event[:4_000])), None)


def _kind_of(line: LogLine) -> Kind:
    return next(kind for kind, pattern in ENDS if pattern.search(line.event[:4_000]))


def _ended(kind: Kind, lines: Sequence[LogLine], place: int) -> Cause:
    around = [text for line in lines[max(0, place - 10) : place + 1] for text in _texts(line)[:MAX_ENTRY_LINES]]
    return Cause(kind=kind, context=tuple(around[-12:]), words=first_line(lines[place].event))


def _without_error(log: TaskLog, state_reason: str | None) -> Cause:
    tail = [text for line in log.lines[-20:] for text in _texts(line)]
    errors = [line for line in log.lines if line.level in {"error", "critical"}]
    if errors:
        return Cause(kind=Kind.COMMAND, error_lines=(first_line(errors[-1].event),), context=tuple(tail))
    if state_reason:
        return Cause(kind=Kind.UNKNOWN, context=tuple(tail), words=first_line(state_reason))
    broke_off = bool(log.lines) and log.limit is None and _find_last(log.lines, FINISHED) is None
    return Cause(kind=Kind.LOST if broke_off else Kind.UNKNOWN, context=tuple(tail))
