"""Structured logs: JSON lines or readable text, with the request's or sync's names in each line, and never a secret."""

import contextlib
import json
import logging
import re
import sys
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from typing import Any, Literal, TextIO

import orjson
import structlog

SECRETS = re.compile(
    r"ws[ksl]_[A-Za-z0-9_-]{8,}"  # our API keys, tokens of sessions and of links
    r"|eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+"  # JSON web tokens, such as Airflow's
    r"|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"  # user:password in a URL
    r"|(?i:(?<=authorization: )(?:basic|bearer) \S+)",
)
SECRET_MARKERS = ("wsk_", "wss_", "wsl_", "eyj", "@", "authorization")
"""In lower case: what holds none of them holds no secret, and is not looked through (most lines of a busy server)."""
NOISY_CLOUD_LOGGERS = ("boto3", "botocore", "google", "google.auth", "urllib3")
"""At debug these write down what they send and receive, tokens included."""


def redact(text: str) -> str:
    """The text with whatever looks like a credential replaced; the last net, not the first."""
    return SECRETS.sub("[redacted]", text) if _could_hold_a_secret(text) else text


def _could_hold_a_secret(text: str) -> bool:
    lower = text.lower()
    return any(mark in lower for mark in SECRET_MARKERS)


def _redact_event(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return {key: value if key.startswith("_") else _redacted(value) for key, value in event.items()}


def _redacted(value: Any) -> Any:  # noqa: ANN401 - whatever is logged
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, dict):
        return {key: _redacted(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_redacted(inner) for inner in value]
    return redact(value if isinstance(value, str) else repr(value))  # as the renderers would write it


def _to_json(event: MutableMapping[str, Any], **_: object) -> str:
    try:
        return orjson.dumps(event, default=repr, option=orjson.OPT_NON_STR_KEYS).decode()
    except orjson.JSONEncodeError:  # a lone surrogate, a whole number beyond 64 bits, or deep nesting
        return json.dumps(event, default=repr)


def configure(log_format: Literal["auto", "json", "text"], level: str) -> None:
    """Send every log line, ours and the libraries', to standard error in one shape."""
    as_text = log_format == "text" or (log_format == "auto" and sys.stderr.isatty())
    stamp = structlog.processors.TimeStamper(fmt="iso", utc=True)
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        stamp,
        structlog.processors.format_exc_info,
        _redact_event,
    ]
    renderer: Any = (
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        if as_text
        else structlog.processors.JSONRenderer(serializer=_to_json)
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for noisy in ("httpx2", "httpcore2", "procrastinate", "alembic", "psycopg.pool", *NOISY_CLOUD_LOGGERS):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    fast_logger.stamp, fast_logger.render, fast_logger.handler = stamp, renderer, handler
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


@dataclass(slots=True)
class _FastLogger:
    """Writes the line of each request as configured, without the steps that every other logger takes."""

    stamp: Callable[..., Any] | None = None
    render: Callable[..., str] | None = None
    handler: logging.StreamHandler[TextIO] | None = None

    def info(self, logger: str, event: str, **values: object) -> None:
        """As `get(logger).info(event, **values)`, in less than half of the time."""
        if self.stamp is None or self.render is None or self.handler is None:
            get(logger).info(event, **values)
        elif logging.root.isEnabledFor(logging.INFO):
            names = {**structlog.contextvars.get_contextvars(), **values, "event": event}
            names = self.stamp(None, "info", names | {"level": "info", "logger": logger})
            line = self.render(None, "info", dict(names))
            if _could_hold_a_secret(line):
                line = self.render(None, "info", _redact_event(None, "info", names))
            # Nobody's request fails because the log cannot be written: that is logging's own way, too.
            with contextlib.suppress(OSError, ValueError), self.handler.lock or contextlib.nullcontext():
                self.handler.stream.write(f"{line}\n")
                self.handler.stream.flush()


fast_logger = _FastLogger()

bound = structlog.contextvars.bound_contextvars
"""Within it, every log line has the names given."""


def get(name: str) -> structlog.stdlib.BoundLogger:
    logger: structlog.stdlib.BoundLogger = structlog.get_logger(name)
    return logger
