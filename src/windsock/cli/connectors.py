"""`windsock connector`: add an Airflow, try it, list what there is."""

from dataclasses import asdict
from typing import Any
from uuid import UUID

import click
import orjson
from rich.table import Table

from windsock.cli.credentials import with_credentials
from windsock.cli.decorators import json_option, print_json, print_table, with_context
from windsock.cli.remote import as_uuid
from windsock.connectors.models import ConnectorIn
from windsock.connectors.store import QUERIES, create_connector, get_connector, load_connector
from windsock.context import AppContext
from windsock.db.database import Database, Row
from windsock.errors import Invalid, WindsockError
from windsock.http.responses import dump_json
from windsock.providers.airflow import Diagnosis
from windsock.spaces.store import QUERIES as ACCESS
from windsock.sync.safeguards import MASS_LOSS, OTHER_AIRFLOW
from windsock.sync.store import release_quarantine

space_option = click.option("--space", "slug", required=True, help="The space's short name.")


async def find_space(db: Database, slug: str) -> Row:
    async with db.transaction() as tx:
        space = await tx.fetch_one(ACCESS["find_space"], slug=slug)
    if space is None:
        raise WindsockError(f"There is no space {slug}. Make one with: windsock init --email … --space {slug}")
    return space


async def find_connector(db: Database, space: Row, which: str) -> Row:
    """By id or name."""
    async with db.tenant_transaction(space["id"]) as tx:
        names = {"connector_id": as_uuid(which), "name": which}
        found = await tx.fetch_all(QUERIES["find_connectors"], space_id=space["id"], **names)
    if not found:
        raise WindsockError(f"The space {space['slug']} has no connector {which}.")
    return found[0]


@click.group()
def connector() -> None:
    """Add an Airflow to a space, try the connection, list connectors."""


@connector.command("add")
@space_option
@click.option("--name", required=True, help="What people call this Airflow.")
@click.option("--url", required=True, help="Where it answers, such as https://airflow.example.com")
@with_credentials
@click.option("--history-days", type=click.IntRange(1, 3650), default=14, show_default=True)
@json_option
@with_context
async def add(
    process: AppContext,
    slug: str,
    name: str,
    url: str,
    credentials: dict[str, Any],
    history_days: int,
    as_json: bool,
) -> None:
    """Add an Airflow. A running `windsock serve` begins to mirror it at once.

    Without --auth, --username or --token it is read without signing in.
    """
    body = ConnectorIn(
        name=name,
        connector_type="airflow",
        config={"base_url": url, "history_days": history_days},
        credentials=credentials,
    )
    space = await find_space(process.db, slug)
    async with process.db.tenant_transaction(space["id"]) as tx:
        try:
            row = await create_connector(
                tx, space["id"], body, process.secrets, limit=process.settings.max_connectors_per_space
            )
        except Invalid as wrong:
            raise click.UsageError(f"{_option_of(wrong)}: {wrong}") from None
    if not as_json:
        click.echo(f"Added {name}. ", nl=False)
    diagnosis = await _diagnose(process, space, row["id"])
    _report(diagnosis, {**row, "test": asdict(diagnosis)} if as_json else None)


@connector.command("test")
@space_option
@click.option("--connector", "which", required=True, help="Its name or id.")
@json_option
@with_context
async def test(process: AppContext, slug: str, which: str, as_json: bool) -> None:
    """Try a connection, and say what to check when it does not work."""
    space = await find_space(process.db, slug)
    diagnosis = await _diagnose(process, space, (await find_connector(process.db, space, which))["id"])
    _report(diagnosis, asdict(diagnosis) if as_json else None)


@connector.command("list")
@space_option
@json_option
@with_context
async def list_all(process: AppContext, slug: str, as_json: bool) -> None:
    """List the connectors of a space."""
    space = await find_space(process.db, slug)
    async with process.db.tenant_transaction(space["id"]) as tx:
        rows = await tx.fetch_json(QUERIES["list_connectors"], space_id=space["id"], limit=1000, offset=0)
    if as_json:
        print_json(rows)
        return
    table = Table("name", "type", "pipelines", "last sync", "status", "mirror", "why", "id", box=None)
    for row in orjson.loads(dump_json(rows)):
        last = row["last_sync"][:16].replace("T", " ") if row["last_sync"] else ""
        fresh = row["freshness"] or {"state": "", "reason": None}
        table.add_row(
            row["name"],
            row["connector_type"],
            str(row["product_count"]),
            last,
            row["last_sync_status"],
            fresh["state"],
            fresh["reason"] or "",
            row["id"],
        )
    print_table(table)


@connector.command("accept")
@space_option
@click.option("--connector", "which", required=True, help="Its name or id.")
@click.option("--kind", type=click.Choice([MASS_LOSS, OTHER_AIRFLOW]), required=True, help="What you accept.")
@json_option
@with_context
async def accept(process: AppContext, slug: str, which: str, kind: str, as_json: bool) -> None:
    """Let a sync go on with what it holds back: take what is missing for deleted, or mirror another Airflow."""
    space = await find_space(process.db, slug)
    found = await find_connector(process.db, space, which)
    async with process.db.tenant_transaction(space["id"]) as tx:
        accepted = await release_quarantine(tx, space["id"], found["id"], kind)
        row = await get_connector(tx, space["id"], found["id"])
    if as_json:
        print_json(row)
    else:
        click.echo(f"Accepted: {accepted['reason']}")


def _option_of(wrong: Invalid) -> str:
    """The option whose value the API calls body.config.<field>, or body.credentials.<auth_type>.<field>."""
    _, place, *fields = map(str, wrong.loc)
    field, *within = (fields if place == "config" else fields[1:]) or ["auth"]
    option = "--url" if field == "base_url" else f"--{field.replace('_', '-')}"
    return ": ".join((option, *within))


async def _diagnose(process: AppContext, space: Row, connector_id: UUID) -> Diagnosis:
    async with process.db.tenant_transaction(space["id"]) as tx:
        opened = await load_connector(tx, space["id"], connector_id, process.secrets)
    return await process.diagnose(opened.config, opened.credentials, connector_id=opened.id)


def _report(diagnosis: Diagnosis, as_json: dict[str, Any] | None) -> None:
    """In words, or as the JSON that is given; exit status 1 where the connection does not work."""
    if as_json is not None:
        print_json(as_json)
    else:
        click.echo("\n  - ".join((diagnosis.message, *diagnosis.hints)))
    if not diagnosis.success:
        raise click.exceptions.Exit(1)
