"""`windsock runs` and `windsock comment`: what ran, what failed in it, and what people say about it."""

import sys
from datetime import datetime
from itertools import islice
from uuid import UUID

import click
from rich.console import Console
from rich.table import Table

from windsock.cli.decorators import json_option, print_json, print_table
from windsock.cli.failures import failure_lines
from windsock.cli.formatting import AirflowWord, SinceParam, ago, plain, status_text
from windsock.cli.pipelines import limit_option
from windsock.cli.remote import (
    EXIT_REFUSED,
    CommandFailed,
    connector_names,
    connector_option,
    find_connector,
    find_pipeline,
    find_team,
    with_client,
)
from windsock.client import Client
from windsock.comments.models import Comment
from windsock.formatting import format_duration
from windsock.http.responses import dump_json
from windsock.runs.models import Run, RunDetail, TaskRun

MOST_TASKS_SHOWN = 200
task_option = click.option(
    "--task",
    help="A task of the run instead: TASK_ID, TASK_ID:MAP_INDEX of a mapped one, TASK_ID@ITERATION of one in a loop.",
)
TROUBLE = {"failed", "upstream_failed", "up_for_retry"}


@click.command()
@click.argument("run_id", required=False, type=click.UUID)
@click.option("--pipeline", "which", help="Its name, dag_id or id.")
@click.option("--team", help="Only of pipelines of this team: its name or id.")
@connector_option
@click.option(
    "--status", type=AirflowWord(), multiple=True, help="failed, running, success, … Repeat for any of several."
)
@click.option("--run-type", type=AirflowWord(), multiple=True, help="scheduled, manual, backfill, …")
@click.option("--since", type=SinceParam(), help="24h, 7d, today, or a time.")
@click.option("--until", type=SinceParam(), help="As --since; exclusive.")
@limit_option
@json_option
@with_client
def runs(
    client: Client,
    run_id: UUID | None,
    which: str | None,
    team: str | None,
    connector: str | None,
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
    size = min(limit, 500)
    if which:
        if team:
            raise click.UsageError("Give --pipeline or --team, not both.")
        found = client.runs_of(
            find_pipeline(client, which, connector).id,
            status=status, run_type=run_type, started_from=since, started_to=until, size=size,
        )  # fmt: skip
    else:
        found = client.runs(
            team_id=find_team(client, team).id if team else None,
            connector_id=find_connector(client, connector).id if connector else None,
            status=status, run_type=run_type, started_from=since, started_to=until, size=size,
        )  # fmt: skip
    rows = list(islice(found, limit))
    if as_json:
        print_json([row.model_dump(mode="json") for row in rows])
        return
    if not rows:
        click.echo("No run matches.")
        return
    names = connector_names(client, {row.pipeline_id for row in rows})
    columns = ["status", "started", "took", "type", "comments", "id"]
    table = Table("pipeline", *(["connector"] if names else []), *columns, box=None)
    for row in rows:
        comments = str(row.comment_count) if row.comment_count else ""
        begun = ago(row.started_at or row.queued_at)
        table.add_row(
            plain(row.pipeline.name), *([plain(names.get(row.pipeline_id))] if names else []),
            status_text(row.status), begun, format_duration(row.duration_seconds), row.run_type, comments, str(row.id),
        )  # fmt: skip
    print_table(table)


def _show(client: Client, run_id: UUID, *, as_json: bool) -> None:
    run, comment_list = client.run(run_id), list(client.comments_on_run(run_id))
    if as_json:
        comments = [item.model_dump(mode="json") for item in comment_list]
        print_json({**run.model_dump(mode="json"), "comments": comments})
        return
    console = Console(width=None if sys.stdout.isatty() else 1000, highlight=False)
    console.print(_headline(run))
    of = connector_names(client, {run.pipeline_id}).get(run.pipeline_id)
    for name, value in [("connector", of), *_facts(run)]:
        if value:
            console.print(f"  {name:<12} {plain(value)}")
    for failure in [run.failure, *run.other_failures] if run.failure else []:
        for line in failure_lines(failure):
            click.echo(line)
    tasks = [task for task in run.task_runs if task.removed_at is None]
    trouble = [task for task in tasks if task.status in TROUBLE]
    shown = tasks if len(tasks) <= MOST_TASKS_SHOWN else trouble[:MOST_TASKS_SHOWN]
    print_table(task_table(shown))
    if len(shown) < len(tasks):
        click.echo(f"{len(tasks) - len(shown)} more tasks are not shown (--json has all).")
    print_comments(comment_list)


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
        ("took", format_duration(run.duration_seconds)),
        ("conf", None if run.conf == {} else dump_json(run.conf).decode()),
        ("note", run.note),
        ("in Airflow", run.provider_url),
        ("as of", ago(run.last_synced_at)),
    ]


def task_table(tasks: list[TaskRun]) -> Table:
    table = Table("task", "status", "tries", "took", "comments", "id", box=None)
    for task in tasks:
        name = plain(task.name + _instance(task))
        comment_count = str(task.comment_count) if task.comment_count else ""
        table.add_row(
            name,
            status_text(task.status),
            str(task.try_number),
            format_duration(task.duration_seconds),
            comment_count,
            str(task.id),
        )
    return table


def _instance(task: TaskRun) -> str:
    """Which one of its task it is: the iteration of a loop, the number of a mapped instance, Airflow's name of it."""
    words = "" if task.loop is None or task.loop.iteration is None else f" iteration {task.loop.iteration}"
    words += "" if task.map_index is None else f" [{task.map_index}]"
    named = task.rendered_map_index
    return words if named is None or named == str(task.map_index) else f"{words} {named}"


def print_comments(comments: list[Comment]) -> None:
    for item in comments:
        author = item.author.name if item.author else "somebody who is gone"
        reply = "  ↳ " if item.parent_id else "  "
        click.echo(f"{reply}{author}, {ago(item.created_at)}{' (edited)' if item.is_edited else ''}: {item.content}")


@click.command()
@click.argument("run_id", type=click.UUID)
@click.argument("text", required=False)
@task_option
@click.option("--reply-to", type=click.UUID, help="The comment's id.")
@json_option
@with_client
def comment(
    client: Client, run_id: UUID, text: str | None, task: str | None, reply_to: UUID | None, as_json: bool
) -> None:
    """Comment on a run, or on a task of it; `-` reads the text from standard input. Without TEXT, list the comments."""
    task_id = find_task(client, run_id, task).id if task else None
    if text is None:
        found = client.comments_on_task_run(task_id) if task_id else client.comments_on_run(run_id)
        comments = list(found)
        if as_json:
            print_json([comment.model_dump(mode="json") for comment in comments])
        elif comments:
            print_comments(comments)
        else:
            click.echo("No comments.")
        return
    content = _read_standard_input() if text == "-" else text
    if task_id:
        created = client.comment_on_task_run(task_id, content, parent_id=reply_to)
    else:
        created = client.comment_on_run(run_id, content, parent_id=reply_to)
    if as_json:
        print_json(created.model_dump(mode="json"))
    else:
        click.echo(f"Commented ({created.id}).")


def _read_standard_input() -> str:
    try:
        return sys.stdin.read()
    except UnicodeDecodeError:
        raise click.UsageError("Standard input is not text in the encoding of this terminal, such as UTF-8.") from None


def find_task(client: Client, run_id: UUID, which: str) -> TaskRun:
    """As find_tasks, for one task run."""
    found = find_tasks(client, run_id, which)
    if len(found) > 1:
        raise click.UsageError(f"{which} has several instances: name one, such as {task_name(found[0])}.")
    return found[0]


def find_tasks(client: Client, run_id: UUID, which: str) -> list[TaskRun]:
    """Return the task runs of TASK_ID, TASK_ID:MAP_INDEX, TASK_ID@ITERATION, or TASK_ID@ITERATION:MAP_INDEX."""
    found = [task for task in client.task_runs(run_id, external_id=which, size=100) if task.removed_at is None]
    if not found:
        name, iteration, map_index = _parts(which)
        found = [
            task
            for task in client.task_runs(run_id, external_id=name, size=100)
            if task.removed_at is None
            and map_index in {None, str(task.map_index)}
            and (iteration is None or (task.loop is not None and str(task.loop.iteration) == iteration))
        ]
    if not found:
        raise CommandFailed(f"This run has no task {which}.", EXIT_REFUSED)
    return found


def _parts(which: str) -> tuple[str, str | None, str | None]:
    """Task, iteration and map index; no task_id of Airflow has a colon or an at sign."""
    rest, colon, map_index = which.partition(":")
    name, sign, iteration = rest.partition("@")
    return name, iteration if sign else None, map_index if colon else None


def task_name(task: TaskRun) -> str:
    iteration = "" if task.loop is None else f"@{task.loop.iteration}"
    return f"{task.external_id}{iteration}" + ("" if task.map_index is None else f":{task.map_index}")
