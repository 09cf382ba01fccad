"""Shared parts of commands that call a server: URL, key, space, exit statuses."""

import contextlib
import functools
from collections.abc import Callable, Collection, Iterable
from typing import Concatenate, ParamSpec, TypeVar
from uuid import UUID

import click

from windsock.client import ApiError, Client, ClientError, ConnectionFailed, NotFound, ServerError
from windsock.client.request_flow import DEFAULT_URL
from windsock.connectors.models import Connector
from windsock.notifications.models import Channel
from windsock.notifications.rule_models import Rule
from windsock.pipelines.models import Pipeline
from windsock.spaces.models import Team

P = ParamSpec("P")
T = TypeVar("T", Team, Connector, Channel, Rule)

EXIT_FAILED, EXIT_REFUSED, EXIT_UNREACHABLE, EXIT_TIMEOUT = 1, 3, 4, 5
"""Exit statuses, besides 0 and click's 2 for wrong usage."""

LONGEST_SEARCH = 500
"""Characters of `q`."""

url_option = click.option("--url", envvar="WINDSOCK_URL", help=f"Where Windsock answers.  [default: {DEFAULT_URL}]")
key_option = click.option("--api-key", envvar="WINDSOCK_API_KEY", help="Better given as WINDSOCK_API_KEY.")
space_option = click.option(
    "--space", "slug", envvar="WINDSOCK_SPACE", help="The space's short name.  [default: the only one of the key]"
)

connector_option = click.option("--connector", help="Only of this Airflow: the name or id of a connector.")


class CommandFailed(click.ClickException):
    """One sentence on standard error, and an exit status of ours."""

    def __init__(self, sentence: str, exit_code: int) -> None:
        super().__init__(sentence)
        self.exit_code = exit_code  # type: ignore[misc]  # click reads it from the instance


def with_client(function: Callable[Concatenate[Client, P], None]) -> Callable[..., None]:
    """Give a command a Client in the space it names; what the server refuses becomes a sentence and an exit status."""

    @url_option
    @key_option
    @space_option
    @functools.wraps(function)
    def command(url: str | None, api_key: str | None, slug: str | None, *args: P.args, **kwargs: P.kwargs) -> None:
        with translate_client_errors(), Client(url, api_key, space=slug or _only_space(url, api_key)) as client:
            function(client, *args, **kwargs)

    return command


class translate_client_errors:  # noqa: N801 - used like a function
    """Turns what a client raises into one sentence and an exit status."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, ServerError | ConnectionFailed):
            raise CommandFailed(str(error), EXIT_UNREACHABLE) from error
        if isinstance(error, ApiError):
            raise CommandFailed(str(error), EXIT_REFUSED) from error
        if isinstance(error, ClientError):
            raise click.UsageError(str(error)) from error


def _only_space(url: str | None, api_key: str | None) -> str:
    with Client(url, api_key) as client:
        spaces = [space.slug for space in client.me().spaces]
    if len(spaces) != 1:
        named = f"one of {', '.join(spaces)}" if spaces else "but this key is in none"
        raise ClientError(f"Which space? Give --space or set WINDSOCK_SPACE: {named}.")
    return spaces[0]


def find_pipeline(client: Client, which: str, connector: str | None = None) -> Pipeline:
    """By id, else by dag_id, else by name, all as they are; several of the same are an error that lists them.

    A dag_id may be the name of another pipeline, and may look like an id.
    """
    connector_id = find_connector(client, connector).id if connector else None
    found = list(_candidates(client, which, connector_id))
    if not found:
        of = f" of the connector {connector}" if connector else ""
        raise CommandFailed(f"There is no pipeline {which}{of} in this space.", EXIT_REFUSED)
    if len(found) > 1:
        listed = "\n".join(
            f"  {pipeline.id}  {pipeline.external_id} of {pipeline.connector.name}" for pipeline in found
        )
        raise click.UsageError(f"{which} is the name of several pipelines; give --connector or an id:\n{listed}")
    return found[0]


def _candidates(client: Client, which: str, connector_id: UUID | None) -> list[Pipeline]:
    if (pipeline_id := as_uuid(which)) is not None:
        with contextlib.suppress(NotFound):
            pipeline = client.pipeline(pipeline_id)
            if connector_id in {None, pipeline.connector_id}:
                return [pipeline]
    if not which.strip():
        return []
    similar = list(client.pipelines(q=which.strip()[:LONGEST_SEARCH], connector_id=connector_id, size=500))
    return [candidate for candidate in similar if candidate.external_id == which] or [
        candidate for candidate in similar if candidate.name == which
    ]


def connector_names(client: Client, pipeline_ids: Collection[UUID]) -> dict[UUID, str]:
    """The connector of each of these pipelines, where the space has several Airflows; else nothing, for one request."""
    if not pipeline_ids or not has_several_airflows(client):
        return {}
    names: dict[UUID, str] = {}
    for pipeline in client.pipelines(size=500):
        if pipeline.id in pipeline_ids:
            names[pipeline.id] = pipeline.connector.name
        if len(names) == len(pipeline_ids):
            break
    return names


def has_several_airflows(client: Client) -> bool:
    return sum(connector.connector_type == "airflow" for connector in client.connectors()) > 1


def find_team(client: Client, which: str) -> Team:
    return _named(client.teams(), which, "team")


def find_connector(client: Client, which: str) -> Connector:
    return _named(client.connectors(), which, "connector")


def find_channel(client: Client, which: str) -> Channel:
    return _named(client.channels(), which, "channel")


def find_rule(client: Client, which: str) -> Rule:
    return _named(client.notification_rules(), which, "rule")


def _named(things: Iterable[T], which: str, what: str) -> T:
    known = list(things)
    by_id = [thing for thing in known if thing.id == as_uuid(which)]
    for thing in by_id or [thing for thing in known if thing.name == which]:
        return thing
    names = ", ".join(thing.name for thing in known) or "none"
    raise CommandFailed(f"There is no {what} {which} in this space; there is: {names}.", EXIT_REFUSED)


def as_uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
