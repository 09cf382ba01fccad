"""`windsock trigger`: start a run, and wait for it if asked to."""

import sys
import time
from datetime import datetime
from json import JSONDecodeError
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import click
from rich.console import Console
from rich.status import Status

from windsock.cli.decorators import json_option, print_json, print_table
from windsock.cli.remote import (
    EXIT_FAILED,
    EXIT_TIMEOUT,
    EXIT_UNREACHABLE,
    CommandFailed,
    connector_option,
    find_pipeline,
    with_client,
)
from windsock.cli.runs import TROUBLE, task_table
from windsock.client import Client, ConnectionFailed, ServerError
from windsock.formatting import format_duration
from windsock.http.validation import parse_json
from windsock.runs.models import RunDetail

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 5.0
SETTLING_SECONDS = 60.0
"""For the task runs of a run that has ended: the sync that brings them takes no longer, as a rule."""
ENDED = {"success", "failed"}
UNSETTLED = {"queued", "scheduled", "running", "restarting", "deferred", "up_for_retry", "up_for_reschedule"}
"""States in which no task of a run that has ended stays."""
INTERRUPTED = 130
AGAIN = "The same command with --idempotency-key {} finds it or starts it, never twice."


@click.command()
@click.argument("which", metavar="PIPELINE")
@click.option("--conf", help="A JSON object, @FILE, or - for standard input.")
@click.option("--logical-date", type=click.DateTime(["%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%d %H:%M:%S%z"]))
@click.option("--note", help="Becomes the run's note in Airflow, with who triggered below it.")
@click.option(
    "--idempotency-key", help="Asked again with the same key, the first run is answered.  [default: a new one]"
)
@connector_option
@click.option("--wait", is_flag=True, help="Follow the run until it ends.")
@click.option("--timeout", type=click.FloatRange(1), default=3600, show_default=True, help="Seconds, of --wait.")
@json_option
@with_client
def trigger(
    client: Client,
    which: str,
    conf: str | None,
    logical_date: datetime | None,
    note: str | None,
    idempotency_key: str | None,
    connector: str | None,
    wait: bool,
    timeout: float,
    as_json: bool,
) -> None:
    """Start a run of a pipeline (its name, dag_id or id).

    Exit status: 0 started, or with --wait succeeded; 1 the run failed; 3 refused; 4 no answer; 5 --timeout passed.
    """
    pipeline = find_pipeline(client, which, connector)
    if pipeline.is_paused:
        click.echo(f"{pipeline.name} is paused in Airflow: the run stays queued until it is unpaused.", err=True)
    key = idempotency_key or str(uuid4())
    try:
        run = client.trigger(pipeline.id, conf=_conf(conf), logical_date=logical_date, note=note, idempotency_key=key)
    except ConnectionFailed as error:
        raise CommandFailed(
            f"{error} {_what_is_known(key, request_sent=error.request_sent)}", EXIT_UNREACHABLE
        ) from None
    except ServerError as error:
        raise CommandFailed(f"{error} {AGAIN.format(key)}", EXIT_UNREACHABLE) from None
    if not wait:
        if as_json:
            print_json(run.model_dump(mode="json"))
        else:
            click.echo(f"Started {pipeline.name}: {run.id}\n{run.provider_url}")
        return
    click.echo(f"Started {pipeline.name}: {run.id}", err=True)
    last = _follow(client, run.id, timeout)
    if as_json:
        print_json(last.model_dump(mode="json"))
    elif last.status == "success":
        click.echo(f"success after {format_duration(last.duration_seconds)}")
    else:
        click.echo(f"{last.status} after {format_duration(last.duration_seconds)}")
        print_table(task_table([task for task in last.task_runs if task.status in TROUBLE]))
        click.echo(last.provider_url)
    if last.status != "success":
        raise click.exceptions.Exit(EXIT_FAILED)


def _what_is_known(key: str, *, request_sent: bool) -> str:
    """Describe a trigger without a response; the requests before it start nothing."""
    return f"Whether a run was started is not known. {AGAIN.format(key)}" if request_sent else "No run was started."


def _follow(client: Client, run_id: UUID, seconds: float) -> RunDetail:
    """Until the run has ended: a line that moves on a terminal, else a line for each change."""
    console = Console(stderr=True, highlight=False)
    until, pause, printed = time.monotonic() + seconds, FIRST_PAUSE, ""
    try:
        with console.status("waiting") as line:
            while True:
                run = _get_run(client, run_id)
                if run is not None:
                    printed = _print_outcome(console, line, run, printed)
                    if run.status in ENDED:
                        run = _with_its_tasks(client, run, min(until, time.monotonic() + SETTLING_SECONDS))
                        _print_outcome(console, line, run, printed)
                        return run
                if time.monotonic() + pause > until:
                    raise CommandFailed(
                        f"The run {run_id} has not ended within {seconds:g} s; it goes on.", EXIT_TIMEOUT
                    )
                time.sleep(pause)
                pause = min(pause * 1.2, LONGEST_PAUSE)
    except KeyboardInterrupt:
        raise CommandFailed(f"No longer waiting; the run {run_id} goes on.", INTERRUPTED) from None


def _with_its_tasks(client: Client, run: RunDetail, until: float) -> RunDetail:
    """A sync stores runs before their task runs: how these ended is known a moment later."""
    while not run.task_runs or any(task.status in UNSETTLED for task in run.task_runs):
        if time.monotonic() + FIRST_PAUSE > until:
            click.echo("How its tasks ended is not known yet: the next sync brings it.", err=True)
            break
        time.sleep(FIRST_PAUSE)
        run = _get_run(client, run.id) or run
    return run


def _get_run(client: Client, run_id: UUID) -> RunDetail | None:
    """None while the server is away: the run does not need it, and it may come back."""
    try:
        return client.run(run_id)
    except (ServerError, ConnectionFailed):
        return None


def _print_outcome(console: Console, line: Status, run: RunDetail, printed: str) -> str:
    counts = ", ".join(f"{count} {status}" for status, count in sorted(run.task_counts.items()))
    now = f"{run.status}{f': {counts}' if counts else ''}"
    line.update(now)
    if now != printed and not console.is_terminal:
        click.echo(now, err=True)
    return now


def _conf(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        if text == "-":
            text = sys.stdin.read()
        elif text.startswith("@"):
            text = Path(text[1:]).read_text(encoding="utf-8")
        conf = parse_json(text)
    except OSError as error:
        raise click.UsageError(f"--conf: {error.filename}: {error.strerror}.") from None
    except (JSONDecodeError, UnicodeDecodeError) as error:
        raise click.UsageError(f"--conf is no JSON: {error}.") from None
    except ValueError as error:
        raise click.UsageError(f"--conf {error}.") from None
    if not isinstance(conf, dict):
        raise click.UsageError('--conf must be a JSON object, such as {"country": "FR"}.')
    return conf
