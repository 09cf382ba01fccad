"""E-mail, by the SMTP server of the settings: to the addresses of a channel, or to one user."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import format_datetime
from typing import Annotated

from pydantic import AfterValidator, Field

from windsock.notifications.channels.base import ChannelPart, Content, Mail, Outbound, Outcome, plain_text, shorten

MAX_RECIPIENTS = 20
MAX_SUBJECT = 200
ADDRESS = re.compile(r"[^@\s<>,;:\"()\[\]\\\x00-\x1f\x7f]{1,64}@[A-Za-z0-9.-]{1,255}")


def check_address(text: str) -> str:
    if not ADDRESS.fullmatch(text):
        raise ValueError("must be an e-mail address, such as data@example.com")
    return text


Address = Annotated[str, Field(max_length=320), AfterValidator(check_address)]


class EmailConfig(ChannelPart):
    to: Annotated[list[Address], Field(min_length=1, max_length=MAX_RECIPIENTS)]


class EmailSecret(ChannelPart):
    """Nothing: the server and its password are settings of the installation."""


NO_SECRET = EmailSecret()


@dataclass(frozen=True, slots=True)
class Email:
    config: EmailConfig
    secret: EmailSecret = NO_SECRET
    is_idempotent = False
    follows_state = False
    secrets = ()

    async def send(self, content: Content, ref: Mapping[str, str] | None, outbound: Outbound) -> Outcome:  # noqa: ARG002 - the protocol
        return await outbound.send_mail(build_mail(content, tuple(self.config.to)))


def build_mail(content: Content, recipients: tuple[str, ...]) -> Mail:
    """Build a mail of the conversation of its group, with one-click unsubscription (RFC 8058)."""
    group = f"<{content.group_id}@windsock.invalid>"
    headers = {
        "Date": format_datetime(content.created_at),
        "Message-ID": f"<{content.message_id}@windsock.invalid>",
        "In-Reply-To": group,
        "References": group,
        "Auto-Submitted": "auto-generated",
        "X-Auto-Response-Suppress": "All",
    }
    text = plain_text(content)
    if content.unsubscribe_url is not None:
        headers |= {
            "List-Unsubscribe": f"<{content.unsubscribe_url}>",
            "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
        }
        text += f"\nNo more e-mail from this space: {content.unsubscribe_url}"
    subject = " ".join(shorten(f"[{content.space}] {content.title}", MAX_SUBJECT).split())
    return Mail(recipients, subject, text, headers)
