"""`windsock work`: carries out syncs, and answers no requests."""

import asyncio
import gc
import signal
from pathlib import Path

import click

from windsock import log
from windsock.cli.decorators import data_option, handle_errors, read_settings
from windsock.cli.secret_key import check_secret_key
from windsock.context import AppContext
from windsock.db.bootstrap import provision_database

logger = log.get(__name__)


@click.command()
@click.option(
    "--concurrency",
    type=click.IntRange(1, 100),
    help="Syncs at the same time.  [default: WINDSOCK_WORKER_CONCURRENCY, else 16]",
)
@click.option("--new-key", is_flag=True, help="Go on although no key decrypts some credentials; enter those again.")
@data_option
@handle_errors
def work(concurrency: int | None, new_key: bool, data: Path | None) -> None:
    """Carry out syncs without answering requests: as many processes as you like, beside `serve --no-worker`."""
    settings = read_settings(data, worker_concurrency=concurrency)
    log.configure(settings.log_format, settings.log_level)
    with provision_database(settings) as storage:
        asyncio.run(check_secret_key(settings, storage, accepts_new_key=new_key))
        where = "an external PostgreSQL" if storage.embedded is None else str(storage.embedded.cluster_dir)
        logger.info("working", database=where, concurrency=settings.worker_concurrency)
        gc.collect()
        gc.freeze()  # a full collection of the program's own objects pauses every request for 50 ms
        asyncio.run(_until_stopped(AppContext(settings, storage, serves=False)))
    logger.info("stopped")


async def _until_stopped(process: AppContext) -> None:
    """SIGTERM and SIGINT let what is running store its page and hand over."""
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with process.lifespan(run_worker=True):
        await stopped.wait()
