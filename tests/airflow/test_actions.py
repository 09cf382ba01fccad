"""Actions on a real Airflow: once however the line breaks, and mirrored at once."""

import asyncio
import os
from itertools import product
from typing import Any

import psycopg
import pytest

from airflow.harness import beside
from airflow.proxy import Proxy
from airflow.test_trigger import SPACE, Person, ada, paused, proxy, windsock  # noqa: F401 - fixtures
from airflow_lab import AirflowLab

CUTS = ("after", "during", "before")
TIMES = int(os.environ.get("WINDSOCK_TEST_CUTS") or 3)
MARKS = int(os.environ.get("WINDSOCK_TEST_CUTS") or 1)
"""How often the connection is cut at each place."""

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(900 if TIMES <= 10 else 0)]


class ClearedRun:
    """A run of the paused DAG, which is failed in Airflow and cleared through Windsock again and again."""

    def __init__(self, person: Person, lab: AirflowLab, run: dict[str, Any]) -> None:
        self.person, self.lab, self.run = person, lab, run

    @property
    def path(self) -> str:
        return f"/dags/legacy_backup/dagRuns/{self.run['external_id']}"

    async def fail(self) -> None:
        await beside(self.lab.api, "PATCH", self.path, json={"state": "failed"})

    async def clear(self, **body: Any) -> Any:
        return await self.person.ask(
            "POST", f"{SPACE}/runs/{self.run['id']}/clear", json={"only_failed": False, **body}
        )

    async def clears(self) -> int:
        """How often Airflow cleared it, by its own count."""
        with psycopg.connect(self.lab.database_url) as connection:
            query = "SELECT clear_number FROM dag_run WHERE run_id = %s"
            (row,) = connection.execute(query, (self.run["external_id"],)).fetchall()
        return int(row[0])

    async def state(self) -> str:
        return str((await beside(self.lab.api, "GET", self.path))["state"])


@pytest.fixture
async def cleared(airflow: AirflowLab, ada: Person, paused: str, proxy: Proxy) -> ClearedRun:  # noqa: F811 - a fixture
    await ada.use(airflow, config={"base_url": proxy.url})
    response = await ada.trigger(paused)
    assert response.status_code == 201, response.text
    return ClearedRun(ada, airflow, response.json())


async def test_clears_with_cut_connection_are_carried_out_once(
    cleared: ClearedRun,
    proxy: Proxy,  # noqa: F811 - a fixture
) -> None:
    for number, (cut, _) in enumerate(product(CUTS, range(TIMES)), 1):
        await cleared.fail()
        proxy.cuts = [cut]
        response = await cleared.clear()
        assert response.status_code == 200, (number, cut, response.text)
        assert response.json()["run"]["status"] == "queued"
        assert (await cleared.clears(), await cleared.state()) == (number, "queued"), cut
        assert proxy.cuts == []
    print(f"{number} clears, each carried out once")  # noqa: T201 - measured


async def test_clear_that_never_arrives_changes_nothing(cleared: ClearedRun, proxy: Proxy) -> None:  # noqa: F811 - a fixture
    await cleared.fail()
    proxy.cuts = ["before"] * 3
    response = await cleared.clear()
    assert (response.status_code, "Nothing was changed." in response.json()["detail"]) == (502, True)
    assert (await cleared.clears(), await cleared.state()) == (0, "failed")


async def test_eight_people_who_clear_one_run_cause_one_clear(cleared: ClearedRun) -> None:
    await cleared.fail()
    responses = await asyncio.gather(*[cleared.clear() for _ in range(8)])
    assert sorted(response.status_code for response in responses) == [200] + [409] * 7
    assert await cleared.clears() == 1


async def test_marks_notes_and_pauses_with_cut_connection_are_carried_out(
    cleared: ClearedRun,
    airflow: AirflowLab,
    proxy: Proxy,  # noqa: F811 - a fixture
) -> None:
    for number, (cut, _) in enumerate(product(CUTS, range(MARKS)), 1):
        await cleared.fail()
        await assert_marked_noted_and_paused(cleared, airflow, proxy, cut, number)


async def assert_marked_noted_and_paused(
    cleared: ClearedRun,
    airflow: AirflowLab,
    proxy: Proxy,  # noqa: F811 - as the fixture
    cut: str,
    number: int,
) -> None:
    person, run = cleared.person, cleared.run
    proxy.cuts = [cut]
    marked = await person.ask("POST", f"{SPACE}/runs/{run['id']}/mark", json={"status": "success", "reason": "by hand"})
    assert (marked.status_code, marked.json()["status"]) == (200, "success"), marked.text
    theirs = await beside(airflow.api, "GET", cleared.path)
    assert (theirs["state"], theirs["note"]) == ("success", marked.json()["note"])
    assert theirs["note"].endswith("Marked success through Windsock by Ada <ada@example.com>: by hand")
    detail = (await person.ask("GET", f"{SPACE}/runs/{run['id']}")).json()
    task = detail["task_runs"][0]
    for status in ("failed", "success", "skipped"):
        proxy.cuts = [cut]
        path = f"{SPACE}/task-runs/{task['id']}/mark"
        response = await person.ask("POST", path, json={"status": status})
        assert (response.status_code, response.json()["status"]) == (200, status), response.text
    proxy.cuts = [cut]
    noted = await person.ask("PUT", f"{SPACE}/task-runs/{task['id']}/note", json={"note": f"known {number}"})
    assert noted.json()["note"] == f"known {number}\n\nNoted through Windsock by Ada <ada@example.com>"
    pipeline = f"{SPACE}/pipelines/{run['pipeline_id']}/paused"
    for is_paused in (False, True):
        proxy.cuts = [cut]
        response = await person.ask("PUT", pipeline, json={"is_paused": is_paused})
        assert (response.status_code, response.json()["is_paused"]) == (200, is_paused), response.text
        assert (await beside(airflow.api, "GET", "/dags/legacy_backup"))["is_paused"] is is_paused
    assert proxy.cuts == []
