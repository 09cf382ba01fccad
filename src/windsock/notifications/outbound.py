"""The connections of channels: HTTP and SMTP, to addresses that the egress policy allows, bounded in time and size."""

import asyncio
import functools
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import SMTP as SMTP_FORMAT

import aiosmtplib

from windsock import egress
from windsock.notifications.channels.base import HttpRequest, HttpResponse, Mail, Outcome, OutcomeKind
from windsock.settings import Settings

HTTP_SECONDS, SMTP_SECONDS = 10.0, 20.0
MAX_RESPONSE_BYTES = 64 * 1024
NO_SMTP = "Windsock has no SMTP server. Ask its operator to set WINDSOCK_SMTP_HOST."


@dataclass(frozen=True, slots=True)
class SmtpServer:
    host: str
    port: int
    security: str
    sender: str
    username: str | None = None
    password: str | None = None
    ca_file: str | None = None

    @classmethod
    def of(cls, settings: Settings) -> "SmtpServer | None":
        """None where no server is set."""
        if settings.smtp_host is None:
            return None
        password = settings.smtp_password
        return cls(
            settings.smtp_host, settings.smtp_port, settings.smtp_security, settings.mail_from, settings.smtp_username,
            None if password is None else password.get_secret_value(),
            None if settings.smtp_ca_file is None else str(settings.smtp_ca_file),
        )  # fmt: skip


class NetworkOutbound:
    """The Outbound of channels: `policy` for what users entered, `smtp_policy` for the server of the settings."""

    def __init__(self, policy: egress.Policy, smtp_policy: egress.Policy, smtp: SmtpServer | None) -> None:
        self._policy, self._smtp_policy, self._smtp = policy, smtp_policy, smtp

    @functools.cached_property
    def _tls(self) -> ssl.SSLContext:
        """Reads every certificate authority: at the first request only."""
        return egress.create_ssl_context()

    @property
    def has_mail(self) -> bool:
        return self._smtp is not None

    async def request(self, request: HttpRequest) -> HttpResponse | Outcome:
        """Errors before the request was sent are temporary, later ones ambiguous."""
        try:
            async with (
                asyncio.timeout(HTTP_SECONDS),
                egress.open_client(self._policy, tls=self._tls, timeout_seconds=HTTP_SECONDS) as client,
                client.stream(
                    request.method, request.url, headers=dict(request.headers), content=request.body
                ) as response,
            ):
                return HttpResponse(response.status_code, _lower(response.headers), await _read(response))
        except (egress.InvalidURL, UnicodeError) as error:
            return Outcome("permanent", detail=f"The address is not a URL: {error}")
        except (egress.ConnectError, egress.ConnectTimeout, egress.PoolTimeout) as error:
            if isinstance(error.__cause__, egress.BlockedByPolicy):
                return Outcome("permanent", detail=f"Not sent: {error.__cause__}")
            return Outcome("temporary", detail=f"No connection: {error or type(error).__name__}")
        except (egress.HTTPError, TimeoutError) as error:
            return Outcome("ambiguous", detail=f"No response: {error or type(error).__name__}")

    async def send_mail(self, mail: Mail) -> Outcome:
        if self._smtp is None:
            return Outcome("temporary", detail=NO_SMTP)
        try:
            async with asyncio.timeout(SMTP_SECONDS):
                connection = await egress.open_socket(
                    self._smtp_policy, self._smtp.host, self._smtp.port, timeout_seconds=HTTP_SECONDS
                )
                return await _Delivery(self._smtp, mail).send(connection)
        except (OSError, TimeoutError, egress.BlockedByPolicy) as error:
            return Outcome("temporary", detail=f"No connection to the SMTP server: {error or type(error).__name__}")


class _Delivery:
    """One mail over one connection; `_is_sending` from the moment on in which the server may have accepted it."""

    def __init__(self, server: SmtpServer, mail: Mail) -> None:
        self._server, self._mail = server, mail
        self._is_sending = False

    async def send(self, connection: object) -> Outcome:
        tls = ssl.create_default_context(cafile=self._server.ca_file)
        implicit = self._server.security == "tls"
        client = aiosmtplib.SMTP(
            hostname=self._server.host if implicit else None, sock=connection, use_tls=implicit, start_tls=False,  # type: ignore[arg-type]
            tls_context=tls if implicit else None, timeout=SMTP_SECONDS, local_hostname="windsock",
        )  # fmt: skip
        try:
            await client.connect()
            if self._server.security == "starttls":
                await client.starttls(server_hostname=self._server.host, tls_context=tls)
            if self._server.username is not None:
                await client.login(self._server.username, self._server.password or "")
            return await self._transfer(client)
        except aiosmtplib.SMTPAuthenticationError as error:
            return Outcome("temporary", error.code, "The SMTP server refused the account of WINDSOCK_SMTP_USERNAME.")
        except aiosmtplib.SMTPDataError as error:
            return Outcome(_kind(error.code), error.code, error.message)
        except aiosmtplib.SMTPResponseException as error:  # of Windsock as a sender: no fault of the recipients
            return Outcome("temporary", error.code, error.message)
        except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
            kind: OutcomeKind = "ambiguous" if self._is_sending else "temporary"
            return Outcome(kind, detail=f"The SMTP server broke off: {error or type(error).__name__}")
        finally:
            client.close()

    async def _transfer(self, client: aiosmtplib.SMTP) -> Outcome:
        await client.mail(self._server.sender)
        refused: list[aiosmtplib.SMTPRecipientRefused] = []
        for recipient in self._mail.recipients:
            try:
                await client.rcpt(recipient)
            except aiosmtplib.SMTPRecipientRefused as error:
                refused.append(error)
        words = "; ".join(f"{error.recipient}: {error.code} {error.message}" for error in refused)
        if len(refused) == len(self._mail.recipients):
            is_permanent = all(_kind(error.code) == "permanent" for error in refused)
            return Outcome("permanent" if is_permanent else "temporary", refused[0].code, words)
        self._is_sending = True
        response = await client.data(_build(self._server.sender, self._mail))
        self._is_sending = False
        return Outcome("delivered", response.code, f"{response.message} {words}".strip())


def _kind(code: int) -> OutcomeKind:
    return "permanent" if code >= 500 else "temporary"  # noqa: PLR2004 - RFC 5321


def _build(sender: str, mail: Mail) -> bytes:
    message = EmailMessage(policy=SMTP_FORMAT)
    message["From"], message["To"], message["Subject"] = sender, ", ".join(mail.recipients), mail.subject
    message.set_content(mail.text)
    # As they are: EmailMessage would encode a long address without spaces, which no mail program reads as an address.
    headers = "".join(f"{name}: {value}\r\n" for name, value in mail.headers.items())
    return headers.encode() + message.as_bytes()


async def _read(response: egress.Response) -> bytes:
    received = b""
    async for chunk in response.aiter_bytes():
        received += chunk
        if len(received) >= MAX_RESPONSE_BYTES:
            break
    return received[:MAX_RESPONSE_BYTES]


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}
