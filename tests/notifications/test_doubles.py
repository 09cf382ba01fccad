"""Messages to doubles of Slack, Teams and PagerDuty, which refuse what their documentation says that those refuse."""

import orjson
import pytest

from notifications.receivers import http_server
from notifications.sending import content, send

pytestmark = pytest.mark.anyio


def slack_webhook(_path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
    message = orjson.loads(body)
    blocks = message.get("blocks", [])
    texts = [block["text"]["text"] for block in blocks if "text" in block]
    if not headers["content-type"].startswith("application/json") or not message.get("text"):
        return 400, {}, b"invalid_payload"
    if len(blocks) > 50 or any(len(text) > 3_000 for text in texts) or len(blocks[0]["text"]["text"]) > 150:
        return 400, {}, b"invalid_blocks"
    return 200, {}, b"ok"


async def test_slack_webhook_accepts_the_longest_message_without_mentions() -> None:
    async with http_server() as server:
        server.respond = slack_webhook
        long = content(items=20, title="x" * 5_000, more=9, is_repetition=True, reason="r" * 4_000)
        assert (await send("slack", {}, {"webhook_url": f"{server.url}/services/T"}, long)).kind == "delivered"
        assert b"<!channel>" not in server.requests[0][2]


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        ("ratelimited", "temporary"),
        ("invalid_auth", "permanent"),
        ("is_archived", "permanent"),
        ("fatal_error", "ambiguous"),
    ],
)
async def test_slack_web_api_error_has_matching_outcome(error: str, outcome: str) -> None:
    async with http_server() as server:
        server.respond = lambda *_: (200, {"Retry-After": "7"}, orjson.dumps({"ok": False, "error": error}))
        found = await send("slack", {"channel": "C1", "api_url": server.url}, {"bot_token": "xoxb-1"}, content())
        assert (found.kind, found.detail) == (outcome, error)
        assert found.retry_after == (7.0 if outcome == "temporary" else None)


async def test_slack_posts_anew_where_the_message_cannot_be_edited() -> None:
    async with http_server() as server:
        server.respond = lambda path, *_: (
            200, {}, b'{"ok": false, "error": "message_not_found"}' if "update" in path else b'{"ok": true, "ts": "2"}'
        )  # fmt: skip
        found = await send(
            "slack", {"channel": "C1", "api_url": server.url}, {"bot_token": "xoxb-1"}, content("resolved"),
            ref={"channel": "C1", "ts": "1"},
        )  # fmt: skip
        assert found.kind == "delivered"
        assert [path for path, _, _ in server.requests] == ["/chat.update", "/chat.postMessage"]


def teams(_path: str, _headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
    message = orjson.loads(body)
    card = message["attachments"][0]
    is_card = (
        card["contentType"] == "application/vnd.microsoft.card.adaptive" and card["content"]["type"] == "AdaptiveCard"
    )
    if len(body) > 28 * 1024:
        return 413, {}, b"RequestEntityTooLarge"
    return (202, {}, b"") if message["type"] == "message" and is_card else (400, {}, b"TriggerInputSchemaMismatch")


async def test_teams_accepts_the_longest_message() -> None:
    async with http_server() as server:
        server.respond = teams
        long = content(items=20, title="x" * 5_000, more=9, reason="r" * 4_000)
        assert (await send("teams", {}, {"webhook_url": server.url}, long)).status == 202
        item = long.items[0].model_copy(update={"name": "名" * 1_000, "error": "名" * 1_000})
        wide = long.model_copy(update={"title": "名" * 5_000, "items": (item,) * 20})
        assert (await send("teams", {}, {"webhook_url": server.url}, wide)).status == 202
        assert b"[click](" not in server.requests[0][2]
        await send("teams", {}, {"webhook_url": server.url}, content(title="[click](http://evil.example) failed"))
        assert b"[click](" not in server.requests[1][2]


def pagerduty(_path: str, _headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
    event = orjson.loads(body)
    payload = event["payload"]
    is_valid = (
        len(event["routing_key"]) == 32
        and event["event_action"] in {"trigger", "acknowledge", "resolve"}
        and 0 < len(event["dedup_key"]) <= 255
        and 0 < len(payload["summary"]) <= 1_024
        and payload["severity"] in {"critical", "error", "warning", "info"}
        and payload["source"]
        and len(body) <= 512 * 1024
    )
    reply = {"status": "success", "dedup_key": event["dedup_key"]} if is_valid else {"status": "invalid event"}
    return (202 if is_valid else 400), {}, orjson.dumps(reply)


@pytest.mark.parametrize(
    ("event", "action"),
    [("opened", "trigger"), ("changed", "trigger"), ("acknowledged", "acknowledge"), ("resolved", "resolve")],
)
async def test_pagerduty_events_of_a_group_share_one_key(event: str, action: str) -> None:
    async with http_server() as server:
        server.respond = pagerduty
        message = content(event, items=20, title="x" * 5_000)
        secret = {"routing_key": "R" * 32}
        assert (await send("pagerduty", {"url": server.url}, secret, message)).status == 202
        sent = orjson.loads(server.requests[0][2])
        assert (sent["event_action"], sent["dedup_key"]) == (action, f"windsock/{message.group_id}")
        assert (await send("pagerduty", {"url": server.url}, {"routing_key": "short"}, message)).kind == "permanent"
