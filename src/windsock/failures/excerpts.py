"""Error excerpts: what ended a try, in one line and in at most 4 KB."""

from collections.abc import Iterator
from dataclasses import dataclass

from windsock.failures.cause import SENTENCES, Cause, Kind, find_cause, first_line, own_frame, short_type
from windsock.failures.normalize import clean
from windsock.providers.redaction import redact_secrets
from windsock.providers.task_logs import LoggedException, StackFrame, TaskLog

MAX_EXCERPT_BYTES = 4_096
MAX_SUMMARY_CHARACTERS = 300
CUT = "\n[…]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Excerpt:
    """`summary` is one line. `exception_type` and `message` are None where no exception ended the try.

    `own_frame`: `load.py:14 in lookup`, the last line of the user's own code.
    """

    cause: Cause
    summary: str
    text: str
    exception_type: str | None = None
    message: str | None = None
    own_frame: str | None = None


def make_excerpt(log: TaskLog, state_reason: str | None = None) -> Excerpt:
    """`state_reason`: Airflow's words for the state of the task; used where the log has no error."""
    cause = find_cause(log, state_reason)
    ended_by = cause.exceptions[0] if cause.exceptions else None
    return Excerpt(
        cause=cause,
        summary=_cut_characters(redact_secrets(_summary(cause))),
        text=_cut_bytes(redact_secrets("\n".join(_text(cause)))),
        exception_type=short_type(ended_by) if ended_by else None,
        message=_cut_characters(redact_secrets(first_line(ended_by.message))) if ended_by else None,
        own_frame=_at(cause.frame) if cause.frame else None,
    )


def _summary(cause: Cause) -> str:
    if cause.kind is Kind.COMMAND:
        return (cause.error_lines[-1] if cause.error_lines else "") or cause.words or SENTENCES[Kind.UNKNOWN]
    if cause.kind is Kind.EXCEPTION:
        return _headline(cause.exceptions[0])
    if cause.kind is Kind.UNKNOWN and cause.words:
        return cause.words
    return SENTENCES[cause.kind]


def _headline(exception: LoggedException) -> str:
    message = first_line(exception.message)
    return f"{short_type(exception)}: {message}" if message else short_type(exception)


def _text(cause: Cause) -> Iterator[str]:
    """The exceptions, cause first, each with its own frame; of a command its last lines first.

    Where there is no exception, the kind of end stands behind what the log has.
    """
    yield from (line.rstrip() for line in cause.context)
    for place, exception in enumerate(reversed(cause.exceptions)):
        if place:
            yield "which led to"
        yield f"{short_type(exception)}: {clean(exception.message).strip()}".removesuffix(": ")
        if frame := own_frame([exception]):
            yield f"  at {_at(frame)}"
    if cause.exceptions or (cause.kind is Kind.COMMAND and cause.context):
        return
    own_words = cause.words if cause.kind in {Kind.COMMAND, Kind.UNKNOWN} else ""
    yield own_words or SENTENCES.get(cause.kind, SENTENCES[Kind.UNKNOWN])


def _at(frame: StackFrame) -> str:
    name = clean(frame.filename).replace("\\", "/").rsplit("/", 1)[-1]
    return f"{name}:{frame.lineno} in {frame.function}" if frame.lineno is not None else f"{name} in {frame.function}"


def _cut_characters(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= MAX_SUMMARY_CHARACTERS else f"{line[: MAX_SUMMARY_CHARACTERS - 1]}…"


def _cut_bytes(text: str) -> str:
    """The end counts most: a long message is cut in front of the last kilobyte."""
    encoded = text.encode("utf-8", "replace")
    if len(encoded) <= MAX_EXCERPT_BYTES:
        return encoded.decode()
    end = encoded[-1_000:].decode("utf-8", "ignore")
    begin = encoded[: MAX_EXCERPT_BYTES - 1_000 - len(f"{CUT}\n".encode())].decode("utf-8", "ignore")
    return f"{begin}{CUT}\n{end}"
