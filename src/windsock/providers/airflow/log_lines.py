"""Turns entries of Airflow's logs into LogLines: JSON records of Airflow 3, text of Airflow 2."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from windsock.providers.airflow.tracebacks import MAX_EXCEPTIONS, MAX_FRAMES, split_traceback
from windsock.providers.task_logs import LoggedException, LogLine, StackFrame

MAX_EVENT_CHARACTERS: Final = 16_000
_MAX_EXTRA, _MAX_EXTRA_CHARACTERS = 20, 500
_KNOWN_KEYS: Final = frozenset(
    {
        "timestamp", "event", "level", "logger", "filename", "lineno", "error_detail", "loc", "run_id", "dag_id",
        "map_index", "ti_id", "try_number", "task_id", "task_instance_id", "dag_run_id", "region_id", "region_index",
    }
)  # fmt: skip
"""Of a record: what LogLine has, and what is the same in each record of a log. Others are shown behind the event."""
_BEGINNING_OF_RECORD = re.compile(
    rb'\{"timestamp":(?:null|"(?P<timestamp>[^"]{1,40})"),"event":"(?P<event>.*)', re.DOTALL
)

ENTRY_OF_TEXT = re.compile(rb"\[\d{4}-\d\d-\d\d[T ,]| ?(?:DEBUG|INFO|WARNING|ERROR|CRITICAL) - ")
_TEXT = re.compile(
    r"(?:\[(?P<timestamp>\d{4}-\d\d-\d\d[T ,][^\]]{0,40})\])? ?(?:\{(?P<logger>[^}]{0,200})\} ?)?"
    r"(?:(?P<level>DEBUG|INFO|WARNING|ERROR|CRITICAL) - ?)?(?P<event>.*)",
    re.DOTALL,
)
_ZONE = re.compile(r" ?([A-Z]{3,4})$")

_COLOURS = re.compile(r"\x1b(?:\[[0-9;:?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_])")
_CONTROL_CHARACTERS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

Redact = Callable[[str], str]


def clean(text: str) -> str:
    """Without colours and control characters: a terminal would obey them, and PostgreSQL cannot store all of them."""
    return _CONTROL_CHARACTERS.sub("", _COLOURS.sub("", text))


def parse_record(entry: bytes, redact: Redact) -> LogLine:
    """A line of ndjson of Airflow 3. One that was cut, or is no record, is shown as it is."""
    try:
        record = orjson.loads(entry)
    except orjson.JSONDecodeError:
        record = _parse_cut_record(entry)
    if not isinstance(record, dict):
        record = {"event": entry.decode(errors="replace")}
    detail = record.get("error_detail")
    exceptions = _exceptions(detail, redact) if isinstance(detail, list) else ()
    level, logger = record.get("level"), record.get("logger")
    return LogLine(
        timestamp=parse_timestamp(record.get("timestamp")),
        level=clean(level).lower()[:20] if isinstance(level, str) and level else None,
        logger=clean(logger)[:200] if isinstance(logger, str) and logger else None,
        event=shorten(redact(clean(_event_of(record)))),
        exceptions=exceptions,
    )


def _parse_cut_record(entry: bytes) -> dict[str, Any] | None:
    """The timestamp and the beginning of the event of a record that was longer than is read."""
    match = _BEGINNING_OF_RECORD.match(entry)
    if match is None:
        return None
    text = match["event"].decode(errors="ignore")
    # An escape may be cut; and a quotation mark that is not escaped ends the event.
    event = re.match(r'(?:[^"\\]|\\(?:u[0-9a-fA-F]{4}|[^u]))*', text)
    timestamp = match["timestamp"]
    try:
        beginning = orjson.loads(f'"{event[0] if event else ""}"')
    except orjson.JSONDecodeError:  # a control character, or half of a surrogate pair
        return None
    return {"timestamp": timestamp and timestamp.decode(errors="replace"), "event": beginning}


def _event_of(record: Mapping[str, Any]) -> str:
    event = record.get("event")
    text = event if isinstance(event, str) else "" if event is None else orjson.dumps(event).decode()
    extra = [
        f"{key}={_shown(value)}"
        for key, value in record.items()
        if key not in _KNOWN_KEYS and value is not None and value != ""
    ]
    return " ".join([text, *extra[:_MAX_EXTRA]]) if extra else text


def _shown(value: object) -> str:
    return (value if isinstance(value, str) else orjson.dumps(value).decode())[:_MAX_EXTRA_CHARACTERS]


def _exceptions(detail: Iterable[Any], redact: Redact) -> tuple[LoggedException, ...]:
    """As structlog writes them: the one that was raised last first. The members of a group come behind it."""
    found: list[LoggedException] = []
    pending = [item for item in detail if isinstance(item, dict)]
    while pending and len(found) < MAX_EXCEPTIONS:
        item = pending.pop(0)
        notes = [note for note in _items(item.get("exc_notes")) if isinstance(note, str)]
        message = "\n".join([str(item.get("exc_value") or ""), *notes])
        frames = [frame for frame in _items(item.get("frames")) if isinstance(frame, dict)]
        found.append(
            LoggedException(
                type=clean(str(item.get("exc_type") or "Exception"))[:200],
                message=shorten(redact(clean(message))),
                frames=tuple(map(_frame, frames[-MAX_FRAMES:])),
                is_cause=bool(found),
            )
        )
        for member in _items(item.get("exceptions")):
            stacks = member.get("stacks") if isinstance(member, dict) else member
            pending += [stack for stack in _items(stacks) if isinstance(stack, dict)]
    return tuple(found)


def _items(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _frame(frame: Mapping[str, Any]) -> StackFrame:
    lineno = frame.get("lineno")
    return StackFrame(
        filename=clean(str(frame.get("filename") or ""))[:1000],
        lineno=lineno if isinstance(lineno, int) else None,
        function=clean(str(frame.get("name") or ""))[:200],
    )


def parse_text(entry: bytes, redact: Redact) -> LogLine:
    """An entry of the text of Airflow 2: its first line, and what follows it up to the next one."""
    text = redact(clean(entry.decode(errors="replace")))
    match = _TEXT.match(text)
    if match is None:  # cannot be: each part may be missing
        return LogLine(timestamp=None, level=None, logger=None, event=shorten(text))
    event, exceptions = split_traceback(match["event"])
    level = match["level"]
    return LogLine(
        timestamp=parse_timestamp(match["timestamp"]),
        level=level.lower() if level else None,
        logger=match["logger"],
        event=shorten(event.rstrip("\n")),
        exceptions=tuple(replace(item, message=shorten(item.message)) for item in exceptions),
    )


def parse_timestamp(value: object) -> datetime | None:
    """In UTC. Airflow 2 writes 2026-11-23T14:32:28.290+0000, older ones "2026-11-23, 14:32:28 UTC" and local times."""
    if not isinstance(value, str):
        return None
    zone = _ZONE.search(value)
    if zone is not None and zone[1] not in {"UTC", "GMT"}:
        return None
    try:
        time = datetime.fromisoformat(_ZONE.sub("", value).replace(", ", "T"))
    except ValueError:
        return None
    try:
        return time.replace(tzinfo=time.tzinfo or UTC).astimezone(UTC)
    except OverflowError:
        return None


def shorten(text: str) -> str:
    if len(text) <= MAX_EVENT_CHARACTERS:
        return text
    return f"{text[:MAX_EVENT_CHARACTERS]}… ({len(text) - MAX_EVENT_CHARACTERS} characters more)"


def source_words(header: Iterable[bytes], redact: Redact) -> str:
    """Airflow's words about where it looked for the log, in one line."""
    words: list[str] = []
    for number, line in enumerate(header):
        text = line.decode(errors="replace")
        if text.startswith("{"):
            record = _load(line)
            event = record.get("event")
            words += [str(event or ""), *(str(source) for source in _items(record.get("sources")))]
        elif number or text.startswith("***"):  # the host comes first in the text of Airflow 2
            words.append(text)
    redacted = (
        redact(word).lstrip("*").strip() for word in words if "::group::" not in word and "::endgroup::" not in word
    )
    return " ".join(word for word in redacted if word)[:2000]


def _load(line: bytes) -> dict[str, Any]:
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        return {}
    return record if isinstance(record, dict) else {}
