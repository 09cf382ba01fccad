"""`windsock serve`: the API, and in the same process the worker."""

from pathlib import Path

import click
import uvicorn

from windsock import log
from windsock.app import create_app
from windsock.commands.frame import data_option, explained, read_settings
from windsock.memory import keep_memory, leave_alone_what_is_there
from windsock.process import Process
from windsock.storage import open_storage

KEEP_ALIVE_SECONDS, SHUTDOWN_SECONDS = 30, 20
MOST_CONNECTIONS = 1000


@click.command()
@click.option("--host", help="Address to listen on.  [default: WINDSOCK_HOST, else 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on.  [default: WINDSOCK_PORT, else 8420]")
@click.option("--no-worker", is_flag=True, help="Answer requests only; other processes carry out the syncs.")
@data_option
@explained
def serve(host: str | None, port: int | None, no_worker: bool, data: Path | None) -> None:
    """Serve the API and carry out syncs, on the embedded PostgreSQL or on WINDSOCK_DATABASE_URL."""
    keep_memory()
    settings = read_settings(data, host=host, port=port)
    log.configure(settings.log_format, settings.log_level)
    logger = log.get(__name__)
    with open_storage(settings) as storage:
        where = "an external PostgreSQL" if storage.embedded is None else str(storage.embedded.cluster_dir)
        logger.info("serving", url=f"http://{settings.host}:{settings.port}", database=where)
        app = create_app(Process(settings, storage), works=not no_worker)
        leave_alone_what_is_there()
        try:
            uvicorn.run(
                app,
                host=settings.host,
                port=settings.port,
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=SHUTDOWN_SECONDS,
                limit_concurrency=MOST_CONNECTIONS,
                h11_max_incomplete_event_size=64 * 1024,
            )
        except KeyboardInterrupt:
            logger.info("stopped")
