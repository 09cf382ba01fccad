"""`windsock inbox` and `windsock ack`: list and acknowledge incidents."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import get_args
from uuid import UUID

import click
from rich.table import Table

from windsock.cli.decorators import json_option, print_json, print_table
from windsock.cli.formatting import ago, plain
from windsock.cli.pipelines import limit_option
from windsock.cli.remote import find_team, with_client
from windsock.client import Client
from windsock.incidents.models import Incident, IncidentKind, IncidentState

STATES, KINDS = get_args(IncidentState.__value__), get_args(IncidentKind.__value__)


@click.command()
@click.option("--state", type=click.Choice(STATES), multiple=True, help="Default: all but resolved.")
@click.option("--kind", type=click.Choice(KINDS), multiple=True)
@click.option("--team", help="Only of pipelines of this team: its name or id.")
@click.option("--mine", is_flag=True, help="Only those assigned to you or to a team of yours.")
@click.option("--all", "shows_held_back", is_flag=True, help="Also those that an incident of their connector explains.")
@click.option("--q", help="Words that must all occur in the names of pipeline and connector, or the error.")
@limit_option
@json_option
@with_client
def inbox(
    client: Client,
    state: Sequence[IncidentState],
    kind: Sequence[IncidentKind],
    team: str | None,
    mine: bool,
    shows_held_back: bool,
    q: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """List incidents, the most urgent first."""
    found = client.incidents(
        state=state,
        kind=kind,
        team_id=find_team(client, team).id if team else None,
        mine=mine or None,
        is_held_back=None if shows_held_back else False,
        q=q,
        size=min(limit, 500),
    )
    rows = list(islice(found, limit))
    if as_json:
        print_json([row.model_dump(mode="json") for row in rows])
        return
    if not rows:
        click.echo("Nothing needs attention.")
        return
    table = Table("state", "criticality", "incident", "error", "times", "since", "id", box=None)
    for row in rows:
        table.add_row(
            row.state, row.criticality, plain(_subject(row)), plain(row.title), str(row.occurrences),
            ago(row.opened_at), str(row.id),
        )  # fmt: skip
    print_table(table)


@click.command()
@click.argument("incident_ids", nargs=-1, required=True, type=click.UUID)
@click.option("--reason", help="Shown beside the acknowledgement.")
@click.option("--hours", type=click.IntRange(1, 8_760), help="Ends after so many hours. Default: with the incident.")
@json_option
@with_client
def ack(client: Client, incident_ids: Sequence[UUID], reason: str | None, hours: int | None, *, as_json: bool) -> None:
    """Acknowledge incidents by their ids."""
    until = None if hours is None else datetime.now(UTC) + timedelta(hours=hours)
    done = client.acknowledge_incidents(incident_ids, until=until, reason=reason)
    if as_json:
        print_json(done.model_dump(mode="json"))
        return
    click.echo(f"Acknowledged {done.acknowledged} of {len(set(incident_ids))}; others are resolved already.")


def _subject(incident: Incident) -> str:
    return incident.pipeline.name if incident.pipeline else incident.connector.name
