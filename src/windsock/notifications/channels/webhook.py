"""Generic webhook after Standard Webhooks: signed, and idempotent by its webhook-id."""

import hmac
import time
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import orjson
from pydantic import AfterValidator, Field

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
)

PREFIX = "whsec_"
KEY_BYTES = range(24, 65)


def check_signing_secret(secret: str) -> str:
    """Raises ValueError for what is not `whsec_` and 24 to 64 bytes in base64."""
    try:
        key = b64decode(secret.removeprefix(PREFIX), validate=True)
    except ValueError:
        key = b""
    if not secret.startswith(PREFIX) or len(key) not in KEY_BYTES:
        raise ValueError("must be whsec_ and then 24 to 64 random bytes in base64")
    return secret


SigningSecret = Annotated[SecretText, AfterValidator(check_signing_secret)]


class WebhookConfig(ChannelPart):
    url: Annotated[UrlText, AfterValidator(check_url)]


class WebhookSecret(ChannelPart):
    signing_secret: Annotated[SigningSecret, Field(description="whsec_ and 24 to 64 random bytes in base64.")]
    previous_signing_secret: Annotated[
        SigningSecret | None, Field(description="Signs too, until every receiver has the new one.")
    ] = None


@dataclass(frozen=True, slots=True)
class Webhook:
    config: WebhookConfig
    secret: WebhookSecret
    is_idempotent = True
    follows_state = False

    @property
    def secrets(self) -> tuple[str, ...]:
        return tuple(filter(None, (self.secret.signing_secret, self.secret.previous_signing_secret)))

    async def send(self, content: Content, ref: Mapping[str, str] | None, outbound: Outbound) -> Outcome:  # noqa: ARG002 - the protocol
        data = content.model_dump(mode="json", exclude={"is_repetition", "is_group_closed", "unsubscribe_url"})
        body = orjson.dumps({"type": f"incident.{content.event}", "timestamp": data["created_at"], "data": data})
        return await exchange(
            outbound, HttpRequest(self.config.url, body, self._headers(f"msg_{content.message_id}", body))
        )

    def _headers(self, message_id: str, body: bytes) -> dict[str, str]:
        """The time is that of the attempt: receivers refuse one that is more than five minutes off."""
        at = str(int(time.time()))
        signed = b".".join((message_id.encode(), at.encode(), body))
        signatures = (
            b64encode(hmac.digest(b64decode(secret.removeprefix(PREFIX)), signed, "sha256")).decode()
            for secret in self.secrets
        )
        return {
            "Content-Type": "application/json",
            "webhook-id": message_id,
            "webhook-timestamp": at,
            "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
        }
