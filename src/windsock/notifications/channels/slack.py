"""Slack: an incoming webhook, or a bot token with which one message of a group is edited.

The rules are those of docs.slack.dev: an incoming webhook responds with text and a status, the Web API with 200 and
`ok`. They were not tried on Slack itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Self

import orjson
from pydantic import AfterValidator, Field, model_validator

from windsock.notifications.channels.base import (
    REPETITION,
    ChannelPart,
    Content,
    HttpRequest,
    HttpResponse,
    Outbound,
    Outcome,
    SecretText,
    UrlText,
    check_url,
    exchange,
    interpret,
    item_line,
    read_retry_after,
    shorten,
    url_secrets,
)

API_URL = "https://slack.com/api"
MAX_TITLE, MAX_SECTION, MAX_FALLBACK = 150, 2_900, 3_000
PERMANENT = frozenset(
    {
        "account_inactive", "channel_not_found", "invalid_auth", "invalid_blocks", "is_archived", "missing_scope",
        "no_permission", "not_authed", "not_in_channel", "org_login_required", "restricted_action",
        "team_access_not_granted", "token_expired", "token_revoked",
    }
)  # fmt: skip
NOT_EDITABLE = frozenset({"message_not_found", "cant_update_message", "edit_window_closed"})
NOTHING_DONE = frozenset({"ratelimited", "rate_limited", "service_unavailable"})


class SlackConfig(ChannelPart):
    channel: Annotated[
        str | None,
        Field(
            max_length=80, min_length=1, description="Id of the channel, such as C0123456789; with a bot token only."
        ),
    ] = None
    api_url: Annotated[
        UrlText, AfterValidator(check_url), Field(description="Of the Web API; with a bot token only.")
    ] = API_URL


class SlackSecret(ChannelPart):
    """Either of both."""

    webhook_url: Annotated[SecretText, AfterValidator(check_url)] | None = None
    bot_token: SecretText | None = None

    @model_validator(mode="after")
    def _has_one(self) -> Self:
        if (self.webhook_url is None) == (self.bot_token is None):
            raise ValueError("needs webhook_url or bot_token, not both")
        return self


@dataclass(frozen=True, slots=True)
class Slack:
    config: SlackConfig
    secret: SlackSecret
    is_idempotent = False

    @property
    def follows_state(self) -> bool:
        """Whether a bot edits the message: an edit disturbs no reader."""
        return self.secret.bot_token is not None

    @property
    def secrets(self) -> tuple[str, ...]:
        if self.secret.webhook_url is not None:
            return url_secrets(self.secret.webhook_url)
        return tuple(filter(None, (self.secret.bot_token,)))

    async def send(self, content: Content, ref: Mapping[str, str] | None, outbound: Outbound) -> Outcome:
        message: dict[str, Any] = {"text": shorten(content.title, MAX_FALLBACK), "blocks": build_blocks(content)}
        if self.secret.webhook_url is not None:
            return await exchange(outbound, _json_request(self.secret.webhook_url, message))
        if ref is not None and content.event != "reminder":
            edited = await exchange(outbound, self._call("chat.update", {**message, **ref}), _interpret_api)
            if edited.detail not in NOT_EDITABLE:
                return edited
        return await exchange(
            outbound, self._call("chat.postMessage", {**message, "channel": self.config.channel}), _interpret_api
        )

    def _call(self, method: str, message: dict[str, Any]) -> HttpRequest:
        url = f"{self.config.api_url.rstrip('/')}/{method}"
        return _json_request(url, message, {"Authorization": f"Bearer {self.secret.bot_token}"})


def _json_request(url: str, message: dict[str, Any], headers: Mapping[str, str] | None = None) -> HttpRequest:
    content_type = {"Content-Type": "application/json; charset=utf-8"}
    return HttpRequest(url, orjson.dumps(message), {**content_type, **(headers or {})})


def build_blocks(content: Content) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": {"type": "plain_text", "text": shorten(content.title, MAX_TITLE)}}
    ]
    if content.text:
        blocks.append(_section(escape(content.text)))
    blocks += [_section(f"<{item.url}|{escape(item.name)}>\n{escape(item_line(item))}") for item in content.items]
    if content.more:
        blocks.append(_section(f"<{content.url}|and {content.more} more>"))
    notes = [f"{escape(content.reason)} <{content.settings_url}|Change it>"]
    notes += [REPETITION] if content.is_repetition else []
    return [
        *blocks,
        {"type": "context", "elements": [{"type": "mrkdwn", "text": shorten(note, MAX_SECTION)} for note in notes]},
    ]


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": shorten(text, MAX_SECTION)}}


def escape(text: str) -> str:
    """So that a name or an error cannot mention anybody, nor be a link."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _interpret_api(response: HttpResponse) -> Outcome:
    if response.status != 200:  # noqa: PLR2004 - HTTP
        return interpret(response)
    try:
        body: Any = orjson.loads(response.body)
        is_ok, error = bool(body["ok"]), str(body.get("error", ""))
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        return Outcome("ambiguous", response.status, "The response is not one of the Web API.")
    if is_ok:
        return Outcome("delivered", 200, "ok", ref={"channel": str(body.get("channel")), "ts": str(body.get("ts"))})
    if error in NOTHING_DONE:
        return Outcome("temporary", 200, error, retry_after=read_retry_after(response.headers))
    return Outcome("permanent" if error in PERMANENT or error in NOT_EDITABLE else "ambiguous", 200, error)
