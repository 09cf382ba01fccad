"""`windsock sync`: sync a connector now and watch it, or cancel the sync that is under way."""

import asyncio
import contextlib
import time
from pathlib import Path
from typing import Any
from uuid import UUID

import click
import orjson
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from windsock.cli import remote
from windsock.cli.connectors import find_connector, find_space
from windsock.cli.decorators import data_option, json_option, print_json, with_context
from windsock.cli.remote import find_connector as find_remote_connector
from windsock.cli.remote import with_client
from windsock.client import Client, Conflict
from windsock.context import AppContext
from windsock.db.database import Row
from windsock.http.responses import dump_json
from windsock.sync.jobs import expire_sync
from windsock.sync.models import SyncRun
from windsock.sync.store import cancel_sync, find_or_queue_sync, get_sync, unfinished_syncs

POLL_SECONDS = 0.3
UNFINISHED = ("queued", "running")
NOTHING_TO_CANCEL = "No sync of {} is queued or running."


@click.command()
@remote.space_option
@click.option("--connector", "which", required=True, help="Its name or id.")
@click.option("--full", is_flag=True, help="Read the whole history again, and find what was deleted.")
@click.option("--cancel", is_flag=True, help="End what is queued or running. What it has stored stays.")
@json_option
@remote.url_option
@remote.key_option
@data_option
def sync(
    slug: str | None,
    which: str,
    full: bool,
    cancel: bool,
    as_json: bool,
    url: str | None,
    api_key: str | None,
    data: Path | None,
) -> None:
    """Sync a connector now and show its progress. Follows the running sync when there is one already.

    With --full while a normal sync runs, the full one is queued behind it and followed to its end.

    With --url or WINDSOCK_URL the server there is asked; otherwise this machine's database is used, without a server.
    Exit status: 0 when complete, with --cancel when cancelled; 1 when it ended otherwise.
    """
    if cancel and full:
        raise click.UsageError("--full asks for a sync and --cancel ends one: give one of them.")
    if url and cancel:
        with_client(_cancel_remote)(url, api_key, slug, which, as_json=as_json)
    elif url:
        with_client(_sync_remote)(url, api_key, slug, which, full=full, as_json=as_json)
    elif not slug:
        raise click.UsageError("Which space? Give --space, or --url to ask a server.")
    elif cancel:
        with_context(_cancel_local)(data=data, slug=slug, which=which, as_json=as_json)
    else:
        with_context(_sync_local)(data=data, slug=slug, which=which, full=full, as_json=as_json)


def _sync_remote(client: Client, which: str, *, full: bool, as_json: bool) -> None:
    requested = client.sync(find_remote_connector(client, which).id, is_full=full)
    _end(_follow_remote(client, requested, quiet=as_json), as_json=as_json)


def _cancel_remote(client: Client, which: str, *, as_json: bool) -> None:
    connector_id = find_remote_connector(client, which).id
    found = list(client.syncs(connector_id=connector_id, status=UNFINISHED))
    if not found:
        raise remote.CommandFailed(NOTHING_TO_CANCEL.format(which), remote.EXIT_REFUSED)
    for unfinished in found:  # the newest first: the full one that waits, then the one under way
        with contextlib.suppress(Conflict):  # it has just ended, and is shown as it did
            client.cancel_sync(unfinished.id)
    _end(_follow_remote(client, found[-1], quiet=as_json), as_json=as_json, wanted="cancelled")


def _follow_remote(client: Client, followed: SyncRun, *, quiet: bool) -> dict[str, Any]:
    with _progress(quiet=quiet) as bar:
        task = bar.add_task("waiting", total=None, requests=0)
        while followed.status in UNFINISHED:
            _show(bar, task, followed.model_dump())
            time.sleep(POLL_SECONDS)
            followed = client.sync_run(followed.id)
    return followed.model_dump(mode="json")


async def _sync_local(process: AppContext, slug: str, which: str, *, full: bool, as_json: bool) -> None:
    space = await find_space(process.db, slug)
    connector_id = (await find_connector(process.db, space, which))["id"]
    await _abandon_dead_syncs(process, space["id"], connector_id)
    async with process.db.tenant_transaction(space["id"]) as tx:
        wanted, _ = await find_or_queue_sync(tx, space["id"], connector_id, is_full=full)
    if wanted is None:
        raise click.ClickException("The sync that was running has just ended. Try again.")
    _end(await _follow_local(process, space["id"], wanted, quiet=as_json, carries_out=True), as_json=as_json)


async def _cancel_local(process: AppContext, slug: str, which: str, *, as_json: bool) -> None:
    space = await find_space(process.db, slug)
    connector_id = (await find_connector(process.db, space, which))["id"]
    async with process.db.tenant_transaction(space["id"]) as tx:
        found = await unfinished_syncs(tx, space["id"], connector_id)
        if not found:
            raise click.ClickException(NOTHING_TO_CANCEL.format(which))
        for unfinished in reversed(found):
            await cancel_sync(tx, space["id"], unfinished["id"])
    last = await _follow_local(process, space["id"], found[0], quiet=as_json)
    _end(last, as_json=as_json, wanted="cancelled")


async def _abandon_dead_syncs(process: AppContext, space_id: UUID, connector_id: UUID) -> list[Row]:
    """List the unfinished syncs of the connector, after ending those whose worker is dead."""
    async with process.db.tenant_transaction(space_id) as tx:
        unfinished = await unfinished_syncs(tx, space_id, connector_id)
    for left in unfinished:
        await expire_sync(process.db, space_id, left["id"])
    return unfinished


def _end(last: dict[str, Any], *, as_json: bool, wanted: str = "complete") -> None:
    if as_json:
        print_json(last)
    else:
        _report(last)
    if last["status"] != wanted:
        raise click.exceptions.Exit(1)


def _progress(*, quiet: bool) -> Progress:
    """A bar on a terminal."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("rows, {task.fields[requests]} requests"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=quiet or not Console(stderr=True).is_terminal,
    )


def _show(bar: Progress, task: TaskID, now: dict[str, Any]) -> None:
    bar.update(
        task,
        description=now["phase"],
        total=now["coverage"]["expected"] or None,
        completed=now["coverage"]["read"],
        requests=now["provider_requests"],
    )


async def _follow_local(
    process: AppContext, space_id: UUID, followed: Row, *, quiet: bool, carries_out: bool = False
) -> dict[str, Any]:
    """Look again and again until it has ended.

    `carries_out`: claim it here if nobody has it, after the one that it waits for. This works without a server, and a
    server beside this process finds it taken.
    """
    carried_out: asyncio.Task[None] | None = None
    with _progress(quiet=quiet) as bar:
        task = bar.add_task("waiting", total=None, requests=0)
        while True:
            unfinished = await _abandon_dead_syncs(process, space_id, followed["connector_id"])
            if carried_out is not None and carried_out.done():
                carried_out = carried_out.result()
            if carries_out and unfinished and carried_out is None:
                carried_out = asyncio.create_task(process.execution.run(space_id, unfinished[0]["id"]))
            async with process.db.tenant_transaction(space_id) as tx:
                now: dict[str, Any] = orjson.loads(dump_json(await get_sync(tx, space_id, followed["id"])))
            _show(bar, task, now)
            if now["status"] not in UNFINISHED:
                if carried_out is not None:
                    await carried_out
                return now
            await asyncio.sleep(POLL_SECONDS)


def _report(sync_run: dict[str, Any]) -> None:
    coverage = sync_run["coverage"]
    skipped = f", {coverage['skipped']} skipped" if coverage["skipped"] else ""
    click.echo(
        f"{sync_run['status']}: read {coverage['read']} rows{skipped} in {sync_run['provider_requests']} requests"
    )
    for kind in ("pipelines", "runs", "task_runs"):
        counts = ", ".join(f"{number} {outcome}" for outcome, number in sync_run[kind].items())
        click.echo(f"  {kind.replace('_', ' ')}: {counts}")
    for warning in sync_run["warnings"]:
        click.echo(f"  warning: {warning}")
    if sync_run["error"]:
        click.echo(f"  {sync_run['error']}", err=True)
