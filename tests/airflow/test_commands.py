"""The commands against a server that mirrors a real Airflow: from what failed today to seeing it succeed."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
import pytest
from click.testing import CliRunner, Result

from airflow.harness import find_failed_run, quiet
from airflow_lab import AirflowLab
from conftest import SECRET_KEY
from databases import Databases
from live_server import serving
from windsock.__main__ import main
from windsock.app import create_app
from windsock.client import Client
from windsock.connectors.models import ConnectorIn
from windsock.connectors.store import create_connector
from windsock.context import AppContext
from windsock.db.bootstrap import Storage
from windsock.db.database import Database
from windsock.settings import Settings
from windsock.spaces.store import create_key, create_space, create_user, upsert_member


@dataclass
class Desk:
    """A person's terminal."""

    url: str
    key: str

    def run(self, *arguments: str) -> Result:
        environment = {"WINDSOCK_URL": self.url, "WINDSOCK_API_KEY": self.key, "COLUMNS": "200"}
        result = CliRunner().invoke(main, arguments, env=environment)
        assert not isinstance(result.exception, Exception), result.exception
        return result

    def json(self, *arguments: str) -> Any:
        result = self.run(*arguments, "--json")
        assert result.exit_code == 0, result.output
        return orjson.loads(result.stdout)


@pytest.fixture
def desk(airflow: AirflowLab, make_database: Databases) -> Iterator[Desk]:
    database_url = make_database(f"desk_{uuid4().hex}")
    process = AppContext(Settings(data=Path("nowhere")), Storage(database_url, (SECRET_KEY,), None))
    key = asyncio.run(_prepare(process, database_url, airflow))
    with serving(create_app(process)) as url:
        yield Desk(url, key)


async def _prepare(process: AppContext, database_url: str, airflow: AirflowLab) -> str:
    db = Database(database_url, pool_size=2)
    await db.open()
    async with db.transaction() as tx:
        user = await create_user(tx, email="ada@example.com", name="Ada", is_superadmin=False)
        key = await create_key(tx, user["id"], name="of the test", expires_in_days=None)
        space = await create_space(tx, slug="finance", name="Finance")
    body = ConnectorIn(
        name="lab",
        connector_type="airflow",
        config={"base_url": airflow.url},
        credentials={"auth_type": "password", "username": "admin", "password": airflow.password},
    )
    async with db.tenant_transaction(space["id"]) as tx:
        await upsert_member(tx, space["id"], user["id"], "admin")
        await create_connector(tx, space["id"], body, process.secrets)
    await db.close()
    return str(key["full_key"])


def test_cli_user_finds_failed_run_comments_and_triggers_successful_run(airflow: AirflowLab, desk: Desk) -> None:
    quiet(airflow)
    find_failed_run(airflow, "invoice_export")
    synced = desk.run("sync", "--connector", "lab")
    assert synced.exit_code == 0, synced.output
    assert "complete" in synced.stdout

    (failed,) = desk.json(
        "runs", "--pipeline", "invoice_export", "--status", "failed", "--since", "today", "--limit", "1"
    )
    shown = desk.run("runs", failed["id"]).stdout
    order = [shown.index(task) for task in ("collect_invoices", "send_to_bank", "archive", "confirm")]
    assert order == sorted(order), "in the order of the DAG"
    assert "✗ upstream_failed" in shown
    assert desk.run("comment", failed["id"], "our account was closed", "--task", "send_to_bank").exit_code == 0

    again = desk.run(
        "trigger", "invoice_export", "--conf", '{"account": "DE-45"}', "--note", "the new account", "--wait"
    )
    assert again.exit_code == 0, again.output
    assert "success after" in again.stdout
    (newest,) = desk.json("runs", "--pipeline", "invoice_export", "--limit", "1")
    assert (newest["status"], newest["conf"]) == ("success", {"account": "DE-45"})
    assert newest["triggered_by_user"]["name"] == "Ada"
    assert "our account was closed" in desk.run("comment", failed["id"], "--task", "send_to_bank").stdout

    fails = desk.run("trigger", "invoice_export", "--wait")
    assert fails.exit_code == 1
    assert "send_to_bank" in fails.stdout
    refused = desk.run("trigger", "campaign_report")
    assert refused.exit_code == 3
    assert "Airflow answered 400: " in refused.stderr


def test_runs_command_filters_failed_runs_by_team(airflow: AirflowLab, desk: Desk) -> None:
    quiet(airflow)
    find_failed_run(airflow, "invoice_export")
    assert desk.run("sync", "--connector", "lab").exit_code == 0
    with Client(desk.url, desk.key, space="finance") as client:
        (pipeline,) = [item for item in client.pipelines(q="invoice_export") if item.name == "invoice_export"]
        team = client._http.post(
            f"{desk.url}/api/v1.0/spaces/finance/teams",
            json={"name": "books"},
            headers={"Authorization": f"Bearer {desk.key}"},
        ).json()
        client.set_team(pipeline.id, team["id"])
    found = desk.json("runs", "--team", "books", "--status", "failed", "--since", "today")
    assert {run["pipeline"]["name"] for run in found} == {"invoice_export"}
