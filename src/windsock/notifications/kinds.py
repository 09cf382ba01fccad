"""The kinds of channels: their models, and how a stored channel is opened."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ValidationError
from typing_extensions import TypeAliasType

from windsock.connectors.encryption import Encryption
from windsock.errors import Conflict
from windsock.notifications.channels.alertmanager import Alertmanager, AlertmanagerConfig, AlertmanagerSecret
from windsock.notifications.channels.base import Channel
from windsock.notifications.channels.email import Email, EmailConfig, EmailSecret
from windsock.notifications.channels.pagerduty import PagerDuty, PagerDutyConfig, PagerDutySecret
from windsock.notifications.channels.slack import Slack, SlackConfig, SlackSecret
from windsock.notifications.channels.teams import Teams, TeamsConfig, TeamsSecret
from windsock.notifications.channels.webhook import Webhook, WebhookConfig, WebhookSecret

ChannelKind = TypeAliasType("ChannelKind", Literal["slack", "teams", "email", "pagerduty", "alertmanager", "webhook"])


@dataclass(frozen=True, slots=True)
class Kind:
    label: str
    config: type[BaseModel]
    secret: type[BaseModel]
    open: Callable[[Any, Any], Channel]
    addresses: tuple[str, ...] = ()
    """Keys of the config: with another address the secret has to be sent again."""


KINDS: dict[str, Kind] = {
    "slack": Kind("Slack", SlackConfig, SlackSecret, Slack, ("api_url",)),
    "teams": Kind("Microsoft Teams", TeamsConfig, TeamsSecret, Teams),
    "email": Kind("E-mail", EmailConfig, EmailSecret, Email),
    "pagerduty": Kind("PagerDuty", PagerDutyConfig, PagerDutySecret, PagerDuty, ("url",)),
    "alertmanager": Kind("Alertmanager", AlertmanagerConfig, AlertmanagerSecret, Alertmanager, ("url",)),
    "webhook": Kind("Webhook", WebhookConfig, WebhookSecret, Webhook, ("url",)),
}


def open_channel(stored: Mapping[str, Any], secrets: Encryption) -> Channel:
    """Raises Conflict where the secret cannot be decrypted, or an older version accepted what this one does not."""
    kind = KINDS[stored["kind"]]
    secret = {} if stored["secret"] is None else secrets.decrypt(stored["secret"])
    try:
        return kind.open(kind.config.model_validate(stored["config"]), kind.secret.model_validate(secret))
    except ValidationError:
        raise Conflict("The stored configuration of this channel is not accepted any more. Enter it again.") from None
