"""Builds the addresses at which a person opens a pipeline, a run or a task run in Airflow's own pages."""

from functools import lru_cache
from typing import Literal
from urllib.parse import quote, urlencode

from windsock.providers.scopes import NO_REGION, NO_REGION_INDEX, NOT_MAPPED

ApiVersion = Literal["v1", "v2"]


def pipeline_url(web_url: str, api_version: ApiVersion, pipeline: str) -> str:
    dag = f"{web_url.rstrip('/')}/dags/{_segment(pipeline)}"
    return f"{dag}/grid" if api_version == "v1" else dag


def run_url(web_url: str, api_version: ApiVersion, pipeline: str, run: str) -> str:
    """The pipeline's page for a run whose id browsers take for a step up in the path."""
    address = pipeline_url(web_url, api_version, pipeline)
    if api_version == "v1":
        return f"{address}?{_query(dag_run_id=run)}"
    return address if run in {".", ".."} else f"{address}/runs/{_segment(run)}"


def task_run_url(
    web_url: str,
    api_version: ApiVersion,
    pipeline: str,
    run: str,
    task: str,
    map_index: int = NOT_MAPPED,
    *,
    region_id: str = NO_REGION,
    region_index: int = NO_REGION_INDEX,
) -> str:
    """In the pages of 3.4 the region chooses one of the iterations of a loop."""
    is_mapped = map_index != NOT_MAPPED
    if api_version == "v1":
        mapped = {"map_index": str(map_index)} if is_mapped else {}
        return f"{pipeline_url(web_url, 'v1', pipeline)}?{_query(dag_run_id=run, task_id=task, **mapped)}"
    address = run_url(web_url, "v2", pipeline, run)
    if {run, task} & {".", ".."}:
        return address
    address = f"{address}/tasks/{_segment(task)}"
    address = f"{address}/mapped/{map_index}" if is_mapped else address
    return f"{address}?{_query(region_id=region_id, region_index=str(region_index))}" if region_id else address


@lru_cache(maxsize=10_000)
def _segment(name: str) -> str:
    """Quote a path segment, cached: ten thousand task runs share the names of their DAG, run and tasks."""
    return quote(name, safe="")


def _query(**values: str) -> str:
    return urlencode(values, quote_via=quote, safe="")
