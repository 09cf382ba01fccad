"""What an answer is made of: its parts, its errors, its cursors."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

Params = Mapping[str, str]


@dataclass
class Reply:
    body: Any = None
    status: int = 200
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def content(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


class Refused(Exception):
    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail


class NoRoute(Exception):
    """The router knows no such address: an answer that says nothing of any object."""


NO_ROUTE = {
    "v1": "The requested URL was not found on the server. If you entered the URL manually please check your spelling"
    " and try again.",
    "v2": "API route not found",
}
"""As 2.11.2 and 3.3.2 say it."""


def problem(status: int, detail: str, title: str) -> Reply:
    problem = {"detail": detail, "status": status, "title": title, "type": "about:blank"}
    return Reply(problem, status, "application/problem+json")


def joined(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """A parameter that was sent several times, with commas, as 2.x takes it too."""
    params: dict[str, str] = {}
    for name, value in pairs:
        params[name] = f"{params[name]},{value}" if name in params else value
    return params


def fits(value: datetime, name: str, params: Params) -> bool:
    lower, upper = params.get(f"{name}_gte"), params.get(f"{name}_lte")
    return (lower is None or value >= datetime.fromisoformat(lower)) and (
        upper is None or value <= datetime.fromisoformat(upper)
    )


def write_cursor(number: int) -> str:
    return base64.urlsafe_b64encode(str(number).encode()).decode().rstrip("=")


def read_cursor(token: str) -> int:
    try:
        return int(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)) or 0)
    except ValueError:
        raise Refused(400, "Invalid cursor token") from None
