"""The order of tasks: by the longest way from the start, read a few graphs at a time, never at a sync's expense."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import RolledBackDatabase
from factories import TwoTenants
from windsock.errors import ProviderBadResponse, ProviderHTTPError, ProviderUnreachable
from windsock.sync.progress import Progress
from windsock.sync.task_graphs import longest_path_depths, read_graphs


@pytest.mark.parametrize(
    ("graph", "levels"),
    [
        ({}, {}),
        ({"a": []}, {"a": 0}),
        ({"a": ["b"], "b": ["c"], "c": []}, {"a": 0, "b": 1, "c": 2}),
        ({"a": ["b", "d"], "b": ["c"], "c": ["d"], "d": []}, {"a": 0, "b": 1, "c": 2, "d": 3}),
        ({"a": ["of_no_entry"]}, {"a": 0, "of_no_entry": 1}),
        ({"a": ["b"], "b": ["a"]}, {}),
    ],
)
def test_task_depth_is_length_of_longest_path(graph: dict[str, list[str]], levels: dict[str, int]) -> None:
    assert longest_path_depths(graph) == levels


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), max_size=60))
def test_task_depth_exceeds_depth_of_upstream_tasks(edges: list[tuple[int, int]]) -> None:
    graph: dict[str, list[str]] = {f"t{number}": [] for number in range(21)}
    for source, other in edges:
        if source < other:
            graph[f"t{source}"].append(f"t{other}")
    levels = longest_path_depths(graph)
    assert levels.keys() == graph.keys()
    assert all(levels[task] < levels[behind] for task, after in graph.items() for behind in after)


class Graphs:
    """A provider that knows graphs; `refusals` by DAG. `warnings` are those of the sync that reads them."""

    def __init__(self, **refusals: Exception) -> None:
        self.refusals = refusals
        self.requests: list[str] = []
        self.graph: dict[str, list[str]] = {"load": ["check"], "check": ["extract"], "extract": []}
        self.warnings: list[str] = []

    def progress(self, tenants: TwoTenants) -> Progress:
        space = tenants.finance
        return Progress(
            space.id, space.connector_id, space.sync_id, "a test", "schedule", is_full=False,
            started_at=datetime.now(UTC), warnings=self.warnings,
        )  # fmt: skip

    async def task_graph(self, dag_id: str) -> dict[str, list[str]]:
        self.requests.append(dag_id)
        if dag_id in self.refusals:
            raise self.refusals[dag_id]
        return self.graph


async def read(db: RolledBackDatabase, tenants: TwoTenants, graphs: Graphs) -> list[str]:
    provider: Any = graphs
    await read_graphs(db, provider, graphs.progress(tenants))
    requests, graphs.requests = graphs.requests, []
    return sorted(requests)


@pytest.mark.anyio
async def test_task_graph_is_read_again_only_for_new_task_or_after_a_day(
    db: RolledBackDatabase, tenants: TwoTenants, client: Any
) -> None:
    graphs = Graphs()
    assert await read(db, tenants, graphs) == ["daily_report", "hourly_load", "never_run"]
    assert await read(db, tenants, graphs) == []
    async with db.tenant_transaction(tenants.finance.id):
        await db.connection.execute("UPDATE pipelines SET task_graph_synced_at = now() - interval '10 minutes'")
    assert await read(db, tenants, graphs) == []
    async with db.tenant_transaction(tenants.finance.id):
        await db.connection.execute(
            "INSERT INTO task_runs (space_id, run_id, external_id, name, status, try_number, max_tries)"
            " SELECT space_id, (last_run ->> 'id')::uuid, 'a_new_task', 'x', 'running', 1, 0 FROM pipelines"
            " WHERE name = 'hourly_load'"
        )
    assert await read(db, tenants, graphs) == ["hourly_load"]
    async with db.tenant_transaction(tenants.finance.id):
        await db.connection.execute("UPDATE pipelines SET task_graph_synced_at = now() - interval '25 hours'")
    assert len(await read(db, tenants, graphs)) == 3
    path = f"/spaces/finance/orchestration/runs/{tenants.finance.run_id}"
    run = (await client.as_(tenants.keys["viewer"], "GET", path)).json()
    order = [(task["external_id"], task["map_index"]) for task in run["task_runs"]]
    assert order == [("load", None), ("check", 0), ("check", 1), ("check", 2), ("extract", None)]


@pytest.mark.anyio
async def test_refused_task_graph_is_skipped_and_outage_stops_reading(
    db: RolledBackDatabase, tenants: TwoTenants
) -> None:
    refused = Graphs(daily_report=ProviderHTTPError(404, "no such DAG", is_transient=False))
    assert await read(db, tenants, refused) == ["daily_report", "hourly_load", "never_run"]
    assert await read(db, tenants, refused) == []
    async with db.tenant_transaction(tenants.finance.id):
        await db.connection.execute("UPDATE pipelines SET task_graph_synced_at = NULL")
    graphs = Graphs(**dict.fromkeys(("daily_report", "hourly_load", "never_run"), ProviderUnreachable("gone")))
    assert len(await read(db, tenants, graphs)) == 1
    assert len(await read(db, tenants, Graphs())) == 3


@pytest.mark.anyio
async def test_unreadable_or_unstorable_task_graph_does_not_block_others(
    db: RolledBackDatabase, tenants: TwoTenants
) -> None:
    graphs = Graphs(daily_report=ProviderBadResponse("its tasks are no list"))
    assert await read(db, tenants, graphs) == ["daily_report", "hourly_load", "never_run"]
    assert await read(db, tenants, graphs) == [], "it is tried again another day"
    assert graphs.warnings == ["The order of the tasks of DAG daily_report could not be read: its tasks are no list"]
    async with db.tenant_transaction(tenants.finance.id):
        await db.connection.execute("UPDATE pipelines SET task_graph_synced_at = NULL")
    graphs = Graphs()
    graphs.graph = {"a\0b": []}
    assert len(await read(db, tenants, graphs)) == 3
    assert await read(db, tenants, graphs) == []
    assert sorted(graphs.warnings) == [
        f"The order of the tasks of DAG {dag_id} could not be stored."
        for dag_id in ("daily_report", "hourly_load", "never_run")
    ]
