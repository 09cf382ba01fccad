"""Reads Python's tracebacks out of a text: the exception that was raised last first, then its causes."""

import re
from itertools import takewhile
from typing import Final

from windsock.providers.task_logs import LoggedException, StackFrame

BEGINNING: Final = "Traceback (most recent call last):"
MAX_EXCEPTIONS: Final = 10
MAX_FRAMES: Final = 60
"""Of one exception, those nearest to where it was raised."""
_LINKS: Final = (
    "The above exception was the direct cause of the following exception:",
    "During handling of the above exception, another exception occurred:",
)
_FRAME = re.compile(r'  File "(?P<filename>[^"]*)", line (?P<lineno>\d{1,9})(?:, in (?P<function>.*))?')
_EXCEPTION = re.compile(r"(?P<type>[A-Za-z_][\w.]*(?:\.<locals>\.\w+)*)(?:: ?(?P<message>.*))?", re.DOTALL)


def split_traceback(text: str) -> tuple[str, tuple[LoggedException, ...]]:
    """The text before the first traceback, and the exceptions; all of the text where that cannot be read."""
    before, beginning, rest = text.partition(BEGINNING)
    if not beginning or (before and not before.endswith("\n")):
        return text, ()
    exceptions = parse_tracebacks(rest.splitlines())
    return (before.rstrip("\n"), exceptions) if exceptions else (text, ())


def parse_tracebacks(lines: list[str]) -> tuple[LoggedException, ...]:
    """`lines` begin after the first BEGINNING. Empty where a part is no traceback, such as that of a group."""
    parts: list[list[str]] = [[]]
    for line in lines:
        if line in _LINKS:
            parts.append([])
        elif line != BEGINNING or parts[-1]:
            parts[-1].append(line)
    found = [_parse_one(part) for part in parts[-MAX_EXCEPTIONS:]]
    exceptions = [exception for exception in found if exception is not None]
    if len(exceptions) < len(found):
        return ()
    last, *causes = reversed(exceptions)
    return (last, *(_as_cause(cause) for cause in causes))


def _parse_one(lines: list[str]) -> LoggedException | None:
    while lines and lines[0] in {"", BEGINNING}:
        lines = lines[1:]
    stack = list(takewhile(lambda line: not line or line.startswith(" "), lines))
    if not any(map(_FRAME.fullmatch, stack)):
        return None
    words = _EXCEPTION.fullmatch("\n".join(lines[len(stack) :]).rstrip("\n"))
    if words is None:
        return None
    name: str = words["type"]
    return LoggedException(
        type=name.rpartition(".")[2], message=words["message"] or "", frames=_frames(stack)[-MAX_FRAMES:]
    )


def _frames(stack: list[str]) -> tuple[StackFrame, ...]:
    frames = []
    for line, following in zip(stack, [*stack[1:], ""], strict=True):
        if (match := _FRAME.fullmatch(line)) is not None:
            code = following.strip() if following.startswith("    ") else ""
            frames.append(
                StackFrame(
                    filename=match["filename"], lineno=int(match["lineno"]), function=match["function"] or "", code=code
                )
            )
    return tuple(frames)


def _as_cause(exception: LoggedException) -> LoggedException:
    return LoggedException(type=exception.type, message=exception.message, frames=exception.frames, is_cause=True)


def format_exceptions(exceptions: tuple[LoggedException, ...]) -> str:
    """As Python prints them: the first cause first."""
    return "\n\n".join(_format_one(exception, place) for place, exception in enumerate(reversed(exceptions)))


def _format_one(exception: LoggedException, place: int) -> str:
    lines = [_LINKS[0], ""] if place else []
    if exception.frames:
        lines.append(BEGINNING)
    for frame in exception.frames:
        lines.append(f'  File "{frame.filename}", line {frame.lineno or "?"}, in {frame.function}')
        lines += [f"    {frame.code}"] if frame.code else []
    lines.append(f"{exception.type}: {exception.message}" if exception.message else exception.type)
    return "\n".join(lines)
