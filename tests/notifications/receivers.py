"""Receivers that the tests start: an SMTP server with STARTTLS and AUTH, HTTP servers, Debian's Alertmanager."""

import asyncio
import contextlib
import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default
from pathlib import Path
from typing import Any

import httpx2
from aiosmtpd.smtp import SMTP, AuthResult, Envelope
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

USERNAME, PASSWORD = "windsock", "mail-password-0815"


@dataclass
class HttpServer:
    """Requests as (path, headers, body); `respond` says status, headers and body."""

    url: str = ""
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    respond: Callable[[str, dict[str, str], bytes], tuple[int, dict[str, str], bytes]] = lambda *_: (200, {}, b"ok")


@contextlib.asynccontextmanager
async def http_server() -> AsyncIterator[HttpServer]:
    server = HttpServer()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            first, *lines = head.split("\r\n")
            headers = {
                name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines) if name
            }
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            server.requests.append((first.split()[1], headers, body))
            status, more, content = server.respond(first.split()[1], headers, body)
            rest = "".join(f"{name}: {value}\r\n" for name, value in more.items())
            writer.write(
                f"HTTP/1.1 {status} X\r\n{rest}Content-Length: {len(content)}\r\nConnection: close\r\n\r\n".encode()
            )
            writer.write(content)
            await writer.drain()
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    async with listening:
        yield server


@dataclass
class MailServer:
    port: int = 0
    ca_file: Path = Path()
    mails: list[EmailMessage] = field(default_factory=list)
    recipients: list[list[str]] = field(default_factory=list)
    logins: list[tuple[str, str]] = field(default_factory=list)
    refuse: Callable[[str], str | None] = lambda _address: None
    refuse_sender: str | None = None
    after_data: str = "250 queued"

    async def handle_MAIL(self, _server: Any, _session: Any, envelope: Envelope, address: str, options: Any) -> str:  # noqa: N802
        if self.refuse_sender is not None:
            return self.refuse_sender
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 OK"

    async def handle_RCPT(self, _server: Any, _session: Any, envelope: Envelope, address: str, options: Any) -> str:  # noqa: N802
        if (refusal := self.refuse(address)) is not None:
            return refusal
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 OK"

    async def handle_DATA(self, server: Any, _session: Any, envelope: Envelope) -> str:  # noqa: N802
        content = envelope.content
        assert isinstance(content, bytes)
        self.mails.append(BytesParser(policy=default).parsebytes(content))
        self.recipients.append(list(envelope.rcpt_tos))
        if self.after_data == "cut":
            server.transport.close()
        return self.after_data

    def authenticate(self, _server: Any, _session: Any, _envelope: Any, _mechanism: str, data: Any) -> AuthResult:
        login = data.login.decode(), data.password.decode()
        self.logins.append(login)
        return AuthResult(success=login == (USERNAME, PASSWORD))


@contextlib.asynccontextmanager
async def mail_server(folder: Path) -> AsyncIterator[MailServer]:
    """It wants STARTTLS, and then a sign-in."""
    server = MailServer(ca_file=write_certificate(folder))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(server.ca_file, folder / "key.pem")

    def protocol() -> SMTP:
        return SMTP(
            server, hostname="localhost", tls_context=tls, require_starttls=True, auth_required=True,
            authenticator=server.authenticate, loop=asyncio.get_running_loop(),
        )  # fmt: skip

    listening = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()


def write_certificate(folder: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    path = folder / "certificate.pem"
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return path


@contextlib.contextmanager
def alertmanager(folder: Path, webhook_url: str) -> Iterator[str]:
    """Debian's Alertmanager, which sends its groups to the webhook at once; `make alertmanager` installs it."""
    program = shutil.which("prometheus-alertmanager")
    assert program is not None, "Debian's prometheus-alertmanager is missing: make alertmanager installs it"
    config = folder / "alertmanager.yml"
    config.write_text(
        "route: {receiver: hook, group_wait: 0s, group_interval: 1s, repeat_interval: 1h, group_by: [group]}\n"
        f"receivers: [{{name: hook, webhook_configs: [{{url: '{webhook_url}/hook', send_resolved: true}}]}}]\n",
        encoding="utf-8",
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [
            program, f"--config.file={config}", f"--storage.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address=",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


async def wait_until(condition: Callable[[], Awaitable[bool]], seconds: float = 15) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 - the condition is of another process
            await asyncio.sleep(0.1)


async def is_ready(url: str) -> bool:
    async with httpx2.AsyncClient() as client:
        try:
            return (await client.get(f"{url}/-/ready")).status_code == 200
        except httpx2.HTTPError:
            return False
