"""Airflow notes with the name of the member and the reason."""

from windsock.auth.authenticator import Caller

LONGEST = 1000
"""Characters that Airflow keeps of a note."""
MAX_PERSON_LENGTH = 350
MARK = " through Windsock by "


def sign(note: str | None, caller: Caller) -> str:
    """The note with who wrote it below; nothing for no note."""
    return f"{note}\n\n{_line('Noted', caller)}" if note else ""


def sign_line(what: str, caller: Caller, reason: str | None) -> str:
    line = _line(what, caller)
    return f"{line}: {reason}" if reason else line


def append_line(note: str | None, line: str) -> str | None:
    """The note with the line below; earlier lines of Windsock give way, and None means that there is no room."""
    parts = [part for part in (note or "").split("\n\n") if part]
    while len("\n\n".join((*parts, line))) > LONGEST:
        oldest = next((part for part in parts if MARK in part), None)
        if oldest is None:
            return None
        parts.remove(oldest)
    return "\n\n".join((*parts, line))


def _line(what: str, caller: Caller) -> str:
    return f"{what}{MARK}" + f"{caller.name} <{caller.email}>"[:MAX_PERSON_LENGTH]
