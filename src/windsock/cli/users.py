"""`windsock user`: list the users; deactivate, reactivate or rename one, or make one superadmin."""

import click
from rich.table import Table

from windsock.cli.decorators import json_option, print_json, print_table, with_database
from windsock.cli.formatting import plain
from windsock.db.database import Database
from windsock.errors import UserNotFound
from windsock.spaces.store import QUERIES, update_user

MAX_NAME_CHARACTERS = 200


@click.group()
def user() -> None:
    """List users; deactivate one, or make one superadmin. Create one with `windsock init`."""


@user.command("list")
@json_option
@with_database
async def list_all(db: Database, as_json: bool) -> None:
    """List all users."""
    async with db.transaction() as tx:
        rows = await tx.fetch_all(QUERIES["list_users"], limit=10_000, offset=0)
    if as_json:
        print_json(rows)
        return
    table = Table("user", "name", "state", "superadmin", "created", "id", box=None)
    for row in rows:
        state, superadmin = "active" if row["is_active"] else "deactivated", "yes" if row["is_superadmin"] else ""
        created = f"{row['created_at']:%Y-%m-%d %H:%M}"
        table.add_row(plain(row["email"]), plain(row["name"]), state, superadmin, created, str(row["id"]))
    print_table(table)


@user.command("set")
@click.option("--email", required=True, help="Which user.")
@click.option("--name", help="Another name for people.")
@click.option(
    "--active/--inactive",
    default=None,
    help="--inactive: the user may not sign in any more; ends all sessions and revokes all API keys.",
)
@click.option("--superadmin/--no-superadmin", default=None, help="May see and manage every space.")
@json_option
@with_database
async def change(
    db: Database, email: str, name: str | None, active: bool | None, superadmin: bool | None, as_json: bool
) -> None:
    """Deactivate or reactivate a user, rename one, or make one superadmin. One active superadmin always stays."""
    if name is None and active is None and superadmin is None:
        raise click.UsageError("Give --name, --active, --inactive, --superadmin or --no-superadmin.")
    if name is not None and not 1 <= len(name.strip()) <= MAX_NAME_CHARACTERS:
        raise click.UsageError(f"--name takes 1 to {MAX_NAME_CHARACTERS} characters.")
    async with db.transaction() as tx:
        found = await tx.fetch_one(QUERIES["find_user"], email=email.strip())
        if found is None:
            raise UserNotFound
        row = await update_user(
            tx, found["id"], name=name.strip() if name else None, is_superadmin=superadmin, is_active=active
        )
    if as_json:
        print_json(row)
    else:
        state = "active" if row["is_active"] else "deactivated, without sessions and API keys"
        click.echo(f"{row['email']} is {state}{', superadmin' if row['is_superadmin'] else ''}.")
