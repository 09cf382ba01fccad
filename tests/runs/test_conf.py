"""The conf of a run is shown as Airflow has it, whatever JSON it is and however deeply it is nested."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import httpx2
import orjson
import pytest

from factories import TwoTenants, make_run, make_task_run
from validating_client import ValidatingClient
from windsock.cli.decorators import print_json
from windsock.client import Client
from windsock.providers.airflow.fields import MAX_NESTING
from windsock.sync.writer import MirrorWriter

if TYPE_CHECKING:
    from conftest import RolledBackDatabase

pytestmark = pytest.mark.anyio
RUNS = "/spaces/finance/orchestration/runs"


def nested(levels: int, make: Callable[[Any], Any]) -> Any:
    value: Any = make(1)
    for _ in range(levels - 1):
        value = make(value)
    return value


CONFS = [
    *["text", "", 5, 0.5, False, [], [1, "two", None, {"three": [4]}], {}, {"a": [1, {"b": None}]}],
    *[nested(levels, lambda item: {"a": item}) for levels in (200, 252, 253, MAX_NESTING)],
    nested(MAX_NESTING, lambda item: [item]),
]
IDS = [json.dumps(conf)[:20] for conf in CONFS]


@pytest.mark.parametrize("conf", CONFS, ids=IDS)
async def test_conf_of_any_json_type_round_trips_unaltered(
    client: ValidatingClient, tenants: TwoTenants, db: "RolledBackDatabase", conf: Any
) -> None:
    space = tenants.finance
    mirror = MirrorWriter(space.id, space.connector_id)
    run = make_run("never_run", "odd", "success", conf=conf)
    async with db.tenant_transaction(space.id) as tx:
        first = await mirror.store_runs(tx, [run], space.pipelines)
        again = await mirror.store_runs(tx, [run], space.pipelines)
    assert (first.outcomes, again.outcomes) == ({"created": 1}, {"unchanged": 1})
    (run_id,) = first.ids
    response = await client.as_(tenants.keys["viewer"], "GET", f"{RUNS}/{run_id}")
    assert response.status_code == 200
    assert json.loads(response.content)["conf"] == conf
    listed = await client.as_(tenants.keys["viewer"], "GET", RUNS)
    assert conf in [row["conf"] for row in json.loads(listed.content)]

    def script(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, content=response.content)

    with Client("http://w.test", "wsk_x", space="finance", transport=httpx2.MockTransport(script)) as created:
        assert created.run(run_id).conf == orjson.loads(json.dumps(conf))


def test_cli_prints_deeply_nested_conf_in_list(capsys: pytest.CaptureFixture[str]) -> None:
    runs = [{"conf": nested(MAX_NESTING, lambda item: [item]), "note": "ü"}]
    print_json(runs)
    assert json.loads(capsys.readouterr().out) == runs


async def test_deeply_nested_task_run_metadata_round_trips_unaltered(
    client: ValidatingClient, tenants: TwoTenants, db: "RolledBackDatabase"
) -> None:
    space = tenants.finance
    mirror = MirrorWriter(space.id, space.connector_id)
    trigger = {"kwargs": nested(MAX_NESTING - 2, lambda item: [item])}
    task = make_task_run("daily_report", "r1", "deep", "deferred", provider_metadata={"trigger": trigger})
    async with db.tenant_transaction(space.id) as tx:
        stored = await mirror.store_task_runs(tx, [task], space.pipelines)
    (task_run_id,) = stored.ids
    response = await client.as_(tenants.keys["viewer"], "GET", f"/spaces/finance/orchestration/task-runs/{task_run_id}")
    assert response.status_code == 200
    assert json.loads(response.content)["provider_metadata"] == {"trigger": trigger}
