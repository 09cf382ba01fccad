"""`windsock serve`: the API, and in the same process the worker."""

import asyncio
import gc
from pathlib import Path

import click

from windsock import log
from windsock.app import create_app
from windsock.cli.decorators import data_option, handle_errors, read_settings
from windsock.cli.secret_key import check_secret_key
from windsock.context import AppContext
from windsock.db.bootstrap import provision_database
from windsock.http.server import Server, bound, configure, listen, raise_file_limit


@click.command()
@click.option("--host", help="Address to listen on.  [default: WINDSOCK_HOST, else 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on.  [default: WINDSOCK_PORT, else 8420]")
@click.option("--no-worker", is_flag=True, help="Answer requests only; other processes carry out the syncs.")
@click.option("--new-key", is_flag=True, help="Go on although no key decrypts some credentials; enter those again.")
@data_option
@handle_errors
def serve(host: str | None, port: int | None, no_worker: bool, new_key: bool, data: Path | None) -> None:
    """Serve the API and carry out syncs, on the embedded PostgreSQL or on WINDSOCK_DATABASE_URL."""
    settings = read_settings(data, host=host, port=port)
    log.configure(settings.log_format, settings.log_level)
    logger = log.get(__name__)
    max_connections = raise_file_limit()
    with bound(settings.host, settings.port) as sockets, provision_database(settings) as storage:
        asyncio.run(check_secret_key(settings, storage, accepts_new_key=new_key))
        where = "an external PostgreSQL" if storage.embedded is None else str(storage.embedded.cluster_dir)
        url = f"http://{settings.host}:{sockets[0].getsockname()[1]}"
        logger.info("serving", url=url, database=where)
        app = create_app(AppContext(settings, storage), run_worker=not no_worker)
        gc.collect()
        gc.freeze()  # a full collection of the program's own objects pauses every request for 50 ms
        listen(sockets, settings.host)
        server = Server(configure(app, max_connections=max_connections))
        try:
            server.run(sockets)
        except KeyboardInterrupt:
            logger.info("stopped")
    if not server.started:
        raise click.ClickException("The server could not start; the log says why.")
