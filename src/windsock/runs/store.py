"""Runs and task runs as they are read."""

from collections.abc import Sequence
from uuid import UUID

from windsock.access.store import present
from windsock.db import Row, Transaction
from windsock.errors import NotFound
from windsock.pages import Paging
from windsock.providers.airflow import run_url, task_run_url
from windsock.providers.contract import NOT_MAPPED
from windsock.sql import load

QUERIES = load(__package__, "runs.sql")


async def list_runs(
    tx: Transaction, space_id: UUID, pipeline_id: UUID, paging: Paging, *, status: Sequence[str] | None
) -> tuple[list[Row], int]:
    """A page of a pipeline's runs, newest first, and how many there are in all."""
    if not await tx.row(QUERIES["has_pipeline"], space_id=space_id, pipeline_id=pipeline_id):
        raise NotFound("pipeline")
    which = {"space_id": space_id, "pipeline_id": pipeline_id, "status": status}
    rows = await tx.answers(QUERIES["list_runs"], **which, limit=paging.size, offset=paging.offset)
    total = present(await tx.row(QUERIES["count_runs"], **which))["total"]
    for row in rows:
        web_url, api_version, dag_id = row.pop("web_url"), row.pop("api_version"), row.pop("dag_id")
        row["provider_url"] = run_url(web_url, api_version, dag_id, row["external_id"])
    return rows, total


async def get_run(tx: Transaction, space_id: UUID, run_id: UUID) -> Row:
    """One run with all its task runs."""
    found = await tx.answers(QUERIES["get_run"], space_id=space_id, run_id=run_id)
    if not found:
        raise NotFound("run")
    run = found[0]
    web_url, api_version, dag_id = run.pop("web_url"), run.pop("api_version"), run.pop("dag_id")
    run["provider_url"] = run_url(web_url, api_version, dag_id, run["external_id"])
    tasks = await tx.answers(QUERIES["list_task_runs"], space_id=space_id, run_id=run_id)
    for task in tasks:
        map_index = NOT_MAPPED if task["map_index"] is None else task["map_index"]
        task["provider_url"] = task_run_url(
            web_url, api_version, dag_id, run["external_id"], task["external_id"], map_index
        )
    return run | {"task_runs": tasks}
