"""`windsock init`, `windsock key` and `windsock login-link`: the first user and space, keys, one-time login links."""

from uuid import UUID

import click
from rich.table import Table

from windsock.auth.authenticator import SLUG
from windsock.auth.sessions import LINK_MINUTES, create_login_link
from windsock.cli.decorators import json_option, print_json, print_table, with_context, with_database
from windsock.context import AppContext
from windsock.db.database import Database, Row, Transaction
from windsock.errors import Invalid, NotFound, WindsockError
from windsock.spaces.models import UserIn
from windsock.spaces.store import QUERIES, create_key, create_space, create_user, expect_row, upsert_member


async def login_url(tx: Transaction, process: AppContext, user_id: UUID, url: str | None = None) -> str:
    """Create a login link to the address of `serve`, or to `url`."""
    base = (url or f"http://{process.settings.host}:{process.settings.port}").rstrip("/")
    return f"{base}/sign-in/link?token={await create_login_link(tx, user_id)}"


@click.command()
@click.option("--email", required=True, help="Who you are.")
@click.option(
    "--space", "slug", required=True, help="A short name for your space: lower-case letters, digits, hyphens."
)
@click.option("--name", help="The space's name for people.  [default: made from the short one]")
@click.option("--role", type=click.Choice(["viewer", "editor", "admin"]), default="admin", show_default=True)
@click.option(
    "--superadmin/--no-superadmin",
    "superadmin",
    default=None,
    help="May see and manage every space.  [default: only the first user of an installation]",
)
@json_option
@with_context
async def init(
    process: AppContext, email: str, slug: str, name: str | None, role: str, superadmin: bool | None, as_json: bool
) -> None:
    """Make a user, a space and the user's first API key, whatever of them is missing.

    The key is printed this once. Run it as often as you like, also while `windsock serve` runs.
    """
    if not SLUG.fullmatch(slug):
        raise Invalid("--space takes 1 to 63 lower-case letters, digits and hyphens.", loc=("space",))
    db = process.db
    name = name or slug.replace("-", " ").title()
    async with db.transaction() as tx:
        user = await tx.fetch_one(QUERIES["find_user"], email=email.strip())
        if user is None:
            is_first = not expect_row(await tx.fetch_one(QUERIES["is_there_a_user"]))["is_there"]
            is_superadmin = is_first if superadmin is None else superadmin
            checked = UserIn(email=email, name=email.split("@", maxsplit=1)[0] or email, is_superadmin=is_superadmin)
            user = await create_user(tx, email=checked.email, name=checked.name, is_superadmin=is_superadmin)
        space = await tx.fetch_one(QUERIES["find_space"], slug=slug) or await create_space(tx, slug=slug, name=name)
        keys = expect_row(await tx.fetch_one(QUERIES["count_keys"], user_id=user["id"]))["total"]
        key: Row | None = None
        if not keys:
            key = await create_key(tx, user["id"], name="first key, made by windsock init", expires_in_days=None)
        link = await login_url(tx, process, user["id"])
    async with db.tenant_transaction(space["id"]) as tx:
        await upsert_member(tx, space["id"], user["id"], role)
    full_key = key["full_key"] if key else None
    if as_json:
        print_json({"key": full_key, "space": slug, "user_id": user["id"], "login_url": link})
        return
    powers = "superadmin" if user["is_superadmin"] else role
    click.echo(f"{user['email']} is {powers} in the space {slug}.")
    if full_key:
        click.echo(f"API key, shown this once: {full_key}")
    else:
        click.echo(f"There is an API key already; make another with: windsock key create --email {user['email']}")
    click.echo(f"The pages, while `windsock serve` runs; within {LINK_MINUTES} minutes, once: {link}")


@click.group()
def key() -> None:
    """Make, list and revoke API keys."""


@key.command("create")
@click.option("--email", required=True, help="Whose key: it acts as this user.")
@click.option("--name", default="made on the command line", show_default=True)
@click.option("--expires-in-days", type=click.IntRange(1, 3650), help="[default: never]")
@json_option
@with_database
async def create_one_key(db: Database, email: str, name: str, expires_in_days: int | None, as_json: bool) -> None:
    """Make an API key and print it this once."""
    async with db.transaction() as tx:
        user = await tx.fetch_one(QUERIES["find_user"], email=email.strip())
        if user is None:
            raise WindsockError(f"There is no user {email}. Make one with: windsock init --email {email} --space …")
        row = await create_key(tx, user["id"], name=name, expires_in_days=expires_in_days)
    if as_json:
        print_json({"key": row["full_key"], "id": row["id"], "user_id": user["id"], "expires_at": row["expires_at"]})
    else:
        click.echo(f"API key, shown this once: {row['full_key']}")


@key.command("list")
@click.option("--email", help="Only this user's.")
@json_option
@with_database
async def list_all_keys(db: Database, email: str | None, as_json: bool) -> None:
    """List API keys, newest first."""
    async with db.transaction() as tx:
        rows = await tx.fetch_all(QUERIES["all_keys"], email=email)
    if as_json:
        print_json(rows)
        return
    table = Table("key", "user", "name", "created", "last used", "expires", "revoked", "id", box=None)
    for row in rows:
        times = [row[name] for name in ("created_at", "last_used_at", "expires_at", "revoked_at")]
        shown = [f"{at:%Y-%m-%d %H:%M}" if at else "" for at in times]
        table.add_row(f"{row['key_prefix']}…", row["email"], row["name"], *shown, str(row["id"]))
    print_table(table)


@key.command("revoke")
@click.argument("which")
@json_option
@with_database
async def revoke_one_key(db: Database, which: str, as_json: bool) -> None:
    """Revoke a key by its id or its shown first characters; it stops working at once."""
    async with db.transaction() as tx:
        revoked = await tx.execute(QUERIES["revoke_any_key"], key=which.rstrip("…"))
    if not revoked:
        raise NotFound("API key that is not revoked already")
    if as_json:
        print_json({"revoked": revoked})
    else:
        click.echo("Revoked.")


@click.command("login-link")
@click.option("--email", required=True, help="Who is signed in by it.")
@click.option("--url", help="Where people reach this Windsock.  [default: http://WINDSOCK_HOST:WINDSOCK_PORT]")
@json_option
@with_context
async def login_link(process: AppContext, email: str, url: str | None, as_json: bool) -> None:
    """Print a one-time link that signs a user in to the pages, valid for 15 minutes."""
    async with process.db.transaction() as tx:
        user = await tx.fetch_one(QUERIES["find_user"], email=email.strip())
        if user is None or not user["is_active"]:
            raise WindsockError(f"There is no user {email}. Make one with: windsock init --email {email} --space …")
        link = await login_url(tx, process, user["id"], url)
    if as_json:
        print_json({"url": link, "minutes": LINK_MINUTES})
    else:
        click.echo(f"Open this within {LINK_MINUTES} minutes; it works once: {link}")
