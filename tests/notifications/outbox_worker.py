"""Worker processes for the property test of the outbox: one process with everything imported forks the others.

Each connects to the test's Unix socket, and carries out one task after another until it is killed. It uses the
application's own evaluation, delivery and network; added are only the points at which it kills itself or stops.
"""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Coroutine, Iterable, Sequence
from contextvars import ContextVar
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

import windsock.db.database
import windsock.notifications.delivery
import windsock.notifications.outbound
from notifications.sending import outbound
from windsock import log
from windsock.connectors.encryption import Encryption
from windsock.db.database import Database, Transaction
from windsock.notifications.channels.base import HttpRequest, HttpResponse, Outcome
from windsock.notifications.delivery import Delivery, Leased
from windsock.notifications.queue import QUERIES, evaluate_space

CLOCK_OPTIONS = windsock.db.database.CONNECTION_OPTIONS.replace(
    "search_path=windsock", "search_path=clock,pg_catalog,windsock"
)
"""With them `now()` in statements is the time of the test (outbox_clock.sql of the test's database)."""
ATTEMPT: ContextVar[tuple[str, str]] = ContextVar("ATTEMPT")
"""The id of the message that is being sent, and the number of the attempt."""
OUTBOUND = outbound()  # before the fork: it loads the certificates of the system


class Interruption:
    """Kills this process at a named point or before the statement of a number, or stops one delivery at a point."""

    def __init__(self) -> None:
        self.arm(None)

    def arm(self, at: str | int | None) -> None:
        self.at, self.statements = at, 0
        self.has_stopped, self.may_continue = asyncio.Event(), asyncio.Event()
        self.seconds = 0.0

    async def reach(self, point: str) -> None:
        if self.at == point:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.at == f"stop:{point}" and not self.has_stopped.is_set():
            self.has_stopped.set()
            await self.may_continue.wait()

    def count_statement(self) -> None:
        self.statements += 1
        if self.at == self.statements:
            os.kill(os.getpid(), signal.SIGKILL)

    async def finish_or_stop(self, tasks: Sequence[asyncio.Future[Any]]) -> bool:
        """Until the tasks have ended, or one has stopped and the others have ended; whether one has."""
        stopped = asyncio.ensure_future(self.has_stopped.wait())
        running: list[asyncio.Future[Any]] = [asyncio.gather(*tasks), stopped]
        await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        while self.has_stopped.is_set() and sum(not task.done() for task in tasks) > 1:  # noqa: ASYNC110 - see above
            await asyncio.sleep(0.002)
        stopped.cancel()
        return self.has_stopped.is_set()


class Clock:
    """In the place of the module `time`: it goes on while a process is stopped."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead


INTERRUPTION, CLOCK = Interruption(), Clock()


class NamingOutbound:
    """Tells the receiver which process sends which message."""

    async def request(self, request: HttpRequest) -> HttpResponse | Outcome:
        message_id, number = ATTEMPT.get()
        names = {"x-process": str(os.getpid()), "x-message": message_id, "x-attempt": number}
        return await OUTBOUND.request(replace(request, headers={**request.headers, **names}))

    async def send_mail(self, mail: object) -> Outcome:
        raise AssertionError(mail)


class KillableDelivery(Delivery):
    async def send(self, leased: Leased) -> Outcome:
        ATTEMPT.set((str(leased.row["id"]), str(leased.row["attempts"])))
        await INTERRUPTION.reach("leased")
        return await super().send(leased)

    async def _record(self, leased: Leased, outcome: Outcome, ms: int) -> Outcome:
        await INTERRUPTION.reach("sent")
        recorded = await super()._record(leased, outcome, ms)
        await INTERRUPTION.reach("recorded")
        return recorded


async def work(socket: str, url: str, secret_key: str) -> None:
    reader, writer = await asyncio.open_unix_connection(socket)
    windsock.db.database.CONNECTION_OPTIONS = CLOCK_OPTIONS
    windsock.notifications.delivery.time = CLOCK  # type: ignore[attr-defined, assignment]
    db = Database(url, pool_size=2)  # a new connection costs more than all it is used for
    await db.open()
    delivery = KillableDelivery(
        db, Encryption([secret_key]), NamingOutbound(), base_url="http://windsock.test", has_mail=False
    )
    write(writer, pid=os.getpid())
    while line := await reader.readline():
        task = orjson.loads(line)
        INTERRUPTION.arm(task["interruption"])
        windsock.notifications.outbound.HTTP_SECONDS = task["http_seconds"]
        try:
            jobs = [asyncio.ensure_future(job) for job in await list_jobs(task, db, delivery)]
            if await INTERRUPTION.finish_or_stop(jobs):
                write(writer, has_stopped=True)
                CLOCK.ahead += orjson.loads(await reader.readline())["seconds"]
                INTERRUPTION.may_continue.set()
            await asyncio.gather(*jobs)
            error = None
        except Exception as fault:  # noqa: BLE001 - the test fails with it
            error = repr(fault)
        INTERRUPTION.arm(None)
        write(writer, error=error)


def write(writer: asyncio.StreamWriter, **message: object) -> None:
    writer.write(orjson.dumps(message) + b"\n")


async def list_jobs(task: dict[str, Any], db: Database, delivery: Delivery) -> list[Coroutine[Any, Any, object]]:
    """What a task consists of: an evaluation, or the delivery to each recipient for whom something is due."""
    space_id = UUID(task["space_id"])
    if task["kind"] == "evaluate":
        return [evaluate_space(db, space_id, has_mail=False, now=datetime.fromisoformat(task["now"]))]
    async with db.transaction() as tx:
        due = await tx.fetch_all(QUERIES["list_due_recipients"])
    return [delivery.deliver_to(space_id, row["id"]) for row in due if row["space_id"] == space_id]


def count_statements() -> None:
    execute = Transaction._execute

    async def counted(self: Transaction, *arguments: Any) -> Any:
        INTERRUPTION.count_statement()
        return await execute(self, *arguments)

    Transaction._execute = counted  # type: ignore[method-assign, assignment]


def serve(lines: Iterable[str], socket: str, url: str, secret_key: str) -> None:
    """Fork a worker for each line, until the test closes the pipe."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    for _ in lines:
        if os.fork() == 0:
            asyncio.run(work(socket, url, secret_key))
            os._exit(0)


if __name__ == "__main__":
    log.configure("json", "error")
    count_statements()
    serve(sys.stdin, *sys.argv[1:])
