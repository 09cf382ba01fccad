"""`windsock sync --cancel`: on this machine's database and against a server, whatever state the sync is in."""

import socket
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import httpx2
import orjson
import psycopg
import pytest
from click.testing import CliRunner, Result

from cli.cli_inprocess import owner_url, run_in_process
from cli.cli_subprocess import wait_for
from conftest import SECRET_KEY
from databases import Databases
from live_server import LiveServer, serve_two_tenants
from windsock.__main__ import main
from windsock.client import Client

BOTH = pytest.mark.parametrize("where", ["here", "there"])


@pytest.fixture(scope="module")
def live(make_database: Databases) -> Iterator[LiveServer]:
    with serve_two_tenants(make_database, SECRET_KEY) as server:
        yield server


@pytest.fixture
def idle(make_database: Databases) -> Iterator[LiveServer]:
    """Carries out nothing; a sync of prod is queued in each space."""
    with serve_two_tenants(make_database, SECRET_KEY, run_worker=False) as server:
        yield server


@pytest.fixture
def silent_url() -> Iterator[str]:
    """Of somebody who takes every connection and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def cancel(
    live: LiveServer, where: str, data: Path, *more: str, connector: str = "prod", kind: str = "editor"
) -> Result:
    arguments = ("sync", "--space", "finance", "--connector", connector, "--cancel", *more)
    if where == "here":
        return run_in_process(live.database_url, data, *arguments)
    environment = {"WINDSOCK_URL": live.url, "WINDSOCK_API_KEY": live.tenants.keys[kind]}
    result = CliRunner().invoke(main, arguments, env=environment)
    assert not isinstance(result.exception, Exception), result.exception
    return result


def add_connector(live: LiveServer, name: str, url: str) -> UUID:
    """Over the API, which does not try the connection."""
    added = httpx2.post(
        f"{live.url}/api/v1.0/catalog/spaces/finance/connectors",
        headers={"Authorization": f"Bearer {live.tenants.keys['editor']}"},
        json={"name": name, "connector_type": "airflow", "config": {"base_url": url}},
    )
    return UUID(added.json()["id"])


def status(live: LiveServer) -> str:
    with Client(live.url, live.tenants.keys["viewer"], space="finance") as client:
        return client.sync_run(live.tenants.finance.sync_id).status


@BOTH
def test_cancel_waits_until_running_sync_is_cancelled(
    live: LiveServer, where: str, silent_url: str, tmp_path: Path
) -> None:
    name = f"silent {where}"
    connector_id = add_connector(live, name, silent_url)
    with Client(live.url, live.tenants.keys["editor"], space="finance") as client:
        environment = client.sync(connector_id)
        wait_for(lambda: client.sync_run(environment.id).status == "running", "a worker to begin")
        result = cancel(live, where, tmp_path, connector=name)
        assert result.exit_code == 0, result.output
        assert result.stdout.startswith("cancelled: read 0 rows")
        assert client.sync_run(environment.id).status == "cancelled"
        assert [sync.id for sync in client.syncs(connector_id=connector_id)] == [environment.id], "no next one at once"
    again = cancel(live, where, tmp_path, connector=name)
    assert again.exit_code == (1 if where == "here" else 3)
    assert again.stderr == f"Error: No sync of {name} is queued or running.\n"


@BOTH
def test_cancel_ends_running_sync_and_queued_full_sync(
    live: LiveServer, where: str, silent_url: str, tmp_path: Path
) -> None:
    name = f"silent with a follow-up {where}"
    connector_id = add_connector(live, name, silent_url)
    with Client(live.url, live.tenants.keys["editor"], space="finance") as client:
        normal = client.sync(connector_id)
        wait_for(lambda: client.sync_run(normal.id).status == "running", "a worker to begin")
        full = client.sync(connector_id, is_full=True)
        assert (full.status, full.is_full) == ("queued", True)
        result = cancel(live, where, tmp_path, connector=name)
        assert result.exit_code == 0, result.output
        assert [client.sync_run(item.id).status for item in (normal, full)] == ["cancelled"] * 2


@BOTH
def test_cancel_of_queued_sync_prevents_start(idle: LiveServer, where: str, tmp_path: Path) -> None:
    result = cancel(idle, where, tmp_path, "--json")
    assert result.exit_code == 0, result.output
    output = orjson.loads(result.stdout)
    assert (output["id"], output["status"]) == (str(idle.tenants.finance.sync_id), "cancelled")
    assert (output["error"], output["started_at"]) == ("Cancelled before it began.", None)
    assert status(idle) == "cancelled"


def test_cancel_of_sync_with_expired_lease_reports_failure(idle: LiveServer, tmp_path: Path) -> None:
    with psycopg.connect(owner_url(idle.database_url)) as connection:
        connection.execute(
            "UPDATE windsock.sync_runs SET status = 'running', lease_holder = 'gone',"
            " lease_until = now() - interval '1 minute'"
        )
    result = cancel(idle, "here", tmp_path)
    assert result.exit_code == 1
    assert result.stdout.startswith("failed: read 0 rows")
    assert "The worker of this sync stopped in the middle" in result.stderr


def test_cancel_of_sync_that_completes_first_reports_its_status(
    idle: LiveServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    really_cancel = Client.cancel_sync

    def too_late(client: Client, sync_id: object) -> object:
        with psycopg.connect(owner_url(idle.database_url)) as connection:
            connection.execute("UPDATE windsock.sync_runs SET status = 'complete' WHERE id = %s", (sync_id,))
        return really_cancel(client, idle.tenants.finance.sync_id)

    monkeypatch.setattr(Client, "cancel_sync", too_late)
    result = cancel(idle, "there", tmp_path)
    assert result.exit_code == 1
    assert result.stdout.startswith("complete: read 0 rows")


def test_viewer_cannot_cancel_sync(idle: LiveServer, tmp_path: Path) -> None:
    refused = cancel(idle, "there", tmp_path, kind="viewer")
    assert (refused.exit_code, "Only the role editor" in refused.stderr) == (3, True)
    assert status(idle) == "queued"


@BOTH
def test_cancel_combined_with_full_is_usage_error(idle: LiveServer, where: str, tmp_path: Path) -> None:
    result = cancel(idle, where, tmp_path, "--full")
    assert (result.exit_code, "give one of them" in result.stderr) == (2, True)
    assert status(idle) == "queued"
