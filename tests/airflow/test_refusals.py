"""What a real Airflow refuses, relayed with its status and its words."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx2
import psycopg
import pytest

from airflow.direct_api import ask_airflow, assert_relayed, request_airflow, words_of
from airflow.harness import beside
from airflow.proxy import Proxy
from airflow.test_actions import ClearedRun, cleared  # noqa: F401 - a fixture
from airflow.test_trigger import SPACE, Person, ada, paused, proxy, windsock  # noqa: F401 - fixtures
from airflow_lab import AirflowLab

pytestmark = pytest.mark.anyio

ONE_TASK = """
try:
    from airflow.sdk import DAG
    from airflow.providers.standard.operators.empty import EmptyOperator
except ImportError:
    from airflow import DAG
    from airflow.operators.empty import EmptyOperator
with DAG('fragile', schedule=None, is_paused_upon_creation=True):
    EmptyOperator(task_id='only')
"""


class Change:
    """An action on a run, its task or its DAG: through Windsock, and the same straight at Airflow."""

    def __init__(self, person: Person, lab: AirflowLab, run: dict[str, Any], task: dict[str, Any]) -> None:
        self.person, self.lab = person, lab
        dag = f"/dags/{run['pipeline']['name']}"
        here, there = f"{dag}/dagRuns/{run['external_id']}", f"/taskInstances/{task['external_id']}"
        self.objects = (dag, here, here + "/taskInstances", here + there)
        is_v1 = lab.major == "2"
        note_path, mark_task = ("/setNote", {"dry_run": False, "new_state": "success"}) if is_v1 else ("", {})
        self.targets: dict[str, tuple[str, str, Any, str, str, Any]] = {
            "clear": (
                "POST", f"runs/{run['id']}/clear", {"only_failed": False},
                "POST", f"{dag}/clearTaskInstances", {"dag_run_id": run["external_id"], "dry_run": False},
            ),
            "clear task": (
                "POST", f"task-runs/{task['id']}/clear", {},
                "POST", f"{dag}/clearTaskInstances",
                {"dag_run_id": run["external_id"], "dry_run": False, "task_ids": [task["external_id"]]},
            ),
            "mark": ("POST", f"runs/{run['id']}/mark", {"status": "success"}, "PATCH", here, {"state": "success"}),
            "mark task": (
                "POST", f"task-runs/{task['id']}/mark", {"status": "success"},
                "PATCH", here + there, mark_task or {"new_state": "success"},
            ),
            "note": ("PUT", f"runs/{run['id']}/note", {"note": "x"}, "PATCH", here + note_path, {"note": "x"}),
            "note task": (
                "PUT", f"task-runs/{task['id']}/note", {"note": "x"},
                "PATCH", here + there + note_path, {"note": "x"},
            ),
            "pause": (
                "PUT", f"pipelines/{run['pipeline_id']}/paused", {"is_paused": False},
                "PATCH", dag, {"is_paused": False},
            ),
        }  # fmt: skip

    @classmethod
    async def of_run(cls, target: ClearedRun) -> "Change":
        assert (await target.person.windsock.sync())["status"] == "complete"
        detail = (await target.person.ask("GET", f"{SPACE}/runs/{target.run['id']}")).json()
        return cls(target.person, target.lab, detail, detail["task_runs"][0])

    async def send(self, name: str) -> httpx2.Response:
        method, path, body, *_ = self.targets[name]
        return await self.person.ask(method, f"{SPACE}/{path}", json=body)

    async def send_directly(self, name: str, user: str = "admin") -> httpx2.Response:
        *_, method, path, body = self.targets[name]
        response: httpx2.Response = await beside(request_airflow, self.lab, method, path, body, user)
        return response

    async def assert_refused(self, name: str, status: int, user: str = "admin") -> None:
        """With Airflow's status and its words: those of the change, or of a lookup of what is missing.

        Behind them may stand what to check.
        """
        ours, theirs = await self.send(name), await self.send_directly(name, user)
        assert theirs.status_code == status, (name, theirs.text)
        lookups = [await beside(request_airflow, self.lab, "GET", path, None, user) for path in self.objects]
        assert_same_refusal(ours, [theirs, *(response for response in lookups if response.status_code == status)])


def assert_same_refusal(ours: httpx2.Response, theirs: list[httpx2.Response]) -> None:
    status = theirs[0].status_code
    assert (ours.status_code, ours.headers.get("X-Provider")) == (status, "airflow"), ours.text
    words = [text.rstrip(".") for response in theirs for text in words_of(response.json()) if text]
    assert any(ours.json()["detail"].startswith(text) for text in words), (ours.text, words)


async def test_changes_are_refused_in_airflows_words(
    cleared: ClearedRun,  # noqa: F811 - a fixture
    proxy: Proxy,  # noqa: F811 - a fixture
) -> None:
    """One after the other behind one first sync: a viewer's account, running tasks, an unknown task, a removed run."""
    await cleared.fail()
    change = await Change.of_run(cleared)
    await assert_viewer_is_refused(change, cleared)
    await assert_running_tasks_are_not_cleared(change, cleared, proxy)
    await assert_unknown_task_is_refused(cleared)
    await beside(cleared.lab.api, "DELETE", cleared.path)
    for name in change.targets.keys() - {"pause"}:
        await change.assert_refused(name, 404)


async def assert_viewer_is_refused(change: Change, cleared: ClearedRun) -> None:  # noqa: F811 - as the fixture
    config = {"base_url": cleared.lab.url}
    viewer = {"auth_type": "password", "username": "viewer", "password": "viewer"}
    await cleared.person.use(cleared.lab, credentials=viewer, config=config)
    for name in change.targets:
        await change.assert_refused(name, 403, "viewer")
    assert (await cleared.clears(), await cleared.state()) == (0, "failed")


async def assert_running_tasks_are_not_cleared(
    change: Change,
    cleared: ClearedRun,  # noqa: F811 - as the fixture
    proxy: Proxy,  # noqa: F811 - as the fixture
) -> None:
    """Airflow since 3.3 refuses it; Windsock does where it sees it in time, since Airflow 2 would kill the task."""
    await cleared.person.use(cleared.lab, config={"base_url": proxy.url})

    def start_tasks() -> None:
        with psycopg.connect(cleared.lab.database_url) as connection:
            query = "UPDATE task_instance SET state = 'running' WHERE run_id = %s"
            connection.execute(query, (cleared.run["external_id"],))

    if cleared.lab.major == "3":
        proxy.before_change = start_tasks
        ours = await change.send("clear")
        proxy.before_change = None
        body = {
            "dag_run_id": cleared.run["external_id"], "dry_run": False, "only_failed": False,
            "prevent_running_task": True,
        }  # fmt: skip
        if cleared.lab.version.startswith("3.4"):  # where Windsock names the instances, with other words of Airflow's
            rows = await beside(cleared.lab.api, "GET", f"{cleared.path}/taskInstances")
            body["task_instance_ids"] = [row["id"] for row in rows["task_instances"]]
        theirs = await beside(request_airflow, cleared.lab, "POST", "/dags/legacy_backup/clearTaskInstances", body)
        assert theirs.status_code == 409, theirs.text
        assert_same_refusal(ours, [theirs])
    await beside(start_tasks)
    response = await cleared.clear()
    assert (response.status_code, response.headers.get("X-Provider")) == (409, None)
    assert response.json()["detail"].startswith("These tasks go on: dump, upload.")
    assert await cleared.clears() == 0


async def assert_unknown_task_is_refused(cleared: ClearedRun) -> None:  # noqa: F811 - as the fixture
    """Of a task that the mirror still has. A clear of it finds nothing in Airflow."""
    person = cleared.person
    await person.windsock.execute("UPDATE task_runs SET external_id = 'no_such_task' WHERE external_id = 'dump'")
    detail = (await person.ask("GET", f"{SPACE}/runs/{cleared.run['id']}")).json()
    (task,) = [row for row in detail["task_runs"] if row["external_id"] == "no_such_task"]
    change = Change(person, cleared.lab, detail, task)
    for name in ("mark task", "note task"):
        await change.assert_refused(name, 404)
    ours, theirs = await change.send("clear task"), await change.send_directly("clear task")
    assert (theirs.status_code, theirs.json()["task_instances"], ours.status_code) == (200, [], 409)
    assert await cleared.clears() == 0


async def test_broken_or_removed_dag_is_refused_in_airflows_words(
    airflow: AirflowLab,
    ada: Person,  # noqa: F811 - a fixture
) -> None:
    file = airflow.dags / "fragile.py"

    async def until(condition: Callable[[], bool], what: str) -> None:
        for _ in range(150):
            if await beside(condition):
                return
            await asyncio.sleep(1)
        raise AssertionError(f"waited for {what}")

    def listed() -> dict[str, Any] | None:
        all_rows = {"exclude_stale": "false"} if airflow.major == "3" else {"only_active": "false"}
        dags = airflow.api("GET", "/dags", params={"limit": 100, **all_rows})["dags"]
        return next((dag for dag in dags if dag["dag_id"] == "fragile"), None)

    file.write_text(ONE_TASK)
    try:
        await until(lambda: listed() is not None, "the DAG")
        assert (await ada.windsock.sync())["status"] == "complete"
        run = (await ada.trigger("fragile")).json()
        change = await Change.of_run(ClearedRun(ada, airflow, run))
        file.write_text(ONE_TASK + "import a_package_that_is_not_there\n")
        await until(lambda: bool((listed() or {}).get("has_import_errors")), "the import error")
        theirs = await beside(ask_airflow, airflow, "fragile", {})
        assert_relayed(await ada.trigger("fragile"), theirs)
        assert theirs.status_code in {400, 404}
    finally:
        file.unlink()
    await beside(airflow.api, "DELETE", "/dags/fragile")
    ours, theirs = await ada.trigger("fragile"), await beside(ask_airflow, airflow, "fragile", {})
    assert_relayed(ours, theirs)
    assert theirs.status_code == 404
    for name in change.targets:
        await change.assert_refused(name, 404)
