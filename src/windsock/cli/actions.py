"""`windsock clear`, `mark`, `pause`, `unpause` and `note`: actions in Airflow."""

from typing import cast
from uuid import UUID

import click
from rich.table import Table

from windsock.actions.models import ClearResult
from windsock.cli.bulk_clear import clear_fingerprint
from windsock.cli.decorators import json_option, print_json, print_table
from windsock.cli.formatting import plain, status_text
from windsock.cli.remote import EXIT_REFUSED, CommandFailed, connector_option, find_pipeline, with_client
from windsock.cli.runs import find_task, find_tasks, task_option
from windsock.client import Client

reason_option = click.option("--reason", help="Why: for Airflow's note and the audit log.")
key_option = click.option(
    "--idempotency-key", help="Repeated with the same key, it is done once.  [default: a new one]"
)


@click.command()
@click.argument("run_id", required=False, type=click.UUID)
@click.option("--fingerprint", "fingerprint_id", type=click.UUID, help="All failed runs with this error instead.")
@click.option(
    "--task", "tasks", multiple=True, help="TASK_ID, TASK_ID:MAP_INDEX or TASK_ID@ITERATION. Repeat for several."
)
@click.option("--all", "clears_all", is_flag=True, help="Also tasks that did not fail.")
@click.option("--downstream", is_flag=True, help="Also the tasks behind --task.")
@reason_option
@click.option("--dry-run", is_flag=True, help="Only list what would be cleared.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@key_option
@json_option
@with_client
def clear(
    client: Client,
    run_id: UUID | None,
    fingerprint_id: UUID | None,
    tasks: tuple[str, ...],
    clears_all: bool,
    downstream: bool,
    reason: str | None,
    dry_run: bool,
    yes: bool,
    idempotency_key: str | None,
    as_json: bool,
) -> None:
    """Clear the failed tasks of a run, so that they run again. Lists them first, and asks.

    With --fingerprint those of at most 200 failed runs with the same error (see `windsock failures`), and waits until
    all are cleared; what is interrupted goes on, and --idempotency-key follows it again.

    Exit status: 0 cleared; 1 of several runs not all were cleared; 3 refused; 4 no answer.
    """
    if (run_id is None) == (fingerprint_id is None):
        raise click.UsageError("Give either RUN_ID or --fingerprint.")
    if fingerprint_id is not None:
        if tasks or clears_all or downstream:
            raise click.UsageError("--task, --all and --downstream are of one run: give RUN_ID.")
        clear_fingerprint(
            client, fingerprint_id, reason=reason, dry_run=dry_run, yes=yes, key=idempotency_key, as_json=as_json
        )
        return
    _clear_run(
        client, cast("UUID", run_id), tasks, clears_all=clears_all, downstream=downstream, reason=reason,
        dry_run=dry_run, yes=yes, idempotency_key=idempotency_key, as_json=as_json,
    )  # fmt: skip


def _clear_run(
    client: Client,
    run_id: UUID,
    tasks: tuple[str, ...],
    *,
    clears_all: bool,
    downstream: bool,
    reason: str | None,
    dry_run: bool,
    yes: bool,
    idempotency_key: str | None,
    as_json: bool,
) -> None:
    ids = [task.id for name in tasks for task in find_tasks(client, run_id, name)] or None

    def request(*, is_dry_run: bool) -> ClearResult:
        return client.clear_run(
            run_id, task_run_ids=ids, only_failed=not clears_all, include_downstream=downstream, dry_run=is_dry_run,
            reason=reason, idempotency_key=idempotency_key,
        )  # fmt: skip

    if dry_run or not yes:
        planned = request(is_dry_run=True)
        if dry_run and as_json:
            print_json(planned.model_dump(mode="json"))
            return
        if not planned.task_runs:
            raise CommandFailed("There is nothing to clear.", EXIT_REFUSED)
        if not as_json:
            print_table(_task_table(planned))
        if dry_run:
            return
        click.confirm(f"Clear these {len(planned.task_runs)} task runs?", abort=True, err=True)
    result = request(is_dry_run=False)
    if as_json:
        print_json(result.model_dump(mode="json"))
    else:
        click.echo(f"Cleared {len(result.task_runs)} task runs; the run is {result.run.status}.")
        click.echo(result.run.provider_url)


@click.command()
@click.argument("run_id", type=click.UUID)
@click.argument("status", type=click.Choice(["success", "failed", "skipped"]))
@task_option
@reason_option
@key_option
@json_option
@with_client
def mark(
    client: Client,
    run_id: UUID,
    status: str,
    task: str | None,
    reason: str | None,
    idempotency_key: str | None,
    as_json: bool,
) -> None:
    """Mark a run as success or failed, or one task of it as success, failed or skipped."""
    changed: object
    if task is None:
        if status == "skipped":
            raise click.UsageError("Only a task can be skipped: give --task.")
        changed = client.mark_run(run_id, status, reason=reason, idempotency_key=idempotency_key)  # type: ignore[arg-type]  # a choice
    else:
        found = find_task(client, run_id, task)
        changed = client.mark_task_run(found.id, status, reason=reason, idempotency_key=idempotency_key)  # type: ignore[arg-type]  # a choice
    _print(changed, f"Marked {task or 'the run'} {status}.", as_json=as_json)


@click.command()
@click.argument("which", metavar="PIPELINE")
@connector_option
@reason_option
@json_option
@with_client
def pause(client: Client, which: str, connector: str | None, reason: str | None, as_json: bool) -> None:
    """Pause a pipeline (its name, dag_id or id): Airflow starts no runs of it."""
    _set_paused(client, which, connector, reason, is_paused=True, as_json=as_json)


@click.command()
@click.argument("which", metavar="PIPELINE")
@connector_option
@reason_option
@json_option
@with_client
def unpause(client: Client, which: str, connector: str | None, reason: str | None, as_json: bool) -> None:
    """Resume a paused pipeline (its name, dag_id or id)."""
    _set_paused(client, which, connector, reason, is_paused=False, as_json=as_json)


def _set_paused(
    client: Client, which: str, connector: str | None, reason: str | None, *, is_paused: bool, as_json: bool
) -> None:
    found = find_pipeline(client, which, connector)
    changed = client.set_paused(found.id, is_paused=is_paused, reason=reason)
    _print(changed, f"{found.name} is {'paused' if is_paused else 'resumed'}.", as_json=as_json)


@click.command()
@click.argument("run_id", type=click.UUID)
@click.argument("text", required=False)
@click.option("--remove", is_flag=True, help="Remove the note.")
@task_option
@json_option
@with_client
def note(
    client: Client,
    run_id: UUID,
    text: str | None,
    remove: bool,
    task: str | None,
    as_json: bool,
) -> None:
    """Write Airflow's note on a run, or on one task of it; it replaces the one that is there."""
    if remove == (text is not None):
        raise click.UsageError("Give either a text or --remove.")
    changed: object
    if task is None:
        changed = client.note_run(run_id, text)
    else:
        changed = client.note_task_run(find_task(client, run_id, task).id, text)
    _print(changed, "Removed the note." if remove else "Wrote the note.", as_json=as_json)


def _task_table(result: ClearResult) -> Table:
    table = Table("task", "instance", "state", box=None)
    for row in result.task_runs:
        instance = "" if row.map_index is None else str(row.map_index)
        table.add_row(plain(row.external_id), instance, status_text(row.status or "none"))
    return table


def _print(changed: object, sentence: str, *, as_json: bool) -> None:
    if as_json:
        print_json(changed.model_dump(mode="json"))  # type: ignore[attr-defined]  # a model of the API
    else:
        click.echo(sentence)
