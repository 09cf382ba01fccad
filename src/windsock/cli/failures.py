"""`windsock failures`: groups of failures with the same fault; their names, runbooks, merges and splits."""

from itertools import islice
from uuid import UUID

import click
from rich.table import Table

from windsock.cli.decorators import json_option, print_json, print_table
from windsock.cli.formatting import ago, plain
from windsock.cli.pipelines import limit_option
from windsock.cli.remote import connector_option, find_pipeline, find_team, with_client
from windsock.cli.terminal import ListFirst
from windsock.client import Client
from windsock.failures.models import FingerprintDetail
from windsock.runs.models import FailureComment, RootFailure


@click.group(cls=ListFirst)
def failures() -> None:
    """List errors of failed runs, grouped by their fingerprint; name, merge and split the groups, and pin a runbook.

    Without one of these commands it is `list`: `windsock failures --pipeline daily_report`.
    """


@failures.command("list")
@click.argument("fingerprint_id", required=False, type=click.UUID)
@click.option("--pipeline", "which", help="Its name, dag_id or id.")
@click.option("--team", help="Only of pipelines of this team: its name or id.")
@connector_option
@click.option("--q", help="Words that must all occur in the error, its name or the name of the pipeline.")
@limit_option
@json_option
@with_client
def list_failures(
    client: Client,
    fingerprint_id: UUID | None,
    which: str | None,
    team: str | None,
    connector: str | None,
    q: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """List errors of failed runs, grouped by their fingerprint; with FINGERPRINT_ID, show that group."""
    if fingerprint_id is not None:
        _show(client.fingerprint(fingerprint_id), as_json=as_json)
        return
    found = client.fingerprints(
        pipeline_id=find_pipeline(client, which, connector).id if which else None,
        team_id=find_team(client, team).id if team else None,
        q=q,
        size=min(limit, 100),
    )
    rows = list(islice(found, limit))
    if as_json:
        print_json([row.model_dump(mode="json") for row in rows])
        return
    if not rows:
        click.echo("No failure matches.")
        return
    table = Table("error", "pipeline", "runs", "in 30 days", "last", "id", box=None)
    for row in rows:
        table.add_row(
            plain(row.name or row.title), plain(row.pipeline.name), str(row.occurrences), str(row.count_30_days),
            ago(row.last_seen_at), str(row.id),
        )  # fmt: skip
    print_table(table)


@failures.command()
@click.argument("fingerprint_id", type=click.UUID)
@click.argument("into", metavar="OTHER_ID", type=click.UUID)
@json_option
@with_client
def merge(client: Client, fingerprint_id: UUID, into: UUID, as_json: bool) -> None:
    """Merge a group into another one of the same pipeline; `split` separates them again."""
    group = client.merge_fingerprint(fingerprint_id, into)
    _print(group, f"Merged into {group.name or group.title} ({group.id}).", as_json=as_json)


@failures.command()
@click.argument("fingerprint_id", type=click.UUID)
@click.option("--run", "run_ids", multiple=True, type=click.UUID, help="All failures of this run. Repeat for several.")
@click.option("--failure", "failure_ids", multiple=True, type=click.UUID, help="Its id. Repeat for several.")
@json_option
@with_client
def split(
    client: Client, fingerprint_id: UUID, run_ids: tuple[UUID, ...], failure_ids: tuple[UUID, ...], as_json: bool
) -> None:
    """Split failures off a group, by their runs or ids. Later failures with their messages belong to the new group."""
    if not run_ids and not failure_ids:
        raise click.UsageError("Which failures? Give --run or --failure.")
    group = client.split_fingerprint(fingerprint_id, task_failure_ids=failure_ids, run_ids=run_ids)
    _print(group, f"Split off as {group.name or group.title} ({group.id}).", as_json=as_json)


@failures.command()
@click.argument("fingerprint_id", type=click.UUID)
@click.argument("text", metavar="NAME", required=False)
@click.option("--remove", is_flag=True, help="Remove the name.")
@json_option
@with_client
def name(client: Client, fingerprint_id: UUID, text: str | None, remove: bool, as_json: bool) -> None:
    """Name a group."""
    if remove == (text is not None):
        raise click.UsageError("Give either a name or --remove.")
    group = client.name_fingerprint(fingerprint_id, text)
    _print(group, "Removed the name." if remove else f"Named {group.name}.", as_json=as_json)


@failures.command()
@click.argument("fingerprint_id", type=click.UUID)
@click.argument("comment_id", required=False, type=click.UUID)
@click.option("--remove", is_flag=True, help="Unpin the runbook.")
@json_option
@with_client
def runbook(client: Client, fingerprint_id: UUID, comment_id: UUID | None, remove: bool, as_json: bool) -> None:
    """Pin a comment as the runbook of a group."""
    if remove == (comment_id is not None):
        raise click.UsageError("Give either the id of a comment or --remove.")
    group = client.set_runbook(fingerprint_id, comment_id)
    _print(group, "Unpinned the runbook." if remove else f"Runbook: {_one_line(group.runbook)}", as_json=as_json)


def _print(group: FingerprintDetail, sentence: str, *, as_json: bool) -> None:
    if as_json:
        print_json(group.model_dump(mode="json"))
    else:
        click.echo(sentence)


def _show(group: FingerprintDetail, *, as_json: bool) -> None:
    if as_json:
        print_json(group.model_dump(mode="json"))
        return
    click.echo(group.name or group.title)
    facts = [
        ("error", group.title if group.name else None),
        ("pipeline", group.pipeline.name),
        ("runs", f"{group.occurrences}, {group.count_30_days} in 30 days"),
        ("last", ago(group.last_seen_at)),
        ("first", ago(group.first_seen_at)),
        ("grouped by", group.grouped_by),
        ("runbook", _one_line(group.runbook)),
    ]
    for name, value in facts:
        if value:
            click.echo(f"  {name:<12} {' '.join(value.split())}")
    table = Table("run", "task", "failed", "error", "id", box=None)
    for failure in group.failures:
        table.add_row(
            str(failure.run_id), plain(failure.task_id), ago(failure.failed_at), plain(failure.summary),
            str(failure.id),
        )  # fmt: skip
    print_table(table)
    for comment in group.comments:
        click.echo(f"  {_author(comment)}, {ago(comment.created_at)}: {comment.content} ({comment.id})")


def failure_lines(failure: RootFailure) -> list[str]:
    """The error of a failed task, its excerpt, and what is known of earlier ones."""
    if failure.summary is None:
        return [f"{failure.task_id}: the log could not be read: {failure.log_error or 'no reason was given'}"]
    lines = [f"{failure.task_id}: {failure.summary}", *(f"    {line}" for line in (failure.excerpt or "").splitlines())]
    known = failure.recurrence
    if known is not None and known.count_30_days > 1:
        lines.append(f"  {known.count_30_days} runs failed so in 30 days.")
    if known is not None and known.last_comment is not None:
        lines.append(
            f"  {_author(known.last_comment)}, {ago(known.last_comment.created_at)}: {known.last_comment.content}"
        )
    if known is not None and known.runbook is not None:
        lines.append(f"  runbook: {known.runbook.content}")
    return lines


def _one_line(comment: FailureComment | None) -> str | None:
    return None if comment is None else f"{' '.join(comment.content.split())} ({_author(comment)})"


def _author(comment: FailureComment) -> str:
    return comment.author.name if comment.author else "somebody who is gone"
