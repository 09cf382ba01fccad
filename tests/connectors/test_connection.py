"""The test of a connection that does not work: says so, with what to check, within seconds."""

import socket
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from checking import CheckedClient
from windsock.connectors.store import AirflowConnector
from windsock.context import AppContext
from windsock.errors import ProviderRejectedCredentials
from windsock.providers.airflow.config import AirflowConfig, ComposerCredentials
from windsock.settings import Settings
from world import PASSWORD, World

pytestmark = pytest.mark.anyio
CONNECTORS = "/catalog/spaces/finance/connectors"


@pytest.fixture
def closed_port() -> int:
    with closing(socket.socket()) as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
    return port


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Takes connections and never says a word."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        yield server.getsockname()[1]


async def try_it(client: CheckedClient, world: World, port: int) -> dict[str, object]:
    path = f"{CONNECTORS}/{world.finance.connector_id}"
    body = {
        "config": {"base_url": f"http://127.0.0.1:{port}", "timeout_seconds": 1},
        "credentials": {"auth_type": "password", "username": "admin", "password": PASSWORD},
    }
    assert (await client.as_(world.keys["editor"], "PATCH", path, json=body)).status_code == 200
    began = time.monotonic()
    answer = await client.as_(world.keys["editor"], "POST", f"{path}/test")
    assert time.monotonic() - began < 5
    assert answer.status_code == 200
    assert PASSWORD not in answer.text
    told: dict[str, object] = answer.json()
    return told


async def test_nobody_listens(client: CheckedClient, world: World, closed_port: int) -> None:
    told = await try_it(client, world, closed_port)
    assert list(told) == ["success", "message", "latency_ms", "provider_version", "api_version", "hints"]
    assert (told["success"], told["provider_version"], told["api_version"]) == (False, None, None)
    assert told["message"] == "GET /api/v2/version could not be sent to Airflow: the connection was refused."
    assert isinstance(told["hints"], list)
    assert told["hints"]
    assert all(hint.endswith(".") for hint in told["hints"])


async def test_somebody_listens_and_says_nothing(client: CheckedClient, world: World, silent_port: int) -> None:
    told = await try_it(client, world, silent_port)
    assert told["success"] is False
    assert isinstance(told["latency_ms"], float)
    assert 900 < told["latency_ms"] < 5000
    assert told["hints"]


async def test_a_connector_that_is_switched_off_can_be_tested(
    client: CheckedClient, world: World, closed_port: int
) -> None:
    path = f"{CONNECTORS}/{world.finance.connector_id}"
    await client.as_(world.keys["editor"], "PATCH", path, json={"is_active": False})
    assert (await try_it(client, world, closed_port))["success"] is False


OF_THE_MACHINE = {"auth_type": "composer", "service_account": None}
NEEDS_LEAVE, GOES_TO_COMPOSER = "may not sign in as the machine", "are sent to Cloud Composer only"


@pytest.mark.parametrize(("is_allowed", "says"), [(False, NEEDS_LEAVE), (True, GOES_TO_COMPOSER)])
async def test_whether_the_machine_signs_in_is_the_operators_setting(
    client: CheckedClient, world: World, process: AppContext, closed_port: int, is_allowed: bool, says: str
) -> None:
    process.settings = Settings(machine_identity=is_allowed)
    path = f"{CONNECTORS}/{world.finance.connector_id}"
    body = {"config": {"base_url": f"http://127.0.0.1:{closed_port}"}, "credentials": OF_THE_MACHINE}
    assert (await client.as_(world.keys["editor"], "PATCH", path, json=body)).status_code == 200
    told = (await client.as_(world.keys["editor"], "POST", f"{path}/test")).json()
    assert told["success"] is False
    assert says in told["message"]


@pytest.mark.parametrize(("is_allowed", "says"), [(False, NEEDS_LEAVE), (True, GOES_TO_COMPOSER)])
async def test_a_sync_asks_the_same_setting(
    world: World, process: AppContext, monkeypatch: pytest.MonkeyPatch, is_allowed: bool, says: str
) -> None:
    monkeypatch.setattr(process, "settings", Settings(machine_identity=is_allowed))
    config = AirflowConfig(base_url="http://127.0.0.1:9")
    credentials = ComposerCredentials.model_validate(OF_THE_MACHINE)
    connector = AirflowConnector(
        world.finance.connector_id, "composer", is_active=True, config=config, credentials=credentials
    )
    provider = process.open_provider(connector, "v2")
    with pytest.raises(ProviderRejectedCredentials, match=says):
        await provider.run("d", "r")
    await provider.aclose()
