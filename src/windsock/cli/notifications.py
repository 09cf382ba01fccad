"""`windsock notifications`: channels, rules and messages, and who would be told of a pipeline."""

from collections.abc import Sequence
from datetime import datetime
from itertools import islice
from typing import get_args
from uuid import UUID

import click
from rich.table import Table

from windsock.cli.decorators import json_option, print_json, print_table
from windsock.cli.formatting import SinceParam, ago, plain
from windsock.cli.pipelines import limit_option
from windsock.cli.remote import (
    EXIT_FAILED,
    CommandFailed,
    connector_option,
    find_channel,
    find_pipeline,
    find_rule,
    with_client,
)
from windsock.client import Client
from windsock.incidents.models import IncidentKind
from windsock.notifications.models import Channel, Message, MessageState

STATES, KINDS = get_args(MessageState.__value__), get_args(IncidentKind.__value__)


@click.group()
def notifications() -> None:
    """Channels, rules and messages, and who would be told of a pipeline."""


@notifications.command()
@json_option
@with_client
def channels(client: Client, as_json: bool) -> None:
    """List channels with their health."""
    rows = list(client.channels())
    if as_json:
        print_json([row.model_dump(mode="json") for row in rows])
        return
    if not rows:
        click.echo("There is no channel.")
        return
    table = Table("name", "kind", "team", "state", "last delivered", "id", box=None)
    for row in rows:
        team = row.team.name if row.team else ""
        table.add_row(
            plain(row.name), row.kind, plain(team), plain(_health(row)), ago(row.last_delivered_at), str(row.id)
        )
    print_table(table)


@notifications.command()
@click.argument("channel")
@json_option
@with_client
def test(client: Client, channel: str, as_json: bool) -> None:
    """Send a real test message to CHANNEL, a name or an id. Exit status 1 if it did not arrive."""
    result = client.test_channel(find_channel(client, channel).id)
    if as_json:
        print_json(result.model_dump(mode="json"))
    elif result.success:
        click.echo(f"Delivered. {result.detail}".strip())
    if not result.success:
        raise CommandFailed(f"Not delivered ({result.outcome}): {result.detail}", EXIT_FAILED)


@notifications.command()
@json_option
@with_client
def rules(client: Client, as_json: bool) -> None:
    """List rules in words."""
    rows = list(client.notification_rules())
    if as_json:
        print_json([row.model_dump(mode="json") for row in rows])
        return
    table = Table("name", "active", "rule", "id", box=None)
    for row in rows:
        table.add_row(plain(row.name), "yes" if row.is_active else "no", plain(row.sentence), str(row.id))
    print_table(table)


@notifications.command()
@click.argument("rule")
@json_option
@with_client
def preview(client: Client, rule: str, as_json: bool) -> None:
    """Show what RULE, a name or an id, would have sent in the last 30 days. Nothing is sent."""
    found = client.preview_rule(find_rule(client, rule))
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    click.echo(f"{found.message_count} messages in {found.days} days, from {found.event_count} events of incidents.")
    table = Table("at", "event", "to", "incidents", box=None)
    for message in found.messages:
        names = ", ".join(incident.name for incident in message.incidents)
        table.add_row(ago(message.at), message.event, plain(message.recipient.name), plain(names))
    if found.messages:
        print_table(table)
    click.echo(found.note)


@notifications.command()
@click.option("--channel", help="Only to this channel: its name or id.")
@click.option("--pipeline", "which", help="Only about incidents of this pipeline: its name, dag_id or id.")
@connector_option
@click.option("--status", type=click.Choice(STATES), multiple=True)
@click.option("--since", type=SinceParam(), help="24h, 7d, today, or a time.")
@click.option("--attempts", is_flag=True, help="Show each attempt with the response of the receiver.")
@limit_option
@json_option
@with_client
def messages(
    client: Client,
    channel: str | None,
    which: str | None,
    connector: str | None,
    status: Sequence[MessageState],
    since: datetime | None,
    attempts: bool,
    limit: int,
    as_json: bool,
) -> None:
    """List messages, newest first."""
    found = client.messages(
        channel_id=find_channel(client, channel).id if channel else None,
        pipeline_id=find_pipeline(client, which, connector).id if which else None,
        status=status,
        created_from=since,
        size=min(limit, 100),
    )
    rows = list(islice(found, limit))
    if as_json:
        print_json([row.model_dump(mode="json") for row in rows])
        return
    if not rows:
        click.echo("No message matches.")
        return
    table = Table("state", "event", "to", "message", "written", "attempts", "id", box=None)
    for row in rows:
        table.add_row(
            row.state, row.event, plain(_recipient(row)), plain(row.title or row.reason), ago(row.created_at),
            str(len(row.attempts)), str(row.id),
        )  # fmt: skip
        for attempt in row.attempts if attempts else ():
            response = f"{attempt.status or ''} {attempt.detail or ''}"
            table.add_row(f"  {attempt.number}", attempt.outcome or "under way", "", plain(response), ago(attempt.at))
    print_table(table)


@notifications.command()
@click.argument("message_id", type=click.UUID)
@json_option
@with_client
def resend(client: Client, message_id: UUID, as_json: bool) -> None:
    """Send a message again, as a copy."""
    copy = client.resend_message(message_id)
    if as_json:
        print_json(copy.model_dump(mode="json"))
    else:
        click.echo(f"Queued as {copy.id} to {_recipient(copy)}.")


@notifications.command()
@click.argument("pipeline")
@connector_option
@click.option("--kind", type=click.Choice(KINDS), default="failed", show_default=True)
@json_option
@with_client
def why(client: Client, pipeline: str, connector: str | None, kind: IncidentKind, as_json: bool) -> None:
    """Show whom each rule would tell if an incident of PIPELINE opened now, whom not, and why."""
    found = client.recipients(find_pipeline(client, pipeline, connector).id, kind=kind)
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    table = Table("rule", "to", "outcome", "why", box=None)
    for row in found.recipients:
        table.add_row(
            plain(row.rule.name if row.rule else ""), plain(row.recipient.name if row.recipient else ""),
            row.outcome.replace("_", " "), plain(row.explanation),
        )  # fmt: skip
    print_table(table)


def _health(channel: Channel) -> str:
    if channel.disabled_at is not None:
        return f"disabled: {channel.disabled_reason}"
    if not channel.is_active:
        return "off"
    return f"failing: {channel.last_error}" if channel.failing_since is not None else "ok"


def _recipient(message: Message) -> str:
    recipient = message.channel or message.user
    return recipient.name if recipient else ""
