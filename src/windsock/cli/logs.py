"""`windsock logs`: what the tasks of a run wrote."""

from uuid import UUID

import click

from windsock.cli.decorators import json_option, print_json
from windsock.cli.remote import EXIT_REFUSED, CommandFailed, with_client
from windsock.cli.runs import find_task, task_name
from windsock.client import Client
from windsock.failures.log_models import LEVELS, MAX_TAIL, Level, TaskLogLine, TaskLogPage
from windsock.runs.models import TaskRun

MAX_LOGS = 3
"""Of the failed tasks of a run, where no task is named."""
_COLOURS = {"error": "red", "critical": "red", "warning": "yellow", "debug": "bright_black"}


@click.command()
@click.argument("run_id", type=click.UUID)
@click.option(
    "--task",
    help="TASK_ID, TASK_ID:MAP_INDEX of a mapped one, TASK_ID@ITERATION of one in a loop.  "
    "[default: the failed ones, else the one that is running]",
)
@click.option("--try", "try_number", type=click.IntRange(1), help="Which try.  [default: the newest]")
@click.option("--tail", type=click.IntRange(1, MAX_TAIL), default=200, show_default=True, help="At most so many lines.")
@click.option("--level", type=click.Choice(LEVELS), help="Only lines of this level or above.")
@click.option("--follow", is_flag=True, help="Go on until the try ends.")
@json_option
@with_client
def logs(
    client: Client,
    run_id: UUID,
    task: str | None,
    try_number: int | None,
    tail: int,
    level: Level | None,
    follow: bool,
    as_json: bool,
) -> None:
    """Show the end of the logs of a run's tasks, as Airflow gives them."""
    tasks = [find_task(client, run_id, task)] if task else _tasks_of_interest(client, run_id)
    if follow and len(tasks) > 1:
        raise click.UsageError(f"Name one task to follow, such as --task {task_name(tasks[0])}.")
    if follow:
        for page in client.follow_task_log(tasks[0].id, try_number=try_number, tail=tail, level=level):
            _print_page(page, as_json=as_json)
        return
    for number, item in enumerate(tasks):
        page = client.task_log(item.id, try_number=try_number, tail=tail, level=level)
        if not as_json and len(tasks) > 1:
            click.secho(f"{'' if number == 0 else chr(10)}{task_name(item)}, try {page.try_number}", bold=True)
        _print_page(page, as_json=as_json)


def _tasks_of_interest(client: Client, run_id: UUID) -> list[TaskRun]:
    for status in ("failed", "running"):
        found = [task for task in client.task_runs(run_id, status=[status], size=100) if task.removed_at is None]
        if found:
            return found[:MAX_LOGS]
    raise CommandFailed("No task of this run has failed or is running. Name one with --task.", EXIT_REFUSED)


def _print_page(page: TaskLogPage, *, as_json: bool) -> None:
    if as_json:
        print_json(page.model_dump(mode="json"))
        return
    if page.has_more_before and page.lines:
        click.secho(f"(lines before {page.lines[0].number} are not shown)", dim=True)
    for line in page.lines:
        click.secho(_format_line(line), fg=_COLOURS.get(line.level or ""))
    if page.limit:
        click.echo(page.limit, err=True)


def _format_line(line: TaskLogLine) -> str:
    at = "" if line.timestamp is None else f"{line.timestamp.astimezone():%Y-%m-%d %H:%M:%S} "
    level = "" if line.level is None else f"{line.level.upper():<8} "
    return f"{at}{level}{line.event}"
