"""`windsock login-link`: creates a one-time link that signs a user in to the pages."""

from uuid import UUID

import click

from windsock.auth.sessions import LINK_MINUTES, create_login_link
from windsock.cli.decorators import json_option, print_json, with_context
from windsock.context import AppContext
from windsock.db.database import Transaction
from windsock.errors import WindsockError
from windsock.spaces.store import QUERIES


async def login_url(tx: Transaction, process: AppContext, user_id: UUID, url: str | None = None) -> str:
    """Create a login link to the address of `serve`, or to `url`."""
    base = (url or f"http://{process.settings.host}:{process.settings.port}").rstrip("/")
    return f"{base}/sign-in/link?token={await create_login_link(tx, user_id)}"


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
