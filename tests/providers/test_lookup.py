"""One run is found by its address, or in lists where the address cannot be trusted; only proof makes it missing."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import httpx2
import pytest
from pydantic import SecretStr

from fake_airflow.api import Api
from fake_airflow.faults import FakeAirflow
from fake_airflow.model import Model
from fake_airflow.responses import Reply
from windsock import egress
from windsock.errors import ProviderFailed, ProviderInconclusive, ProviderLacksObject
from windsock.providers.airflow import Airflow, AirflowConfig, TokenCache
from windsock.providers.airflow.config import PasswordCredentials
from windsock.providers.scopes import RunRequest, SingleRun

AT = datetime(2026, 11, 20, 8, tzinfo=UTC)
STRANGE = (
    "2026/11/23", "a/../b", "../dags", "x/taskInstances", "/", "a//b", ".", "..", "~", "a%2Fb", "a%252Fb", "50%", "a?b",
    "a#b", "a;b=1", "a b", "grün 運行", "a\\b", "a&b=c", "[x]", "~x", "manual__2026-11-23T14:32:22+00:00",
)  # fmt: skip


@pytest.fixture(params=["v2", "v1"])
def model(request: pytest.FixtureRequest) -> Model:
    """A DAG with a run of each strange id, each an hour after the one before, and one of another DAG at each moment."""
    model = Model(request.param)
    for dag_id in ("bills", "news"):
        model.add_dag(dag_id)
        for hours, run_id in enumerate(STRANGE):
            run = model.start_run(dag_id, run_id, at=AT + timedelta(hours=hours))
            for _ in range(4 + hours % 8):
                model.step((dag_id, run.run_id))
    model.start_run("bills", "of the same moment", at=AT)
    return model


def airflow_of(fake: httpx2.AsyncBaseTransport, api: Any) -> Airflow:
    return Airflow(
        AirflowConfig(base_url="http://double"),
        PasswordCredentials(auth_type="password", username="admin", password=SecretStr("admin")),
        policy=egress.Policy.of(loopback=True),
        api_version=api,
        tokens=TokenCache(),
        key="double",
        transport=fake,
        sleep=lambda _: asyncio.sleep(0),
    )


async def tasks_of(airflow: Airflow, run: SingleRun) -> set[tuple[str, str, str]]:
    return {
        (task.run_external_id, task.external_id, task.status)
        async for page in airflow.task_runs(run)
        for task in page.rows
    }


@pytest.mark.anyio
@pytest.mark.parametrize("run_id", STRANGE)
async def test_run_with_any_id_is_found_with_its_task_runs(model: Model, run_id: str) -> None:
    key = ("bills", run_id)
    airflow, its = airflow_of(FakeAirflow(Api(model, cap=3)), model.api), model.runs[key]
    found = await airflow.run(*key, its.run_after)
    assert found is not None
    assert (found.pipeline_external_id, found.external_id, found.status) == (*key, its.state)
    assert found.position == its.run_after
    tasks = {(run_id, task.task_id, task.state or "none") for task in model.tasks_of(key)}
    assert await tasks_of(airflow, SingleRun(*key, found.position)) == tasks


@pytest.mark.anyio
@pytest.mark.parametrize("run_id", STRANGE)
async def test_deleted_run_with_any_id_is_missing(model: Model, run_id: str) -> None:
    key, at = ("bills", run_id), model.runs["bills", run_id].run_after
    model.delete_run(key)
    airflow = airflow_of(FakeAirflow(Api(model)), model.api)
    assert await airflow.run(*key, at) is None


@pytest.mark.anyio
@pytest.mark.parametrize("run_id", ["2026/11/23", "..", "~", "x/taskInstances"])
async def test_lookup_of_unaddressable_run_without_date_is_inconclusive(model: Model, run_id: str) -> None:
    fake = FakeAirflow(Api(model))
    airflow = airflow_of(fake, model.api)
    with pytest.raises(ProviderInconclusive):
        await airflow.run("bills", run_id)
    with pytest.raises(ProviderInconclusive):
        await tasks_of(airflow, SingleRun("bills", run_id))
    assert not [path for path in fake.requests if quote(run_id, safe="") in path]


ROUTERS = {
    "3.3.2": Reply({"error": "API route not found"}, 404),
    "starlette": Reply({"detail": "Not Found"}, 404),
    "2.11.2": Reply(
        {"detail": "The requested URL was not found on the server.", "status": 404, "title": "Not Found"}, 404
    ),
    "a page": Reply(b"<html>404</html>", 404, "text/html"),
    "nothing": Reply(b"", 404, "text/plain"),
    "a proxy that refuses escapes": Reply(b"<html>400</html>", 400, "text/html"),
    "another run": Reply({"detail": "The DagRun with dag_id: `bills` and run_id: `other` was not found"}, 404),
    "another dag": Reply({"detail": "The DagRun with dag_id: `news` and run_id: `a b` was not found"}, 404),
    "the deleted one's name in other words": Reply({"detail": "Object `bills` `a b` not found in cache"}, 404),
}


class Behind(httpx2.AsyncBaseTransport):
    """A double behind something that answers for all addresses of single runs."""

    def __init__(self, fake: FakeAirflow, reply: Reply) -> None:
        self.fake, self.reply = fake, reply

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if "/dagRuns/" in request.url.path and "/~/" not in request.url.path:
            headers = {"Content-Type": self.reply.content_type}
            return httpx2.Response(self.reply.status, headers=headers, content=self.reply.content, request=request)
        return await self.fake.handle_async_request(request)


@pytest.mark.anyio
@pytest.mark.parametrize("router", ROUTERS)
async def test_router_404_is_no_evidence_that_run_is_missing(model: Model, router: str) -> None:
    key, at = ("bills", "a b"), model.runs["bills", "a b"].run_after
    airflow = airflow_of(Behind(FakeAirflow(Api(model)), ROUTERS[router]), model.api)
    found = await airflow.run(*key, at)
    assert found is not None
    assert found.external_id == "a b"
    tasks = {("a b", task.task_id, task.state or "none") for task in model.tasks_of(key)}
    assert await tasks_of(airflow, SingleRun(*key, at)) == tasks
    with pytest.raises(ProviderFailed) as raised:
        await airflow.run(*key)
    assert raised.value.status != 404


@pytest.mark.anyio
async def test_response_about_another_run_is_replaced_by_list_lookup(model: Model) -> None:
    """As a proxy that decodes twice brings it about."""
    key, at = ("bills", "a%2Fb"), model.runs["bills", "a%2Fb"].run_after
    other = {"dag_id": "bills", "dag_run_id": "a/b", "run_after": "2026-11-23T14:00:00Z", "state": "failed"}
    airflow = airflow_of(
        Behind(FakeAirflow(Api(model)), Reply({**other, "logical_date": other["run_after"]})), model.api
    )
    found = await airflow.run(*key, at)
    assert found is not None
    assert (found.external_id, found.position) == ("a%2Fb", at)


@pytest.mark.anyio
async def test_task_runs_of_deleted_run_are_empty_or_raise_object_missing(model: Model) -> None:
    airflow = airflow_of(FakeAirflow(Api(model)), model.api)
    if model.api == "v1":  # gives an empty list (measured on 2.11.2)
        assert await tasks_of(airflow, SingleRun("bills", "nope", AT)) == set()
        return
    with pytest.raises(ProviderLacksObject):
        await tasks_of(airflow, SingleRun("bills", "nope", AT))


@pytest.mark.anyio
async def test_runs_of_deleted_dag_are_missing(model: Model) -> None:
    del model.dags["bills"]
    for key in [key for key in model.runs if key[0] == "bills"]:
        model._drop_run(key)
    airflow = airflow_of(FakeAirflow(Api(model)), model.api)
    for run_id in ("a/../b", "a b"):
        assert await airflow.run("bills", run_id, AT) is None


@pytest.mark.anyio
async def test_lost_trigger_is_not_resent_after_router_404(model: Model) -> None:
    fake = FakeAirflow(Api(model))
    airflow = airflow_of(Behind(fake, ROUTERS["3.3.2"]), model.api)
    request = RunRequest(
        pipeline_external_id="bills", external_id="windsock__1", conf={}, logical_date=None, note="by hand"
    )
    with pytest.raises(ProviderInconclusive):
        await airflow.trigger(request, may_exist=True)
    assert not [parameters for parameters in fake.requests if parameters.startswith("POST /api/v")]
