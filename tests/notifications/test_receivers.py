"""Messages to real receivers: an SMTP server, Alertmanager, and the library of Standard Webhooks."""

from datetime import UTC, datetime
from email.parser import BytesParser
from email.policy import default
from pathlib import Path
from typing import Any

import orjson
import pytest
from standardwebhooks import Webhook as Verifier

from notifications.harness import SIGNING_SECRET
from notifications.receivers import (
    PASSWORD,
    USERNAME,
    HttpServer,
    MailServer,
    alertmanager,
    http_server,
    is_ready,
    mail_server,
    wait_until,
)
from notifications.sending import LOCAL, PUBLIC, content, outbound, send
from windsock.notifications.channels.base import Outcome
from windsock.notifications.channels.email import build_mail
from windsock.notifications.outbound import NetworkOutbound, SmtpServer, _build

pytestmark = pytest.mark.anyio

# --- E-mail.


def smtp(server: MailServer, **more: Any) -> SmtpServer:
    fields: dict[str, Any] = {
        "host": "localhost", "port": server.port, "security": "starttls", "sender": "w@example.com",
        "username": USERNAME, "password": PASSWORD, "ca_file": str(server.ca_file),
    }  # fmt: skip
    return SmtpServer(**fields | more)


async def mail(server: MailServer, *to: str, **more: Any) -> Outcome:
    return await send(
        "email", {"to": list(to) or ["a@example.com"]}, {}, content(), outbound=outbound(smtp=smtp(server, **more))
    )


async def test_mail_is_sent_over_starttls_with_sign_in_and_one_click_unsubscribe(tmp_path: Path) -> None:
    async with mail_server(tmp_path) as server:
        assert (await mail(server)).kind == "delivered"
        (received,) = server.mails
        assert server.logins == [(USERNAME, PASSWORD)]
        assert received["Subject"] == "[finance] daily <report> failed"
        assert received["List-Unsubscribe"] == "<https://w.example.com/u/t>"
        assert received["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
        assert "You get this because you watch this pipeline." in received.get_content()
        assert "https://w.example.com/s" in received.get_content()


@pytest.mark.parametrize(
    ("more", "outcome"),
    [({"ca_file": None}, "temporary"), ({"password": "wrong"}, "temporary"), ({"port": 9}, "temporary")],
)
async def test_mail_without_trust_account_or_server_is_tried_later(
    tmp_path: Path, more: dict[str, Any], outcome: str
) -> None:
    async with mail_server(tmp_path) as server:
        assert (await mail(server, **more)).kind == outcome
        assert server.mails == []


def test_long_address_of_unsubscription_is_not_encoded() -> None:
    """Python's EmailMessage would: it folds what is longer than a line."""
    message = content(unsubscribe_url=f"https://w.example.com/unsubscribe/{'token-_' * 40}")
    sent = _build("w@example.com", build_mail(message, ("a@example.com",)))
    assert f"\r\nList-Unsubscribe: <{message.unsubscribe_url}>\r\n".encode() in sent
    assert BytesParser(policy=default).parsebytes(sent)["Date"].datetime == message.created_at.replace(microsecond=0)


async def test_refused_sender_is_no_fault_of_the_recipient(tmp_path: Path) -> None:
    async with mail_server(tmp_path) as server:
        server.refuse_sender = "550 sender not allowed"
        assert (await mail(server)).kind == "temporary"


async def test_refused_mailbox_is_permanent_and_full_one_is_not(tmp_path: Path) -> None:
    async with mail_server(tmp_path) as server:
        server.refuse = {"x@example.com": "550 no such user", "y@example.com": "452 full"}.get
        assert (await mail(server, "x@example.com")).kind == "permanent"
        assert (await mail(server, "y@example.com")).kind == "temporary"
        outcome = await mail(server, "x@example.com", "a@example.com")
        assert outcome.kind == "delivered"
        assert "no such user" in outcome.detail
        assert server.recipients == [["a@example.com"]]


async def test_mail_with_lost_acceptance_is_ambiguous(tmp_path: Path) -> None:
    async with mail_server(tmp_path) as server:
        server.after_data = "cut"
        assert (await mail(server)).kind == "ambiguous"
        server.after_data = "451 try later"
        assert (await mail(server)).kind == "temporary"


async def test_smtp_server_at_a_forbidden_address_is_not_dialled(tmp_path: Path) -> None:
    async with mail_server(tmp_path) as server:
        sending = NetworkOutbound(LOCAL, PUBLIC, smtp(server))
        outcome = await send("email", {"to": ["a@example.com"]}, {}, content(), outbound=sending)
        assert "does not allow connections" in outcome.detail
        assert server.logins == []


# --- Webhook.


async def test_webhook_is_verified_by_the_library_of_standard_webhooks() -> None:
    previous = "whsec_" + "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNk"
    secret = {"signing_secret": SIGNING_SECRET, "previous_signing_secret": previous}
    async with http_server() as server:
        message = content("resolved")
        assert (await send("webhook", {"url": f"{server.url}/in"}, secret, message)).kind == "delivered"
        _, headers, body = server.requests[0]
        for key in (SIGNING_SECRET, previous):
            payload = Verifier(key).verify(body, headers)
            assert payload["type"] == "incident.resolved"
            assert payload["data"]["items"][0]["name"] == "daily <report>"
        assert headers["webhook-id"] == f"msg_{message.message_id}"
        with pytest.raises(Exception, match=r"[Ss]ignature"):
            Verifier(SIGNING_SECRET).verify(body + b" ", headers)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "2130706433",
        "0x7f.1",
        "[::ffff:127.0.0.1]",
        "[::1]",
        "10.0.0.1",
        "169.254.169.254",
        "0",
    ],
)
async def test_channel_at_a_private_address_in_any_notation_is_refused(host: str) -> None:
    async with http_server() as server:
        port = server.url.rpartition(":")[2]
        outcome = await send(
            "webhook", {"url": f"http://{host}:{port}/"}, {"signing_secret": SIGNING_SECRET}, content(),
            outbound=outbound(PUBLIC),
        )  # fmt: skip
        assert outcome.kind == "permanent"
        assert server.requests == []


async def test_redirect_to_a_private_address_is_not_followed() -> None:
    async with http_server() as server, http_server() as private:
        server.respond = lambda *_: (307, {"Location": private.url}, b"")
        outcome = await send("webhook", {"url": server.url}, {"signing_secret": SIGNING_SECRET}, content())
        assert (outcome.kind, outcome.status) == ("permanent", 307)
        assert private.requests == []


async def test_endless_response_is_cut() -> None:
    async with http_server() as server:
        server.respond = lambda *_: (200, {}, b"x" * 1_000_000)
        outcome = await send("webhook", {"url": server.url}, {"signing_secret": SIGNING_SECRET}, content())
        assert (outcome.kind, len(outcome.detail)) == ("delivered", 64 * 1024)


# --- Alertmanager.


async def test_alertmanager_fires_once_and_resolves(tmp_path: Path) -> None:
    async with http_server() as hook:
        with alertmanager(tmp_path, hook.url) as url:
            await wait_until(lambda: is_ready(url))
            opened = content()
            for _ in range(2):  # as after a lost response
                assert (await send("alertmanager", {"url": url, "labels": {"env": "prod"}}, {}, opened)).status == 200
            resolved = opened.model_copy(update={"event": "resolved", "created_at": datetime.now(UTC)})
            await wait_until(lambda: _has(hook, "firing"))
            assert (await send("alertmanager", {"url": url, "labels": {"env": "prod"}}, {}, resolved)).status == 200
            await wait_until(lambda: _has(hook, "resolved"))
    groups = [orjson.loads(body) for _, _, body in hook.requests]
    assert [group["status"] for group in groups] == ["firing", "resolved"]
    (alert,) = groups[0]["alerts"]
    assert alert["labels"]["severity"] == "high"
    assert alert["labels"]["env"] == "prod"
    assert alert["generatorURL"] == opened.url


async def _has(hook: HttpServer, status: str) -> bool:
    return any(orjson.loads(body)["status"] == status for _, _, body in hook.requests)
