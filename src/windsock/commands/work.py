"""`windsock work`: carries out syncs, and answers no requests."""

import asyncio
import signal
from pathlib import Path

import click

from windsock import log
from windsock.commands.frame import data_option, explained, read_settings
from windsock.memory import keep_memory, leave_alone_what_is_there
from windsock.process import Process
from windsock.storage import open_storage

logger = log.get(__name__)


@click.command()
@click.option(
    "--concurrency",
    type=click.IntRange(1, 100),
    help="Syncs at the same time.  [default: WINDSOCK_WORKER_CONCURRENCY, else 16]",
)
@data_option
@explained
def work(concurrency: int | None, data: Path | None) -> None:
    """Carry out syncs without answering requests: as many processes as you like, beside `serve --no-worker`."""
    keep_memory()
    settings = read_settings(data, worker_concurrency=concurrency)
    log.configure(settings.log_format, settings.log_level)
    with open_storage(settings) as storage:
        where = "an external PostgreSQL" if storage.embedded is None else str(storage.embedded.cluster_dir)
        logger.info("working", database=where, concurrency=settings.worker_concurrency)
        leave_alone_what_is_there()
        asyncio.run(_until_stopped(Process(settings, storage)))
    logger.info("stopped")


async def _until_stopped(process: Process) -> None:
    """SIGTERM and SIGINT let what is running store its page and hand over."""
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with process.opened(works=True):
        await stopped.wait()
