"""`windsock space`: list the spaces, and say how long each keeps its runs."""

import click
from rich.table import Table

from windsock.cli.connectors import find_space, space_option
from windsock.cli.decorators import json_option, print_json, print_table, with_database
from windsock.cli.formatting import plain
from windsock.db.database import Database
from windsock.errors import WindsockError
from windsock.spaces.store import QUERIES


@click.group()
def space() -> None:
    """List the spaces, say how long they keep runs. Make one with `windsock init`."""


@space.command("list")
@json_option
@with_database
async def list_all(db: Database, as_json: bool) -> None:
    """List all spaces."""
    everybody = {"user_id": None, "is_superadmin": True}
    async with db.transaction() as tx:
        rows = await tx.fetch_all(QUERIES["list_spaces"], **everybody, limit=1000, offset=0)
    if as_json:
        print_json(rows)
        return
    table = Table("space", "name", "keeps runs", "created", "id", box=None)
    for row in rows:
        created = f"{row['created_at']:%Y-%m-%d %H:%M}"
        table.add_row(
            row["slug"], plain(row["name"]), _format_retention(row["retention_days"]), created, str(row["id"])
        )
    print_table(table)


@space.command("set")
@space_option
@click.option("--retention-days", type=click.IntRange(1, 36_500), help="Delete runs here that are older.")
@click.option("--keep-all", is_flag=True, help="Delete none any more.")
@json_option
@with_database
async def set_retention(db: Database, slug: str, retention_days: int | None, keep_all: bool, as_json: bool) -> None:
    """Say how long a space keeps runs, with their task runs and comments. In Airflow nothing is deleted."""
    if keep_all == (retention_days is not None):
        raise click.UsageError("Give either --retention-days or --keep-all.")
    found = await find_space(db, slug)
    async with db.tenant_transaction(found["id"]) as tx:
        row = await tx.fetch_one(
            QUERIES["update_space"],
            space_id=found["id"],
            name=None,
            sets_retention=True,
            retention_days=retention_days,
            requires_reason=None,
        )
    if row is None:
        raise WindsockError(f"The space {slug} has just been deleted.")
    if as_json:
        print_json(row)
    elif retention_days is None:
        click.echo(f"{slug} keeps all runs.")
    else:
        click.echo(
            f"{slug} keeps runs for {_format_retention(retention_days)}; a worker deletes what "
            "is older, every ten minutes."
        )


def _format_retention(days: int | None) -> str:
    return "for ever" if days is None else f"{days} day{'' if days == 1 else 's'}"
