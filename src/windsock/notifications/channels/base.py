"""Content of a message, protocol of a channel, and outcome of an attempt: shared by all channels."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Annotated, Any, Literal, Protocol
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypeAliasType

from windsock import egress
from windsock.http.validation import RequestBody
from windsock.pipelines.filters import Criticality

MessageEvent = TypeAliasType(
    "MessageEvent",
    Literal["opened", "changed", "acknowledged", "resolved", "reminder", "catch_up", "digest", "notice", "test"],
)
OutcomeKind = Literal["delivered", "temporary", "permanent", "ambiguous"]

MAX_ITEMS = 20
"""Incidents that a message lists; of the others it says how many there are."""
MAX_ERROR_CHARACTERS = 300
MAX_URL_CHARACTERS = 2_000
MAX_RETRY_AFTER_SECONDS = 86_400.0
REPETITION = "This may be a repetition: whether the first attempt arrived is unknown."


class Item(BaseModel):
    """An incident as a message lists it."""

    model_config = ConfigDict(frozen=True)

    incident_id: UUID
    name: str
    """Of the pipeline, or of the connector."""
    kind: str
    state: str
    criticality: Criticality
    team: str | None = None
    connector: str | None = None
    error: str | None = None
    occurrences: int = 1
    opened_at: datetime
    resolved_at: datetime | None = None
    url: str


class Content(BaseModel):
    """Text and facts of a message; stored before the first attempt, so that every retry sends the same."""

    model_config = ConfigDict(frozen=True)

    message_id: UUID
    group_id: UUID
    event: MessageEvent
    criticality: Criticality = "medium"
    space: str
    title: str
    text: str = ""
    items: tuple[Item, ...] = ()
    more: int = 0
    """Incidents that are not in `items`."""
    opened_at: datetime
    created_at: datetime
    url: str
    reason: str
    """Why it is sent, as a sentence."""
    settings_url: str
    unsubscribe_url: str | None = None
    is_repetition: bool = False
    is_group_closed: bool = False
    """Everything was resolved; what is open again is of another group, which its own messages announce."""

    @property
    def is_over(self) -> bool:
        """Whether everything is resolved that it is about: also what was collected may be, by the time it is sent."""
        is_resolved = bool(self.items) and all(item.state == "resolved" for item in self.items)  # those come last
        return is_resolved or self.is_group_closed or self.event == "resolved"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended. `detail`: the receiver's words, not redacted yet; `ref`: what a later edit refers to."""

    kind: OutcomeKind
    status: int | None = None
    detail: str = ""
    retry_after: float | None = None
    ref: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class HttpRequest:
    url: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    method: str = "POST"


@dataclass(frozen=True, slots=True)
class HttpResponse:
    status: int
    headers: Mapping[str, str]
    body: bytes
    """The first 64 kB."""

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", errors="replace")


@dataclass(frozen=True, slots=True)
class Mail:
    recipients: tuple[str, ...]
    subject: str
    text: str
    headers: Mapping[str, str]


class Outbound(Protocol):
    """The connections that channels may use; see outbound.py. Both return an Outcome for what is not a response."""

    async def request(self, request: HttpRequest) -> HttpResponse | Outcome: ...

    async def send_mail(self, mail: Mail) -> Outcome: ...


class Channel(Protocol):
    """A receiver with its configuration and secret.

    `is_idempotent`: the receiver recognises a message that it is sent twice. `follows_state`: it shows whether a group
    is resolved, and disturbs nobody by that, so that quiet hours do not hold updates back.
    """

    is_idempotent: bool

    @property
    def follows_state(self) -> bool: ...

    @property
    def secrets(self) -> tuple[str, ...]:
        """Secrets to redact from recorded responses."""
        ...

    async def send(self, content: Content, ref: Mapping[str, str] | None, outbound: Outbound) -> Outcome:
        """Send one message. `ref`: of the message before in the same group, where its outcome had one."""
        ...


class ChannelPart(RequestBody):
    """A config or a secret: frozen, unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def check_url(url: str) -> str:
    """Raises ValueError for what is no http(s) URL, and for one with a user name or password."""
    try:
        parts = egress.URL(url)
    except egress.InvalidURL:
        raise ValueError("must be a URL, such as https://example.com/hook") from None
    if parts.scheme not in {"http", "https"} or not parts.host:
        raise ValueError("must be a URL that begins with https:// or http://")
    if parts.userinfo:
        raise ValueError("must not contain a user name or password")
    return url


def url_secrets(url: str) -> tuple[str, ...]:
    """A URL that is a secret, and its path and query, which receivers repeat in pages of errors."""
    parts = egress.URL(url)
    return url, parts.raw_path.decode("ascii"), parts.path, parts.query.decode("ascii")


UrlText = Annotated[str, Field(min_length=1, max_length=MAX_URL_CHARACTERS)]
SecretText = Annotated[
    str, Field(min_length=1, max_length=4_000, pattern=r"^[\x21-\x7e]+$", json_schema_extra={"writeOnly": True})
]
"""What a header can hold, without spaces."""


def interpret(response: HttpResponse) -> Outcome:
    """Map a status to an outcome, for receivers without other rules.

    429 and 503 say that nothing was done. Other 5xx do not, so that a repetition may arrive twice.
    """
    status, detail = response.status, response.text
    if status < HTTPStatus.MULTIPLE_CHOICES:
        return Outcome("delivered", status, detail)
    if status in {408, 425, 429, 503}:
        return Outcome("temporary", status, detail, retry_after=read_retry_after(response.headers))
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Outcome("ambiguous", status, detail, retry_after=read_retry_after(response.headers))
    if status < HTTPStatus.BAD_REQUEST:
        return Outcome("permanent", status, "Redirects are not followed. Enter the address that it leads to.")
    return Outcome("permanent", status, detail)


def read_retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds, from either form of the header; at most a day. None without one that can be read."""
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), MAX_RETRY_AFTER_SECONDS)
    try:
        at = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return min(max((at - datetime.now(UTC)).total_seconds(), 0.0), MAX_RETRY_AFTER_SECONDS)


async def exchange(outbound: Outbound, request: HttpRequest, read: Any = interpret) -> Outcome:  # noqa: ANN401 - callable
    """Send a request; `read` turns the response into an Outcome."""
    response = await outbound.request(request)
    return response if isinstance(response, Outcome) else read(response)


def shorten(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def item_line(item: Item) -> str:
    """An incident in one line of plain text."""
    parts = [f"{item.name}: {item.kind.replace('_', ' ')}, {item.state}"]
    if item.occurrences > 1:
        parts.append(f"{item.occurrences} times")
    if item.team:
        parts.append(f"team {item.team}")
    if item.error:
        parts.append(shorten(item.error, MAX_ERROR_CHARACTERS))
    return " · ".join(parts)


def plain_text(content: Content) -> str:
    """The message as text, without the title."""
    lines = [content.text] if content.text else []
    for item in content.items:
        lines += [f"- {item_line(item)}", f"  {item.url}"]
    if content.more:
        lines.append(f"and {content.more} more")
    if content.is_repetition:
        lines += ["", REPETITION]
    return "\n".join([*lines, "", content.url, "", f"{content.reason} Change it: {content.settings_url}"])
