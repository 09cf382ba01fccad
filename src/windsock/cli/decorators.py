"""Shared parts of commands: --data, --json, a migrated database, errors in one sentence."""

import asyncio
import functools
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Concatenate, ParamSpec

import click
import psycopg
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from windsock import log
from windsock.cli.terminal import write_json
from windsock.context import AppContext
from windsock.db.bootstrap import provision_database
from windsock.db.database import Database
from windsock.embedded import EmbeddedPostgresError
from windsock.errors import WindsockError
from windsock.http.responses import dump_json
from windsock.settings import Settings

P = ParamSpec("P")

data_option = click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the embedded PostgreSQL and the key file.  [default: WINDSOCK_DATA, else the platform's]",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON value, for scripts.")


def read_settings(data: Path | None, **more: object) -> Settings:
    """The environment's settings with what the command line gives over them."""
    overrides: dict[str, Any] = {name: value for name, value in {"data": data, **more}.items() if value is not None}
    try:
        settings = Settings(**overrides)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise click.ClickException(f"WINDSOCK_{str(first['loc'][0]).upper()}: {first['msg']}") from None
    return settings.model_copy(update={"data": settings.data.absolute()})


def handle_errors(function: Callable[P, None]) -> Callable[P, None]:
    """Turn what can go wrong into one sentence on standard error and exit status 1."""

    @functools.wraps(function)
    def command(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            function(*args, **kwargs)
        except (WindsockError, EmbeddedPostgresError) as error:
            raise click.ClickException(str(error)) from error
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            raise click.ClickException(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
        except psycopg.Error as error:
            raise click.ClickException(f"PostgreSQL: {log.redact(str(error)).strip()}") from error
        except PermissionError as error:
            raise click.ClickException(
                f"{error.strerror}: {error.filename}. Choose another folder with --data."
            ) from error

    return command


def with_database(
    function: Callable[Concatenate[Database, P], Awaitable[None]],
) -> Callable[..., None]:
    """Give an async command an open Database; the embedded PostgreSQL is joined, or started for the time it takes."""

    @functools.wraps(function)
    @handle_errors
    def command(data: Path | None, *args: P.args, **kwargs: P.kwargs) -> None:
        settings = read_settings(data)
        log.configure(settings.log_format, "warning")
        with provision_database(settings) as storage:

            async def run() -> None:
                db = Database(storage.app_url, pool_size=2)
                await db.open()
                try:
                    await function(db, *args, **kwargs)
                finally:
                    await db.close()

            asyncio.run(run())

    return data_option(command)


def with_context(
    function: Callable[Concatenate[AppContext, P], Awaitable[None]],
) -> Callable[..., None]:
    """As with_database, with secrets and providers too; carries out no jobs."""

    @functools.wraps(function)
    @handle_errors
    def command(data: Path | None, *args: P.args, **kwargs: P.kwargs) -> None:
        settings = read_settings(data)
        log.configure(settings.log_format, "error")
        with provision_database(settings) as storage:

            async def run() -> None:
                process = AppContext(settings, storage)
                async with process.lifespan(run_worker=False):
                    await function(process, *args, **kwargs)

            asyncio.run(run())

    return data_option(command)


def print_table(table: Table) -> None:
    """As wide as the terminal, or as wide as it needs when something else reads it."""
    console = Console(width=None if sys.stdout.isatty() else 1000)
    console.print(table)


def print_json(value: object) -> None:
    write_json(dump_json(value).decode())
