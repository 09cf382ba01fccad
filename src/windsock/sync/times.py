"""Times in the JSON documents of a connector's state."""

from datetime import datetime
from typing import Any


def iso(at: datetime) -> str:
    return at.isoformat()


def time(text: Any) -> datetime | None:  # noqa: ANN401 - out of a jsonb
    return datetime.fromisoformat(text) if text else None
