"""Alertmanager API v2: idempotent, since alerts with the same labels are one."""

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Annotated, Self

import orjson
from pydantic import AfterValidator, Field, StringConstraints, model_validator

from windsock.notifications.channels.base import (
    ChannelPart,
    Content,
    HttpRequest,
    Outbound,
    Outcome,
    SecretText,
    UrlText,
    check_url,
    exchange,
    plain_text,
)

FIRING_DAYS = 30
"""Without an end Alertmanager would resolve an alert after its resolve_timeout, five minutes by default."""
LabelName = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]{0,99}$")]


class AlertmanagerConfig(ChannelPart):
    url: Annotated[UrlText, AfterValidator(check_url), Field(description="Of Alertmanager, without /api/v2/alerts.")]
    labels: Annotated[
        dict[LabelName, Annotated[str, Field(max_length=200)]],
        Field(max_length=20, description="Added to each alert, for its routes."),
    ] = Field(default_factory=dict)


class AlertmanagerSecret(ChannelPart):
    """Where a proxy in front of it wants a sign-in."""

    username: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    password: SecretText | None = None
    bearer_token: SecretText | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.username is None) != (self.password is None) or (self.username and self.bearer_token):
            raise ValueError("needs username and password, or bearer_token, or nothing")
        return self


@dataclass(frozen=True, slots=True)
class Alertmanager:
    config: AlertmanagerConfig
    secret: AlertmanagerSecret
    is_idempotent = True
    follows_state = True

    @property
    def secrets(self) -> tuple[str, ...]:
        return tuple(filter(None, (self.secret.password, self.secret.bearer_token)))

    async def send(self, content: Content, ref: Mapping[str, str] | None, outbound: Outbound) -> Outcome:
        """`ref`: the severity so far. It is a label, so that an alert of another severity is another alert."""
        is_over = content.is_over or content.event in {"test", "notice"}
        ends_at = content.created_at if is_over else content.created_at + timedelta(days=FIRING_DAYS)
        alerts = [self._alert(content, content.criticality, ends_at)]
        if ref is not None and ref["severity"] != content.criticality:
            alerts.append(self._alert(content, ref["severity"], content.created_at))
        url = f"{self.config.url.rstrip('/')}/api/v2/alerts"
        headers = {"Content-Type": "application/json", **self._authorization()}
        outcome = await exchange(outbound, HttpRequest(url, orjson.dumps(alerts), headers))
        return replace(outcome, ref={"severity": content.criticality}) if outcome.kind == "delivered" else outcome

    def _alert(self, content: Content, severity: str, ends_at: datetime) -> dict[str, object]:
        return {
            "labels": {
                **self.config.labels,
                "alertname": "WindsockIncident",
                "severity": severity,
                "space": content.space,
                "group": str(content.group_id),
            },
            "annotations": {"summary": content.title, "description": plain_text(content)},
            "startsAt": min(content.opened_at, ends_at).isoformat(),
            "endsAt": ends_at.isoformat(),
            "generatorURL": content.url,
        }

    def _authorization(self) -> dict[str, str]:
        if self.secret.bearer_token is not None:
            return {"Authorization": f"Bearer {self.secret.bearer_token}"}
        if self.secret.username is not None:
            pair = f"{self.secret.username}:{self.secret.password}".encode()
            return {"Authorization": f"Basic {b64encode(pair).decode()}"}
        return {}
