"""How this Airflow misbehaves: per request, by chance or by a plan; and the way to it without a socket."""

from __future__ import annotations

import functools
import json
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import Final

import httpx2

from fake_airflow.api import Api
from fake_airflow.responses import Reply, joined

FAULTS: Final = (
    "429", "429 for long", "503", "500", "cut", "html", "empty", "drop", "slow", "expired", "403", "wrong date",
    "date behind",
)  # fmt: skip
"""`empty`: a page without rows that still promises some. `cut`: JSON that stops in the middle.

`wrong date`: no time at all; `date ahead`, `date behind`: the time of a proxy whose clock is wrong.
"""
DATES_OFF: Final = {"date ahead": timedelta(minutes=4), "date behind": -timedelta(minutes=4)}
DATE_FAULTS: Final = {*DATES_OFF, "wrong date"}


@dataclass
class Faults:
    """`chance` of a fault per request, drawn from `kinds`; `plan` comes first: what becomes of the next requests.

    `where`: only of paths in which that stands. `only_later`: not of the first page of a list. `only_changes`: only of
    requests that change something.

    "drop" cuts the connection before the request is carried out, "drop after" afterwards, "drop during" while it is: it
    ends a second later.
    """

    chance: float = 0.0
    kinds: tuple[str, ...] = FAULTS
    plan: list[str | None] = field(default_factory=list)
    where: str = ""
    only_later: bool = False
    only_changes: bool = False
    chooser: random.Random = field(default_factory=lambda: random.Random(0))  # noqa: S311 - repeatable on purpose
    met: list[str] = field(default_factory=list)

    def next(self, path: str, *, is_later: bool = False, is_change: bool = False) -> str | None:
        if self.where not in path or (self.only_later and not is_later) or (self.only_changes and not is_change):
            return None
        fault = self.plan.pop(0) if self.plan else None
        if fault is None and self.chance and self.chooser.random() < self.chance:
            fault = self.chooser.choice(self.kinds)
        if fault:
            self.met.append(fault)
        return fault


class FakeAirflow(httpx2.AsyncBaseTransport):
    """One Airflow to hand to the provider as its transport. `between` is called after every answer: life goes on.

    `meanwhile` is awaited before every answer: what happens to the one who asks.
    """

    def __init__(self, api: Api, faults: Faults | None = None) -> None:
        self.api, self.model = api, api.model
        self.faults = faults or Faults()
        self.between: Callable[[], None] | None = None
        self.meanwhile: Callable[[], Awaitable[None]] | None = None
        self.requests: list[str] = []
        self._date_was_wrong = False
        self.listing_started_at: datetime | None = None
        """By the clock of this Airflow, when the newest list of DAGs was begun."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        path = request.url.raw_path.decode().partition("?")[0]
        self.requests.append(f"{request.method} {request.url.raw_path.decode()}")
        if self.meanwhile is not None:
            await self.meanwhile()
        params = request.url.params
        is_later = bool(params.get("cursor")) or params.get("offset", "0") != "0"
        fault = self.faults.next(path, is_later=is_later, is_change=is_change(request.method, path, request.content))
        fault = self._without_repeated_wrong_date(path, fault)
        if path.endswith("/dags") and params.get("offset") == "0":
            self.listing_started_at = self.model.now()
        if fault == "slow":
            raise httpx2.ReadTimeout("slow", request=request)
        if fault == "drop":
            raise httpx2.ReadError("dropped", request=request)
        if fault == "expired":
            self.api.epoch += 1
        response = self._carry_out(request, path, fault)
        too_much = self.api.oddities.fault(response.body)
        if too_much == "slow":
            raise httpx2.ReadTimeout("too many rows", request=request)
        if too_much == "drop":
            raise httpx2.ReadError("too many rows", request=request)
        reply = apply_fault(fault or too_much, response)
        now = self.model.now() + DATES_OFF.get(fault or "", timedelta(0))
        response_headers = {
            "Date": format_datetime(now, usegmt=True),
            "Content-Type": reply.content_type,
            **reply.headers,
        }
        if fault == "wrong date":  # of a proxy that answers for it, and cannot say what time it is
            del response_headers["Date"]
        content = reply.content
        if self.between is not None:
            self.between()
        return httpx2.Response(reply.status, headers=response_headers, content=content, request=request)

    def _carry_out(self, request: httpx2.Request, path: str, fault: str | None) -> Reply:
        headers = {name.lower(): value for name, value in request.headers.items()}
        handle = functools.partial(
            self.api.handle, request.method, path, joined(request.url.params.multi_items()), headers, request.content
        )
        if fault == "drop during":
            self.model.commit_later(1.0, handle)
            raise httpx2.ReadError("dropped", request=request)
        response = handle()
        if fault == "drop after":
            raise httpx2.ReadError("dropped", request=request)
        return response

    def _without_repeated_wrong_date(self, path: str, fault: str | None) -> str | None:
        """Two wrong Dates in a row, where the clock is measured, cannot be told from a clock that was set."""
        if path.endswith("/health"):
            fault = None if self._date_was_wrong and fault in DATE_FAULTS else fault
            self._date_was_wrong = fault in DATE_FAULTS
        return fault


def is_change(method: str, path: str, body: bytes) -> bool:
    """Whether a request changes something: not a dry run, and not a sign-in."""
    return method != "GET" and path != "/auth/token" and not json.loads(body).get("dry_run", False)


def apply_fault(fault: str | None, reply: Reply) -> Reply:  # noqa: C901, PLR0911 - a table of faults
    """What arrives in place of the answer."""
    match fault:
        case "429":
            return Reply({"detail": "Too Many Requests"}, 429, headers={"Retry-After": "1"})
        case "429 for long":
            return Reply({"detail": "Too Many Requests"}, 429, headers={"Retry-After": "90"})
        case "503":
            return Reply(b"upstream connect error", 503, "text/plain")
        case "504":
            return Reply(b"gateway time-out", 504, "text/html")
        case "500":
            return Reply({"detail": "Database error"}, 500)
        case "403":
            return Reply({"detail": "Forbidden"}, 403)
        case "html":
            return Reply(b"<!doctype html><title>Sign in</title>", 200, "text/html")
        case "large":
            return Reply(b'{"dag_runs": [' + b" " * 11_000_000, 200)
        case "cut" if reply.status == 500:
            return Reply(b'{"dag_runs": [{"dag_', 200)
        case "cut":
            content = reply.content
            return Reply(content[: len(content) // 2], reply.status, reply.content_type)
        # Where nothing is counted (cursors of 3.2.2), an empty page is an empty list: nobody could tell.
        case "empty" if isinstance(reply.body, dict) and reply.status == 200 and reply.body.get("total_entries"):
            emptied = {name: [] if isinstance(value, list) else value for name, value in reply.body.items()}
            return Reply(emptied, reply.status, reply.content_type)
    return reply
