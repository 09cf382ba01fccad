"""Makes examples of real answers: the same ids, times and secrets whenever they are recorded, and no more of them."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from factories import NOW

UUID_LIKE = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
TIME_LIKE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z")
KEY_LIKE = re.compile(r"wsk_[A-Za-z0-9_-]+")
MORNING = datetime(2026, 11, 24, 6, tzinfo=UTC)
LONGEST_LIST = 2
SHORTENED = {"task_runs", "recent_runs", "hints"}


class Recorder:
    """Replaces what differs from one recording to the next."""

    def __init__(self) -> None:
        self._ids: dict[str, str] = {}

    def normalize(self, value: Any, name: str = "") -> Any:
        if isinstance(value, dict):
            return {key: self.normalize(inner, key) for key, inner in value.items()}
        if isinstance(value, list):
            is_long = name in SHORTENED or not name
            return [self.normalize(inner, "of a list") for inner in (value[:LONGEST_LIST] if is_long else value)]
        if name == "latency_ms":
            return 41.5 if value is not None else None
        return self._text(value) if isinstance(value, str) else value

    def _text(self, text: str) -> str:
        text = UUID_LIKE.sub(self._id, text)
        text = TIME_LIKE.sub(self._time, text)
        return KEY_LIKE.sub(lambda key: "wsk_8Jq2fT" if len(key[0]) < 20 else "wsk_8Jq2fT…", text)

    def _id(self, match: re.Match[str]) -> str:
        return self._ids.setdefault(match[0], f"01932000-0000-7000-8000-{len(self._ids) + 1:012x}")

    @staticmethod
    def _time(match: re.Match[str]) -> str:
        """As far from six in the morning as it was from the start of the tests, in steps of ten minutes."""
        away = datetime.fromisoformat(match[0]) - NOW
        steps = round(away / timedelta(minutes=10))
        return f"{MORNING + steps * timedelta(minutes=10):%Y-%m-%dT%H:%M:%SZ}"
