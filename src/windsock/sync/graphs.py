"""The order of each pipeline's tasks: read a few at a time, since it only decides how task runs are sorted."""

from collections.abc import Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from uuid import UUID

from psycopg.types.json import Jsonb

from windsock import log
from windsock.db import Database
from windsock.errors import ProviderFailed, ProviderRefused
from windsock.providers.contract import Provider
from windsock.sql import load

QUERIES = load(__package__, "graphs.sql")

MOST_AT_A_TIME = 20
"""Graphs read by one pass: a request each."""

logger = log.get(__name__)


async def read_graphs(db: Database, provider: Provider, space_id: UUID, connector_id: UUID) -> None:
    """Read the graphs that are unknown or outdated; what cannot be read is left for the next time."""
    names = {"space_id": space_id, "connector_id": connector_id}
    async with db.in_space(space_id) as tx:
        wanted = await tx.rows(QUERIES["graphs_to_read"], **names, most=MOST_AT_A_TIME)
    for pipeline in wanted:
        levels = None
        try:
            levels = Jsonb(levels_of(await provider.task_graph(pipeline["external_id"])))
        except ProviderRefused as failure:  # of this DAG, such as a stale one on Airflow 2
            logger.info("no graph", pipeline=pipeline["external_id"], error=str(failure))
        except ProviderFailed as failure:
            logger.info("the graphs are read another time", error=str(failure))
            return
        async with db.in_space(space_id) as tx:
            await tx.run(QUERIES["save_graph"], space_id=space_id, pipeline_id=pipeline["id"], task_levels=levels)


def levels_of(graph: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """How far each task is from the start, by the longest way; so whatever waits for a task has a higher number."""
    waits_for: dict[str, set[str]] = {task: set() for task in graph}
    for task, behind in graph.items():
        for one in behind:
            waits_for.setdefault(one, set()).add(task)
    levels: dict[str, int] = {}
    try:
        for task in TopologicalSorter(waits_for).static_order():
            levels[task] = max((levels[before] + 1 for before in waits_for[task]), default=0)
    except CycleError:  # no DAG of Airflow's has one
        return {}
    return levels
