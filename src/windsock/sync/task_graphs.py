"""The task graph of each pipeline: read a few at a time, since it only decides how task runs are sorted and drawn."""

from collections.abc import Mapping, Sequence
from graphlib import CycleError, TopologicalSorter

from psycopg.types.json import Jsonb

from windsock import log
from windsock.db.database import Database, Row
from windsock.db.queries import load
from windsock.errors import (
    ProviderBadResponse,
    ProviderFailed,
    ProviderHTTPError,
    ProviderIncomplete,
    ProviderRejectedCredentials,
)
from windsock.providers.base import Provider
from windsock.sync.isolation import Unstorable, storing
from windsock.sync.progress import Progress

QUERIES = load(__package__, "task_graphs.sql")

BATCH = 20
"""Graphs read by one pass: a request each."""

logger = log.get(__name__)


async def read_graphs(db: Database, provider: Provider, progress: Progress) -> None:
    """Read the graphs that are unknown or outdated; what cannot be read or stored is left for another day."""
    space_id = progress.space_id
    async with db.tenant_transaction(space_id) as tx:
        wanted = await tx.fetch_all(
            QUERIES["graphs_to_read"], space_id=space_id, connector_id=progress.connector_id, most=BATCH
        )
    for pipeline in wanted:
        dag_id, graph = pipeline["external_id"], None
        try:
            graph = await provider.task_graph(dag_id)
        except ProviderRejectedCredentials:
            return
        except ProviderHTTPError as failure:  # of this DAG, such as a stale one on Airflow 2
            logger.info("no graph", pipeline=dag_id, error=str(failure))
        except (ProviderBadResponse, ProviderIncomplete) as failure:
            progress.warn(f"The order of the tasks of DAG {dag_id} could not be read: {failure}")
        except ProviderFailed as failure:
            logger.info("the graphs are read another time", error=str(failure))
            return
        await _save_graph(db, progress, pipeline, graph)


async def _save_graph(
    db: Database, progress: Progress, pipeline: Row, graph: Mapping[str, Sequence[str]] | None
) -> None:
    names = {"space_id": progress.space_id, "pipeline_id": pipeline["id"]}
    async with db.tenant_transaction(progress.space_id) as tx:
        try:
            async with tx.savepoint():
                successors = None if graph is None else Jsonb(graph)
                depths = None if graph is None else Jsonb(longest_path_depths(graph))
                save = tx.execute(QUERIES["save_graph"], **names, task_successors=successors, task_depths=depths)
                await storing(save)
        except Unstorable:
            progress.warn(f"The order of the tasks of DAG {pipeline['external_id']} could not be stored.")
            await tx.execute(QUERIES["save_graph"], **names, task_successors=None, task_depths=None)


def longest_path_depths(graph: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """How far each task is from the start, by the longest way; so whatever waits for a task has a higher number."""
    waits_for: dict[str, set[str]] = {task: set() for task in graph}
    for task, behind in graph.items():
        for successor in behind:
            waits_for.setdefault(successor, set()).add(task)
    levels: dict[str, int] = {}
    try:
        for task in TopologicalSorter(waits_for).static_order():
            levels[task] = max((levels[before] + 1 for before in waits_for[task]), default=0)
    except CycleError:  # no DAG of Airflow's has one
        return {}
    return levels
