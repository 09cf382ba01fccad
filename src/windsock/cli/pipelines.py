"""`windsock pipelines` and `windsock watch`: what there is, how it does, and what to keep an eye on."""

from itertools import islice
from typing import get_args

import click
from rich.table import Table

from windsock.cli.decorators import json_option, print_json, print_table
from windsock.cli.formatting import AirflowWord, ago, plain, status_marks, status_text, until
from windsock.cli.remote import (
    connector_option,
    find_connector,
    find_pipeline,
    find_team,
    has_several_airflows,
    with_client,
)
from windsock.client import Client
from windsock.formatting import format_duration
from windsock.pipelines.filters import Criticality
from windsock.pipelines.models import Pipeline
from windsock.pipelines.routes import Sort

limit_option = click.option("--limit", type=click.IntRange(1, 100_000), default=100, show_default=True, help="At most.")


@click.command()
@click.option(
    "--status",
    type=AirflowWord(),
    multiple=True,
    help="Of the newest run: failed, running, success, … Repeat for any of several.",
)
@click.option("--team", help="Its name or id.")
@click.option("--owner", multiple=True, help="As Airflow has it.")
@click.option("--tag", multiple=True, help="Repeat for any of several.")
@click.option("--criticality", multiple=True, type=click.Choice(get_args(Criticality.__value__), case_sensitive=False))
@click.option("--connector", "connector_name", help="Its name or id.")
@click.option("--q", help="Words that must all occur in name, description, owner or tags.")
@click.option("--watched", is_flag=True, help="Only those you watch.")
@click.option("--paused/--not-paused", default=None, help="Only those that are, or are not.")
@click.option("--never-succeeded", is_flag=True, help="Only those that ran within --days and did not succeed once.")
@click.option("--days", type=click.IntRange(1, 365), help="The window of the numbers.  [default: 7]")
@click.option("--sort", type=click.Choice(get_args(Sort)), help="A leading - means descending.")
@limit_option
@json_option
@with_client
def pipelines(
    client: Client,
    status: tuple[str, ...],
    team: str | None,
    owner: tuple[str, ...],
    tag: tuple[str, ...],
    criticality: tuple[Criticality, ...],
    connector_name: str | None,
    q: str | None,
    watched: bool,
    paused: bool | None,
    never_succeeded: bool,
    days: int | None,
    sort: Sort | None,
    limit: int,
    as_json: bool,
) -> None:
    """List pipelines with the marks of their newest runs."""
    found = client.pipelines(
        status=status,
        team_id=find_team(client, team).id if team else None,
        owner=owner,
        tag=tag,
        criticality=criticality,
        connector_id=find_connector(client, connector_name).id if connector_name else None,
        q=q,
        watched_only=True if watched else None,
        is_paused=paused,
        never_succeeded=True if never_succeeded else None,
        days=days,
        sort=sort,
        size=min(limit, 500),
    )
    rows = list(islice(found, limit))
    if as_json:
        print_json([row.model_dump(mode="json") for row in rows])
        return
    if not rows:
        click.echo("No pipeline matches.")
        return
    print_table(_table(rows, has_connector=has_several_airflows(client)))


def _marks(row: Pipeline) -> str:
    paused = " [yellow](paused)[/]" if row.is_paused else " [yellow](draining)[/]" if row.is_draining else ""
    return paused + ("" if row.is_active else " (gone)")


def _table(rows: list[Pipeline], *, has_connector: bool) -> Table:
    columns = ["status", "newest runs", "success", "p95", "last run", "next run", "team", "criticality"]
    table = Table("pipeline", *(["connector"] if has_connector else []), *columns, box=None)
    for row in rows:
        rate = row.summary.success_rate
        table.add_row(
            plain(row.name) + _marks(row),
            *([plain(row.connector.name)] if has_connector else []),
            status_text(row.status),
            status_marks(row.recent_runs),
            "" if rate is None else f"{rate:.0%}",
            format_duration(row.summary.p95_duration_seconds),
            ago(row.last_run.started_at) if row.last_run else "",
            "" if row.is_paused else until(row.next_run_at),
            plain(row.team.name) if row.team else "",
            row.criticality,
        )
    return table


@click.command()
@click.argument("which", metavar="PIPELINE")
@click.option("--off", is_flag=True, help="Stop watching it.")
@connector_option
@json_option
@with_client
def watch(client: Client, which: str, off: bool, connector: str | None, as_json: bool) -> None:
    """Watch a pipeline (its name, dag_id or id): `windsock pipelines --watched` lists what you watch."""
    pipeline = find_pipeline(client, which, connector)
    if off:
        client.unwatch(pipeline.id)
    else:
        client.watch(pipeline.id)
    if as_json:
        print_json(client.pipeline(pipeline.id).model_dump(mode="json"))
        return
    click.echo(f"You {'no longer watch' if off else 'watch'} {pipeline.name}.")
