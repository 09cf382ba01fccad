"""`windsock migrate` and `windsock rotate-secrets`: what an operator does now and then."""

from pathlib import Path

import click

from windsock import log
from windsock.commands.frame import data_option, explained, json_option, on_process, print_json, read_settings
from windsock.connectors.store import QUERIES
from windsock.connectors.store import rotate_secrets as rotate_secrets_of
from windsock.migrations import newest_revision
from windsock.process import Process
from windsock.storage import open_storage


@click.command()
@data_option
@json_option
@explained
def migrate(data: Path | None, as_json: bool) -> None:
    """Bring the database up to date. `serve` does it too; for releases that want it done first, alone."""
    settings = read_settings(data)
    log.configure(settings.log_format, settings.log_level)
    with open_storage(settings):
        pass
    if as_json:
        print_json({"revision": newest_revision()})
    else:
        click.echo(f"The database is at revision {newest_revision()}.")


@click.command("rotate-secrets")
@json_option
@on_process
async def rotate_secrets(process: Process, as_json: bool) -> None:
    """Encrypt every connector's credentials with the first of WINDSOCK_SECRET_KEYS; the others can then go."""
    async with process.db.transaction() as tx:
        spaces = await tx.rows(QUERIES["list_space_ids"])
    rotated = 0
    for space in spaces:
        async with process.db.in_space(space["id"]) as tx:
            rotated += await rotate_secrets_of(tx, space["id"], process.secrets)
    if as_json:
        print_json({"rotated": rotated})
    else:
        click.echo(f"Encrypted the credentials of {rotated} connectors with the first key.")
