"""The egress policy, on connections that are really dialled: which addresses are reached, and which never."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpcore2
import pytest

from windsock import egress
from windsock.egress.client import PolicyBackend

TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
LAPTOP = egress.Policy.of(loopback=True)
SERVER = egress.Policy.of(loopback=False)

LOOPBACK = [
    "127.0.0.1",
    "127.1",
    "2130706433",
    "0x7f.1",
    "0x7f000001",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "localhost",
    "LOCALHOST",
]
NOT_WRITTEN_SO = ["0177.0.0.1", "localhost.", "１２７.０.０.１", "①②⑦.0.0.1", "127。0。0。1"]  # noqa: RUF001 - digits
"""Notations of loopback that some part of the way refuses; the policy must not depend on that."""
NEVER = [
    "169.254.169.254",
    "2852039166",
    "0xa9fea9fe",
    "[::ffff:169.254.169.254]",
    "[64:ff9b::a9fe:a9fe]",  # NAT64
    "[64:ff9b::7f00:1]",
    "[64:ff9b:1:a9fe:a9:fe00::]",
    "[2002:a9fe:a9fe::]",  # 6to4
    "[2002:7f00:1::]",
    "[2001:0:7f00:1::]",  # Teredo, its server
    "[2001:0:808:808:0:0:5601:5601]",  # Teredo, its client: 169.254.169.254 inverted
    "[::127.0.0.1]",
    "[::ffff:0:127.0.0.1]",
    "[2a00:1450::5efe:7f00:1]",  # ISATAP
    "[fe80::1]",
    "[fe80::a9fe:a9fe%lo]",
    "[fd00:ec2::254]",
    "[fd20:ce::254]",
    "168.63.129.16",
    "100.100.100.200",
    "0.0.0.0",  # noqa: S104 - never bound
    "0",
    "[::]",
    "[::ffff:0.0.0.0]",
    "224.0.0.1",
    "239.255.255.250",
    "[ff02::1]",
    "255.255.255.255",
    "240.0.0.1",
]


@contextlib.asynccontextmanager
async def listening() -> AsyncIterator[tuple[int, list[Any]]]:
    """A server on 127.0.0.1 and, where the machine has it, ::1: its port, and the connections that it got."""
    accepted: list[Any] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        accepted.append(head)
        writer.write(b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    beside = await asyncio.start_server(serve, "::1", port) if socket.has_dualstack_ipv6() else None
    try:
        yield port, accepted
    finally:
        for item in filter(None, (server, beside)):
            item.close()
            await item.wait_closed()


async def dial(policy: egress.Policy, url: str, **more: Any) -> int | str:
    """The status of the answer, or the words of the policy's refusal."""
    async with egress.open_client(policy, tls=TLS, timeout_seconds=5, **more) as client:
        try:
            return (await client.get(url)).status_code
        except egress.ConnectError as error:
            if not isinstance(error.__cause__, egress.BlockedByPolicy):
                raise
            return str(error.__cause__)


def with_server(work: Callable[[int, list[Any]], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        async with listening() as (port, accepted):
            return await work(port, accepted)

    return asyncio.run(run())


@pytest.mark.parametrize("host", LOOPBACK)
def test_loopback_in_every_notation_is_reached_only_where_allowed(host: str) -> None:
    async def work(port: int, accepted: list[Any]) -> None:
        url = f"http://{host}:{port}/"
        assert "does not allow connections to " in str(await dial(SERVER, url))
        assert accepted == []
        assert await dial(LAPTOP, url) == 302
        assert len(accepted) == 1  # the redirect was not followed

    with_server(work)


@pytest.mark.parametrize("host", [*NOT_WRITTEN_SO, *LOOPBACK])
def test_loopback_in_every_notation_is_refused_below_url_parser(host: str) -> None:
    async def work(port: int, accepted: list[Any]) -> None:
        backend = PolicyBackend(SERVER, egress.resolve)
        with pytest.raises((httpcore2.ConnectError, UnicodeError)):
            await backend.connect_tcp(host.strip("[]"), port)
        with pytest.raises((egress.ConnectError, egress.InvalidURL)):
            async with egress.open_client(SERVER, tls=TLS, timeout_seconds=5) as client:
                await client.get(f"http://{host}:{port}/")
        assert accepted == []

    with_server(work)


@pytest.mark.parametrize("host", NEVER)
@pytest.mark.parametrize("allow", [None, "public,private,loopback", "0.0.0.0/0,::/0"])
def test_always_forbidden_address_is_not_dialled(host: str, allow: str | None) -> None:
    policy = egress.Policy.of(allow, loopback="loopback" in (allow or "loopback"))
    if "7f00" in host or "127" in host:  # embedded loopback, allowed where loopback is
        policy = egress.Policy.of(allow and allow.replace(",loopback", ""), loopback=False)
    text = str(asyncio.run(dial(policy, f"http://{host}:80/")))
    assert text.startswith("the egress policy of this Windsock does not allow connections to ")


def test_refusal_message_names_range_and_setting() -> None:
    text = asyncio.run(dial(LAPTOP, "http://169.254.169.254/latest/meta-data/"))
    assert text == (
        "the egress policy of this Windsock does not allow connections to 169.254.0.0/16 (WINDSOCK_EGRESS_ALLOW)"
    )


def test_dns_rebinding_does_not_bypass_policy() -> None:
    """Each connection dials what was checked: a second resolution is checked anew."""
    addresses = [["127.0.0.1"], ["169.254.169.254"], ["::ffff:127.0.0.1", "10.255.255.1"]]
    lookups: list[str] = []

    async def rebinding(host: str, _port: int) -> list[str]:
        lookups.append(host)
        return addresses[len(lookups) - 1]

    async def work(port: int, accepted: list[Any]) -> None:
        url = f"http://rebinding.example.com:{port}/"
        assert await dial(LAPTOP, url, resolve=rebinding) == 302
        assert len(lookups) == 1
        assert b"rebinding.example.com" in accepted[0]  # Host stays the name
        assert "169.254.0.0/16" in str(await dial(LAPTOP, url, resolve=rebinding))
        assert await dial(LAPTOP, url, resolve=rebinding) == 302
        assert len(accepted) == 2

    with_server(work)


def test_only_allowed_addresses_of_a_name_are_dialled() -> None:
    async def several(_host: str, _port: int) -> list[str]:
        return ["169.254.169.254", "fe80::1", "127.0.0.2", "127.0.0.1"]

    async def work(port: int, accepted: list[Any]) -> None:
        policy = egress.Policy.of("127.0.0.1/32", loopback=False)
        assert await dial(policy, f"http://several.example.com:{port}/", resolve=several) == 302
        assert len(accepted) == 1

    with_server(work)


def test_unresponsive_address_does_not_delay_next_address() -> None:
    """TEST-NET-1 goes nowhere: without trying the next one meanwhile this would take the whole time-out."""

    async def silent_first(_host: str, _port: int) -> list[str]:
        return ["192.0.2.1", "127.0.0.1"]

    async def work(port: int, _accepted: list[Any]) -> None:
        assert await dial(LAPTOP, f"http://silent.example.com:{port}/", resolve=silent_first) == 302

    with_server(work)


def test_tls_sni_uses_host_name_not_address() -> None:
    names: list[str | None] = []

    async def work() -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.sni_callback = lambda _socket, name, _context: names.append(name)
        server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0, ssl=context)
        port = server.sockets[0].getsockname()[1]

        async def to_loopback(_host: str, _port: int) -> list[str]:
            return ["127.0.0.1"]

        async with server, egress.open_client(LAPTOP, tls=TLS, timeout_seconds=5, resolve=to_loopback) as client:
            with pytest.raises(egress.ConnectError):
                await client.get(f"https://airflow.example.com:{port}/")

    asyncio.run(work())
    assert names == ["airflow.example.com"]


def test_proxy_environment_variables_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would resolve and dial in our place."""

    async def work(port: int, accepted: list[Any]) -> None:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
        assert "169.254.0.0/16" in str(await dial(LAPTOP, "http://169.254.169.254/"))
        assert accepted == []

    with_server(work)


def test_own_ports_are_refused_on_every_local_address() -> None:
    async def work(port: int, accepted: list[Any]) -> None:
        policy = egress.Policy.of("loopback,127.0.0.0/8,0.0.0.0/0", loopback=True, own_ports=[port])
        for host in ("127.0.0.1", "localhost", "[::1]", "2130706433"):
            assert "its own port" in str(await dial(policy, f"http://{host}:{port}/"))
        assert accepted == []

    with_server(work)
    policy = egress.Policy.of(loopback=True, own_ports=[8420])
    assert policy.refusal("h", "192.0.2.7", 8420) is None  # of another machine
    assert policy.refusal("h", "127.0.0.1", 8421) is None


@pytest.mark.parametrize("host", ["a.example.com", "A.Example.Com.", "x.internal.example.com"])
def test_denied_name_is_refused_before_it_is_resolved(host: str) -> None:
    async def fails(_host: str, _port: int) -> list[str]:
        raise AssertionError("was resolved")

    policy = egress.Policy.of(None, "a.example.com,*.internal.example.com", loopback=False)
    assert "WINDSOCK_EGRESS_DENY" in str(asyncio.run(dial(policy, f"http://{host}/", resolve=fails)))


def test_blocking_request_is_subject_to_policy() -> None:
    async def work(port: int, accepted: list[Any]) -> None:
        def send(policy: egress.Policy) -> egress.BlockingResponse:
            url = f"http://127.0.0.1:{port}/token"
            return egress.send_blocking(policy, "POST", url, headers={"a": "b"}, body=b"{}", timeout_seconds=5)

        assert (await asyncio.to_thread(send, LAPTOP)).status == 302
        with pytest.raises(egress.ConnectError) as caught:
            await asyncio.to_thread(send, SERVER)
        assert isinstance(caught.value.__cause__, egress.BlockedByPolicy)
        assert len(accepted) == 1

    with_server(work)


@pytest.mark.parametrize("host", ["nowhere.invalid", "a" * 70 + ".invalid"])
def test_unresolvable_name_is_not_reported_as_policy_refusal(host: str) -> None:
    async def work() -> None:
        async with egress.open_client(LAPTOP, tls=TLS, timeout_seconds=20) as client:
            with pytest.raises(egress.ConnectError) as caught:
                await client.get(f"http://{host}/")
        assert not isinstance(caught.value.__cause__, egress.BlockedByPolicy)

    asyncio.run(work())
