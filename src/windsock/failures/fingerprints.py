"""Fingerprints of failures: the same for the same fault, on Airflow 2 and 3."""

import hashlib
from dataclasses import dataclass

from windsock.failures.cause import Cause, Kind, first_line, short_type
from windsock.failures.normalize import error_codes, normalize

VERSION = 1
"""Of the algorithm. A change that groups differently is another version: what is grouped already stays as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """`hash` groups failures; `message_hash` is finer, and tells apart what a person has split.

    `grouped_by`: a sentence part that says which facts were compared.
    """

    hash: bytes
    message_hash: bytes
    grouped_by: str
    version: int = VERSION


def compute_fingerprint(task_id: str, cause: Cause) -> Fingerprint:
    """Algorithm 1: the task with the first of these that there is.

    The kind of end (killed, timeout, …); the last error lines of a command, and the codes of its exception; exception
    types, cause first, with file and function of the last own frame and error codes; exception types with the
    normalised message.
    """
    parts, grouped_by = _parts(cause)
    message = " ".join(normalize(text) for text in _messages(cause))
    return Fingerprint(
        hash=_hash(task_id, *parts), message_hash=_hash(task_id, *parts, "message", message), grouped_by=grouped_by
    )


def _parts(cause: Cause) -> tuple[list[str], str]:
    if cause.kind is Kind.COMMAND:
        lines = [normalize(line) for line in cause.error_lines] or [normalize(cause.words)]
        return ["command", *lines, *_codes(cause)], "task and last error lines"
    if cause.kind is Kind.UNKNOWN and cause.words:
        return ["unknown", normalize(cause.words)], "task and reason of its state"
    if cause.kind is not Kind.EXCEPTION:
        return [cause.kind.value], "task and kind of end"
    types = [short_type(exception) for exception in reversed(cause.exceptions)]
    if cause.frame is not None:
        name = cause.frame.filename.replace("\\", "/").rsplit("/", 1)[-1]
        parts = ["exception", *types, "frame", name, cause.frame.function, *_codes(cause)]
        return parts, "task, exception types and function"
    message = normalize(first_line(cause.exceptions[0].message))
    return ["exception", *types, "message", message], "task, exception types and message"


def _codes(cause: Cause) -> list[str]:
    return error_codes("\n".join(exception.message for exception in reversed(cause.exceptions)))


def _messages(cause: Cause) -> list[str]:
    return [*(exception.message for exception in cause.exceptions), *cause.error_lines, cause.words]


def _hash(*parts: str) -> bytes:
    return hashlib.sha256("\x1f".join((f"v{VERSION}", *parts)).encode("utf-8", "replace")).digest()
