"""The test of a connection that does not work: says so, with what to check, within seconds."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from factories import PASSWORD, TwoTenants
from validating_client import ValidatingClient
from windsock.connectors.store import AirflowConnector
from windsock.context import AppContext
from windsock.errors import ProviderRejectedCredentials
from windsock.providers.airflow.config import AirflowConfig, ComposerCredentials
from windsock.settings import Settings

pytestmark = pytest.mark.anyio
CONNECTORS = "/catalog/spaces/finance/connectors"


@pytest.fixture
def closed_port() -> int:
    with closing(socket.socket()) as connection:
        connection.bind(("127.0.0.1", 0))
        port: int = connection.getsockname()[1]
    return port


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Takes connections and never says a word."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        yield server.getsockname()[1]


async def try_it(client: ValidatingClient, tenants: TwoTenants, port: int) -> dict[str, object]:
    path = f"{CONNECTORS}/{tenants.finance.connector_id}"
    body = {
        "config": {"base_url": f"http://127.0.0.1:{port}", "timeout_seconds": 1},
        "credentials": {"auth_type": "password", "username": "admin", "password": PASSWORD},
    }
    assert (await client.as_(tenants.keys["editor"], "PATCH", path, json=body)).status_code == 200
    started = time.monotonic()
    response = await client.as_(tenants.keys["editor"], "POST", f"{path}/test")
    assert time.monotonic() - started < 5
    assert response.status_code == 200
    assert PASSWORD not in response.text
    payload: dict[str, object] = response.json()
    return payload


async def test_closed_port_is_reported(client: ValidatingClient, tenants: TwoTenants, closed_port: int) -> None:
    body = await try_it(client, tenants, closed_port)
    assert list(body) == ["success", "message", "latency_ms", "provider_version", "api_version", "hints"]
    assert (body["success"], body["provider_version"], body["api_version"]) == (False, None, None)
    assert body["message"] == "GET /api/v2/version could not be sent to Airflow: the connection was refused."
    assert isinstance(body["hints"], list)
    assert body["hints"]
    assert all(hint.endswith(".") for hint in body["hints"])


async def test_silent_listener_is_reported(client: ValidatingClient, tenants: TwoTenants, silent_port: int) -> None:
    body = await try_it(client, tenants, silent_port)
    assert body["success"] is False
    assert isinstance(body["latency_ms"], float)
    assert 900 < body["latency_ms"] < 5000
    assert body["hints"]


@pytest.fixture
def misencoding_port() -> Iterator[int]:
    """Sends bodies compressed with brotli, which no request has accepted."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            for name, value in {
                "Content-Type": "application/json",
                "Content-Encoding": "br",
                "Content-Length": "3",
            }.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(b"\x1b\x0e\x00")

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


async def test_unrequested_compression_is_reported(
    client: ValidatingClient, tenants: TwoTenants, misencoding_port: int
) -> None:
    body = await try_it(client, tenants, misencoding_port)
    assert body["success"] is False
    assert "is marked as compressed with something, which Windsock did not ask for" in str(body["message"])
    assert "gzip or deflate" in str(body["hints"])


async def test_inactive_connector_can_be_tested(
    client: ValidatingClient, tenants: TwoTenants, closed_port: int
) -> None:
    path = f"{CONNECTORS}/{tenants.finance.connector_id}"
    await client.as_(tenants.keys["editor"], "PATCH", path, json={"is_active": False})
    assert (await try_it(client, tenants, closed_port))["success"] is False


OF_THE_MACHINE = {"auth_type": "composer", "service_account": None}
NEEDS_LEAVE, GOES_TO_COMPOSER = "may not sign in as the machine", "are sent to Cloud Composer only"


@pytest.mark.parametrize(("is_allowed", "message"), [(False, NEEDS_LEAVE), (True, GOES_TO_COMPOSER)])
async def test_connection_test_uses_machine_identity_only_if_operator_allows_it(
    client: ValidatingClient, tenants: TwoTenants, process: AppContext, closed_port: int, is_allowed: bool, message: str
) -> None:
    process.settings = Settings(machine_identity=is_allowed)
    path = f"{CONNECTORS}/{tenants.finance.connector_id}"
    body = {"config": {"base_url": f"http://127.0.0.1:{closed_port}"}, "credentials": OF_THE_MACHINE}
    assert (await client.as_(tenants.keys["editor"], "PATCH", path, json=body)).status_code == 200
    payload = (await client.as_(tenants.keys["editor"], "POST", f"{path}/test")).json()
    assert payload["success"] is False
    assert message in payload["message"]


@pytest.mark.parametrize(("is_allowed", "message"), [(False, NEEDS_LEAVE), (True, GOES_TO_COMPOSER)])
async def test_sync_uses_machine_identity_only_if_operator_allows_it(
    tenants: TwoTenants, process: AppContext, monkeypatch: pytest.MonkeyPatch, is_allowed: bool, message: str
) -> None:
    monkeypatch.setattr(process, "settings", Settings(machine_identity=is_allowed))
    config = AirflowConfig(base_url="http://127.0.0.1:9")
    credentials = ComposerCredentials.model_validate(OF_THE_MACHINE)
    connector = AirflowConnector(
        tenants.finance.connector_id, "composer", is_active=True, config=config, credentials=credentials
    )
    provider = process.open_provider(connector, "v2")
    with pytest.raises(ProviderRejectedCredentials, match=message):
        await provider.run("d", "r")
    await provider.aclose()
