"""A space in the morning: a real Airflow with failed runs, mirrored, with a team and what people said last."""

import asyncio
import contextlib
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx2
from playwright.sync_api import Page

from airflow.harness import PASSWORD, quiet
from airflow_lab import AirflowLab
from conftest import SECRET_KEY
from databases import Databases
from live_server import serving
from windsock.app import API, create_app
from windsock.client import Client
from windsock.context import AppContext
from windsock.db.bootstrap import Storage
from windsock.db.database import Database
from windsock.runs.models import Run
from windsock.settings import Settings
from windsock.spaces.store import create_key, create_space, create_user, upsert_member

FAILS, SUCCEEDS, MARKED, HAS_PARAMS = "invoice_export", "newsletter", "ledger_close", "campaign_report"
"""DAGs: two runs failed and a later one succeeded; skips a task; its newest run was marked as failed; has params."""
OTHERS = (SUCCEEDS, "exchange_rates", "churn_scoring")
COMMENT_TEXT = "The bank closed account DE-44. Ask for DE-45."
SYNC_SECONDS = 120
ZONE = "Europe/Berlin"
"""Of the browsers."""


@dataclass
class Morning:
    """`keys`: of ada, admin of finance and marketing, of vic, viewer of finance, and of sue, superadmin."""

    url: str
    airflow: AirflowLab
    keys: dict[str, str]
    client: Client

    def address(self, path: str = "", space: str = "finance") -> str:
        return f"{self.url}/spaces/{space}{path}"

    def sign_in(self, page: Page, who: str = "ada") -> None:
        page.goto(f"{self.url}/sign-in")
        page.get_by_label("API key").fill(self.keys[who])
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url(re.compile(r"^(?!.*sign-in)"))

    def pipeline(self, name: str) -> str:
        """Return the address of its page."""
        (found,) = [row for row in self.client.pipelines(q=name) if row.name == name]
        return self.address(f"/pipelines/{found.id}")

    def runs(self, name: str, status: str | None = None) -> list[Run]:
        """Return the runs of a pipeline, newest first."""
        return [run for run in self.client.runs(q=name, status=status) if run.pipeline.name == name]

    def statuses(self, name: str) -> list[str]:
        return [run.status for run in self.runs(name)]

    def failed(self) -> list[Run]:
        return list(self.client.runs(status="failed"))

    def connector(self) -> str:
        return self.address(f"/connectors/{next(iter(self.client.connectors())).id}")


@contextlib.contextmanager
def open_morning(airflow: AirflowLab, make_database: Databases, **settings: Any) -> Iterator[Morning]:
    _run_dags(airflow)
    database_url = make_database(f"pages_{uuid4().hex}")
    with ThreadPoolExecutor(1) as aside:
        keys = aside.submit(asyncio.run, _create_people(database_url)).result()
    process = AppContext(Settings(data=Path("nowhere"), **settings), Storage(database_url, (SECRET_KEY,), None))
    with serving(create_app(process)) as url, Client(url, keys["ada"], space="finance") as client:
        morning = Morning(url, airflow, keys, client)
        _mirror(morning)
        yield morning


def _run_dags(airflow: AirflowLab) -> None:
    """Once for each Airflow: the runs stay."""
    quiet(airflow)
    if _states(airflow, MARKED)[:1] == ["failed"] and _states(airflow, FAILS) == ["success", "failed", "failed"]:
        return
    for dag_id in (FAILS, FAILS, *OTHERS):
        airflow.trigger(dag_id)
    airflow.trigger(HAS_PARAMS, {"campaign": "spring", "country": "FR"})
    marked = airflow.trigger(MARKED)
    airflow.wait_quiet()
    airflow.trigger(FAILS, {"account": "DE-45"})
    airflow.wait_quiet()
    airflow.api("PATCH", f"/dags/{MARKED}/dagRuns/{marked}", json={"state": "failed"})
    airflow.wait_quiet()


def _states(airflow: AirflowLab, dag_id: str) -> list[str]:
    """Of the newest three runs."""
    query = {"order_by": "-run_after", "limit": 3}
    return [run["state"] for run in airflow.api("GET", f"/dags/{dag_id}/dagRuns", params=query)["dag_runs"]]


async def _create_people(database_url: str) -> dict[str, str]:
    db = Database(database_url, pool_size=2)
    keys, users = {}, {}
    await db.open()
    try:
        async with db.transaction() as tx:
            spaces = [await create_space(tx, slug=slug, name=slug.title()) for slug in ("finance", "marketing")]
            for name in ("ada", "vic", "sue"):
                user = await create_user(
                    tx, email=f"{name}@example.com", name=name.title(), is_superadmin=name == "sue"
                )
                users[name] = user["id"]
                keys[name] = (await create_key(tx, user["id"], name="of the test", expires_in_days=None))["full_key"]
        for space, members in zip(spaces, ({"ada": "admin", "vic": "viewer"}, {"ada": "admin"}), strict=True):
            async with db.tenant_transaction(space["id"]) as tx:
                for name, role in members.items():
                    await upsert_member(tx, space["id"], users[name], role)
    finally:
        await db.close()
    return keys


def _mirror(morning: Morning) -> None:
    """Connect the Airflow, sync it, and add what people add."""
    client, me = morning.client, morning.client.me()
    with httpx2.Client(
        base_url=morning.url + API, headers={"Authorization": f"Bearer {morning.keys['ada']}"}
    ) as requests:
        body = {
            "name": "production",
            "connector_type": "airflow",
            "config": {"base_url": morning.airflow.url, "sync_interval_seconds": 5},
            "credentials": {"auth_type": "password", "username": "admin", "password": PASSWORD},
        }
        connector = requests.post("/catalog/spaces/finance/connectors", json=body).raise_for_status().json()
        team = requests.post(
            "/spaces/finance/teams", json={"name": "Billing", "contact": "https://chat.example/billing"}
        )
        team_id = UUID(team.raise_for_status().json()["id"])
        requests.put(f"/spaces/finance/teams/{team_id}/members/{me.id}").raise_for_status()
    client.sync(UUID(connector["id"]))
    until = time.monotonic() + SYNC_SECONDS
    while (morning.statuses(FAILS)[:3], morning.statuses(MARKED)[:1]) != (["success", "failed", "failed"], ["failed"]):
        assert time.monotonic() < until, [(run.pipeline.name, run.status) for run in client.runs()]
        time.sleep(0.5)
    newest = morning.runs(FAILS, "failed")[0]
    client.set_team(newest.pipeline_id, team_id)
    client.comment_on_run(newest.id, COMMENT_TEXT)
