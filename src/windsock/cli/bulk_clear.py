"""`windsock clear --fingerprint`: all failed runs with one error, followed until each has a result."""

import time
from uuid import UUID

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Table

from windsock.actions.models import BulkClear
from windsock.cli.decorators import print_json, print_table
from windsock.cli.formatting import plain, status_text
from windsock.cli.remote import EXIT_FAILED, EXIT_REFUSED, CommandFailed
from windsock.client import Client

POLL_SECONDS = 0.5


def clear_fingerprint(
    client: Client,
    fingerprint_id: UUID,
    *,
    reason: str | None,
    dry_run: bool,
    yes: bool,
    key: str | None,
    as_json: bool,
) -> None:
    if dry_run or not yes:
        planned = client.clear_fingerprint(fingerprint_id, dry_run=True)
        if dry_run and as_json:
            print_json(planned.model_dump(mode="json"))
            return
        if not planned.runs:
            raise CommandFailed("There is nothing to clear: no run that is failed now has this error.", EXIT_REFUSED)
        if not as_json:
            print_table(_run_table(planned))
            _echo_left_out(planned)
        if dry_run:
            return
        click.confirm(f"Clear the failed tasks of these {planned.total} runs?", abort=True, err=True)
    started = client.clear_fingerprint(fingerprint_id, reason=reason, idempotency_key=key)
    done = _follow(client, started, quiet=as_json)
    if as_json:
        print_json(done.model_dump(mode="json"))
    else:
        print_table(_run_table(done))
        click.echo(f"Cleared {done.cleared} of {done.total} runs.")
        _echo_left_out(done)
    if done.failed:
        raise click.exceptions.Exit(EXIT_FAILED)


def _follow(client: Client, followed: BulkClear, *, quiet: bool) -> BulkClear:
    console = Console(stderr=True)
    with Progress(
        SpinnerColumn(), TextColumn("clearing"), BarColumn(), MofNCompleteColumn(), TextColumn("runs"),
        console=console, transient=True, disable=quiet or not console.is_terminal,
    ) as bar:  # fmt: skip
        task = bar.add_task("clearing", total=followed.total)
        while followed.status != "done" and followed.id is not None:
            time.sleep(POLL_SECONDS)
            followed = client.bulk_clear(followed.fingerprint_id, followed.id)
            bar.update(task, total=followed.total, completed=followed.cleared + followed.failed)
    return followed


def _run_table(bulk_clear: BulkClear) -> Table:
    table = Table("run", "state", "task runs", "tasks", "result", box=None)
    for run in bulk_clear.runs:
        result = "" if run.outcome == "pending" else run.error or run.outcome
        table.add_row(
            plain(run.run_external_id), status_text(run.run_status), str(run.task_run_count),
            plain(", ".join(run.task_ids)), plain(result),
        )  # fmt: skip
    return table


def _echo_left_out(bulk_clear: BulkClear) -> None:
    if bulk_clear.left_out:
        click.echo(f"{bulk_clear.left_out:,} more failed runs have this error; clear again to take the next ones.")
