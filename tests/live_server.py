"""A real server in a thread: the world of the tests, over HTTP, with a stand-in for its Airflow."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from fastapi import FastAPI

from actions.connected_fake import install_fake_airflow
from actions.fake_runs import Runs, install
from databases import Databases
from factories import TwoTenants, create_two_tenants
from fake_airflow.faults import FakeAirflow
from windsock import log
from windsock.app import create_app
from windsock.context import AppContext
from windsock.db.bootstrap import Storage
from windsock.db.database import Database
from windsock.http.server import Server, configure
from windsock.settings import Settings


@dataclass
class LiveServer:
    """`runs` is the Airflow of both spaces' connectors for triggers, `airflow` for other actions."""

    url: str
    tenants: TwoTenants
    runs: Runs
    airflow: FakeAirflow
    database_url: str
    app: FastAPI


@contextlib.contextmanager
def serving(app: FastAPI, **more: Any) -> Iterator[str]:
    """The application's address. Its log must not mix with what a command in this process prints."""
    log.configure("json", "warning")
    server = Server(configure(app, host="127.0.0.1", port=0, lifespan="on", **more))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        until = time.monotonic() + 30
        while not server.started:
            assert thread.is_alive(), "the server ended at its start"
            assert time.monotonic() < until, "the server did not start"
            time.sleep(0.02)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(30)


@contextlib.contextmanager
def serve_two_tenants(make_database: Databases, secret_key: str, **more: Any) -> Iterator[LiveServer]:
    """On a database of its own; the syncs that are asked for are carried out, and fail: nobody answers at port 9."""
    database_url = make_database(f"live_{uuid4().hex}")
    with ThreadPoolExecutor(1) as aside:  # a browser that is driven from this thread has an event loop in it
        tenants = aside.submit(asyncio.run, _make(database_url, secret_key)).result()
    process = AppContext(Settings(data=Path("nowhere")), Storage(database_url, (secret_key,), None))
    app = create_app(process, **more)
    fake = install_fake_airflow(app, process, "v2")
    runs = install(app, process)
    with serving(app) as url:
        yield LiveServer(url, tenants, runs, fake, database_url, app)


async def _make(database_url: str, secret_key: str) -> TwoTenants:
    db = Database(database_url, pool_size=2)
    await db.open()
    try:
        return await create_two_tenants(db, secret_key)
    finally:
        await db.close()
