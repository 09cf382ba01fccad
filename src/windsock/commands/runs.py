"""`windsock runs` and `windsock comment`: what ran, what failed in it, and what people say about it."""

import sys
from datetime import datetime
from itertools import islice
from uuid import UUID

import click
from rich.console import Console
from rich.table import Table

from windsock.client import Client
from windsock.commands.frame import json_option, print_json, print_table
from windsock.commands.pipelines import limit_option
from windsock.commands.server import REFUSED, Failed, find_pipeline, find_team, on_server
from windsock.commands.words import Since, ago, plain, status_text
from windsock.comments.models import Comment
from windsock.runs.models import Run, RunDetail, TaskRun
from windsock.words import duration

MOST_TASKS_SHOWN = 200
TROUBLE = {"failed", "upstream_failed", "up_for_retry"}


@click.command()
@click.argument("run_id", required=False, type=click.UUID)
@click.option("--pipeline", "which", help="Its name, dag_id or id.")
@click.option("--team", help="Only of pipelines of this team: its name or id.")
@click.option("--status", multiple=True, help="failed, running, success, … Repeat for any of several.")
@click.option("--run-type", multiple=True, help="scheduled, manual, backfill, …")
@click.option("--since", type=Since(), help="24h, 7d, today, or a time.")
@click.option("--until", type=Since(), help="As --since; exclusive.")
@limit_option
@json_option
@on_server
def runs(
    client: Client,
    run_id: UUID | None,
    which: str | None,
    team: str | None,
    status: tuple[str, ...],
    run_type: tuple[str, ...],
    since: datetime | None,
    until: datetime | None,
    limit: int,
    as_json: bool,
) -> None:
    """List runs, newest first; with RUN_ID, show that run with its tasks and comments."""
    if run_id is not None:
        _show(client, run_id, as_json=as_json)
        return
    filters = {
        "status": status,
        "run_type": run_type,
        "started_from": since,
        "started_to": until,
        "size": min(limit, 500),
    }
    if which:
        if team:
            raise click.UsageError("Give --pipeline or --team, not both.")
        found = client.runs_of(find_pipeline(client, which).id, **filters)
    else:
        found = client.runs(team_id=find_team(client, team).id if team else None, **filters)
    rows = list(islice(found, limit))
    if as_json:
        print_json([row.model_dump(mode="json") for row in rows])
        return
    if not rows:
        click.echo("No run matches.")
        return
    table = Table("pipeline", "status", "started", "took", "type", "comments", "id", box=None)
    for row in rows:
        said = str(row.comment_count) if row.comment_count else ""
        begun = ago(row.started_at or row.queued_at)
        table.add_row(
            plain(row.pipeline.name), status_text(row.status), begun, duration(row.duration_seconds), row.run_type,
            said, str(row.id),
        )  # fmt: skip
    print_table(table)


def _show(client: Client, run_id: UUID, *, as_json: bool) -> None:
    run, said = client.run(run_id), list(client.comments_on_run(run_id))
    if as_json:
        comments = [one.model_dump(mode="json") for one in said]
        print_json({**run.model_dump(mode="json"), "comments": comments})
        return
    console = Console(width=None if sys.stdout.isatty() else 1000, highlight=False)
    console.print(_headline(run))
    for name, value in _facts(run):
        if value:
            console.print(f"  {name:<12} {plain(value)}")
    trouble = [task for task in run.task_runs if task.status in TROUBLE]
    shown = run.task_runs if len(run.task_runs) <= MOST_TASKS_SHOWN else trouble[:MOST_TASKS_SHOWN]
    print_table(task_table(shown))
    if len(shown) < len(run.task_runs):
        click.echo(f"{len(run.task_runs) - len(shown)} more tasks are not shown (--json has all).")
    print_comments(said)


def _headline(run: Run) -> str:
    return (
        f"[bold]{plain(run.pipeline.name)}[/]  {status_text(run.status).markup}  {ago(run.started_at or run.queued_at)}"
    )


def _facts(run: RunDetail) -> list[tuple[str, str | None]]:
    by = run.triggered_by_user.name if run.triggered_by_user else run.triggered_by
    return [
        ("id", str(run.id)),
        ("run id", run.external_id),
        ("type", run.run_type + (f", by {by}" if by else "")),
        ("took", duration(run.duration_seconds)),
        ("conf", str(run.conf) if run.conf else None),
        ("note", run.note),
        ("in Airflow", run.provider_url),
        ("as of", ago(run.last_synced_at)),
    ]


def task_table(tasks: list[TaskRun]) -> Table:
    table = Table("task", "status", "tries", "took", "comments", "id", box=None)
    for task in tasks:
        name = plain(task.name) + ("" if task.map_index is None else f" \\[{task.map_index}]")
        said = str(task.comment_count) if task.comment_count else ""
        table.add_row(
            name, status_text(task.status), str(task.try_number), duration(task.duration_seconds), said, str(task.id)
        )
    return table


def print_comments(comments: list[Comment]) -> None:
    for one in comments:
        author = one.author.name if one.author else "somebody who is gone"
        reply = "  ↳ " if one.parent_id else "  "
        click.echo(f"{reply}{author}, {ago(one.created_at)}{' (edited)' if one.is_edited else ''}: {one.content}")


@click.command()
@click.argument("run_id", type=click.UUID)
@click.argument("text", required=False)
@click.option("--task", help="A task of the run instead: TASK_ID, or TASK_ID:MAP_INDEX of a mapped one.")
@click.option("--reply-to", type=click.UUID, help="The comment's id.")
@json_option
@on_server
def comment(
    client: Client, run_id: UUID, text: str | None, task: str | None, reply_to: UUID | None, as_json: bool
) -> None:
    """Comment on a run, or on a task of it; `-` reads the text from standard input. Without TEXT, list the comments."""
    task_id = _find_task(client, run_id, task).id if task else None
    if text is None:
        found = client.comments_on_task_run(task_id) if task_id else client.comments_on_run(run_id)
        said = list(found)
        if as_json:
            print_json([one.model_dump(mode="json") for one in said])
        elif said:
            print_comments(said)
        else:
            click.echo("No comments.")
        return
    content = sys.stdin.read() if text == "-" else text
    if task_id:
        made = client.comment_on_task_run(task_id, content, parent_id=reply_to)
    else:
        made = client.comment_on_run(run_id, content, parent_id=reply_to)
    if as_json:
        print_json(made.model_dump(mode="json"))
    else:
        click.echo(f"Commented ({made.id}).")


def _find_task(client: Client, run_id: UUID, which: str) -> TaskRun:
    tasks = list(client.task_runs(run_id, external_id=which, size=2))
    if not tasks and ":" in which:
        name, _, index = which.rpartition(":")
        tasks = [one for one in client.task_runs(run_id, external_id=name, size=100) if str(one.map_index) == index]
    if not tasks:
        raise Failed(f"This run has no task {which}.", REFUSED)
    if len(tasks) > 1:
        raise click.UsageError(f"{which} is a mapped task: name one instance, such as {which}:{tasks[0].map_index}.")
    return tasks[0]
