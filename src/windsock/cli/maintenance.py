"""`windsock migrate` and `windsock rotate-secrets`: what an operator does now and then."""

from pathlib import Path

import click

from windsock import log
from windsock.cli.decorators import (
    data_option,
    handle_errors,
    json_option,
    print_json,
    read_settings,
    with_context,
)
from windsock.connectors.store import QUERIES
from windsock.connectors.store import rotate_secrets as rotate_secrets_of
from windsock.context import AppContext
from windsock.db.bootstrap import provision_database
from windsock.db.migrations import newest_revision
from windsock.notifications.store import rotate_channel_secrets


@click.command()
@data_option
@json_option
@handle_errors
def migrate(data: Path | None, as_json: bool) -> None:
    """Bring the database up to date. `serve` does it too; for releases that want it done first, alone."""
    settings = read_settings(data)
    log.configure(settings.log_format, settings.log_level)
    with provision_database(settings):
        pass
    if as_json:
        print_json({"revision": newest_revision()})
    else:
        click.echo(f"The database is at revision {newest_revision()}.")


@click.command("rotate-secrets")
@json_option
@with_context
async def rotate_secrets(process: AppContext, as_json: bool) -> None:
    """Encrypt every credential and secret with the first of WINDSOCK_SECRET_KEYS; the others can then go."""
    async with process.db.transaction() as tx:
        spaces = await tx.fetch_all(QUERIES["list_space_ids"])
    rotated = 0
    for space in spaces:
        async with process.db.tenant_transaction(space["id"]) as tx:
            rotated += await rotate_secrets_of(tx, space["id"], process.secrets)
            rotated += await rotate_channel_secrets(tx, space["id"], process.secrets)
    if as_json:
        print_json({"rotated": rotated})
    else:
        click.echo(f"Encrypted the credentials of {rotated} connectors and channels with the first key.")
