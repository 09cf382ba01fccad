"""Starts the worker processes of the outbox's property test, gives them tasks, and replaces those that were killed."""

import asyncio
import os
import subprocess
import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import orjson


@dataclass
class Worker:
    pid: int
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


class WorkerPool:
    """Its processes live as long as nobody kills them, through all examples. `killed`: how many were."""

    def __init__(self) -> None:
        self._idle: list[Worker] = []
        self._stopped: list[tuple[Worker, datetime]] = []
        self._started: asyncio.Queue[Worker] = asyncio.Queue()
        self.killed = 0

    @classmethod
    async def start(cls, folder: Path, url: str, secret_key: str) -> Self:
        pool = cls()
        socket = folder / "outbox-workers"
        pool._server = await asyncio.start_unix_server(pool._register, socket)
        pool._forking = subprocess.Popen(  # noqa: ASYNC220 - at once
            [sys.executable, "-m", "notifications.outbox_worker", socket, url, secret_key],
            stdin=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        return pool

    _server: asyncio.Server
    _forking: subprocess.Popen[bytes]

    async def close(self) -> None:
        for worker in [*self._idle, *(worker for worker, _ in self._stopped)]:
            worker.writer.close()
        self._server.close()
        self._forking.communicate(timeout=10)

    async def _register(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._started.put_nowait(Worker(orjson.loads(await reader.readline())["pid"], reader, writer))

    async def run(self, tasks: list[dict[str, Any]], now: datetime) -> None:
        """Each in a process of its own, all at the same time; raises AssertionError for one that failed."""
        missing = len(tasks) - len(self._idle)
        if missing > 0:
            assert self._forking.stdin is not None
            self._forking.stdin.write(b"\n" * missing)
            self._forking.stdin.flush()
            async with asyncio.timeout(60):
                self._idle += [await self._started.get() for _ in range(missing)]
        workers, self._idle = self._idle[: len(tasks)], self._idle[len(tasks) :]
        async with asyncio.timeout(120):
            await asyncio.gather(*(self._exchange(*pair, now) for pair in zip(workers, tasks, strict=True)))

    async def resume(self, now: datetime) -> None:
        """Let the processes go on that have stopped: for them as much time has passed as for the test."""
        stopped, self._stopped = self._stopped, []
        passed = [{"seconds": (now - since).total_seconds()} for _, since in stopped]
        async with asyncio.timeout(120):
            await asyncio.gather(
                *(self._exchange(item[0], message, now) for item, message in zip(stopped, passed, strict=True))
            )

    async def _exchange(self, worker: Worker, message: dict[str, Any], now: datetime) -> None:
        try:
            worker.writer.write(orjson.dumps(message) + b"\n")
            line = await worker.reader.readline()
        except ConnectionError:
            line = b""
        if not line:  # the process is dead: the operating system has closed its end
            worker.writer.close()
            self.killed += 1
            return
        response = orjson.loads(line)
        if response.get("has_stopped"):
            self._stopped.append((worker, now))
            return
        self._idle.append(worker)
        assert response["error"] is None, f"a worker failed: {response['error']}"
