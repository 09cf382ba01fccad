"""Structured logs: JSON lines or readable text, with the request's or sync's names in each line, and never a secret."""

import json
import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, Literal

import orjson
import structlog

SECRETS = re.compile(
    r"ws[ksl]_[A-Za-z0-9_-]{8,}"  # our API keys, tokens of sessions and of links
    r"|eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+"  # JSON web tokens, such as Airflow's
    r"|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"  # user:password in a URL
    r"|(?i:(?<=authorization: )(?:basic|bearer) \S+)",
)
NOISY_CLOUD_LOGGERS = ("boto3", "botocore", "google", "google.auth", "urllib3")
"""At debug these write down what they send and receive, tokens included."""


def redact(text: str) -> str:
    """The text with whatever looks like a credential replaced; the last net, not the first."""
    return SECRETS.sub("[redacted]", text)


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
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
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
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


bound = structlog.contextvars.bound_contextvars
"""Within it, every log line has the names given."""


def get(name: str) -> structlog.stdlib.BoundLogger:
    logger: structlog.stdlib.BoundLogger = structlog.get_logger(name)
    return logger
