"""The tries of one task instance: their address in each API, and how each of them stands."""

from http import HTTPStatus
from urllib.parse import quote

from windsock.errors import ProviderBadResponse, ProviderHTTPError
from windsock.providers.airflow.dialect import Dialect
from windsock.providers.airflow.lookup import has_address
from windsock.providers.airflow.scans import Fetch
from windsock.providers.base import ProviderTaskRun
from windsock.providers.scopes import NO_REGION, NOT_MAPPED, TaskRunId

ENDED_STATES = frozenset({"success", "failed", "skipped", "upstream_failed", "removed", "up_for_retry"})
"""Of a try that writes nothing more to its log."""


def task_path(dialect: Dialect, task_run: TaskRunId, what: str) -> str:
    """The path of a task instance without its map index. Raises ProviderHTTPError (404) where it has none."""
    names = (task_run.pipeline_external_id, task_run.run_external_id, task_run.external_id)
    if not has_address(*names):
        sentence = f"Airflow's API has no address for the {what} of {names[2]!r} in the run {names[1]!r}."
        raise ProviderHTTPError(HTTPStatus.NOT_FOUND, sentence, is_transient=False)
    return "{}/dags/{}/dagRuns/{}/taskInstances/{}".format(dialect.root, *(quote(name, safe="~") for name in names))


def region_params(task_run: TaskRunId) -> dict[str, str]:
    """Measured on 3.4.0b2: inside a loop, without the region it is 400."""
    if task_run.region_id == NO_REGION:
        return {}
    return {"region_id": task_run.region_id, "region_index": str(task_run.region_index)}


async def read_tries(ask: Fetch, dialect: Dialect, task_run: TaskRunId) -> list[ProviderTaskRun]:
    """Raises ProviderHTTPError (404) where Airflow is older than 2.10, or has no such task instance or address."""
    of_map = "" if task_run.map_index == NOT_MAPPED else f"/{task_run.map_index}"
    path = f"{task_path(dialect, task_run, 'tries')}{of_map}/tries"
    body = (await ask(path, region_params(task_run))).body
    found = body.get("task_instances") if isinstance(body, dict) else None
    if not isinstance(found, list):
        raise ProviderBadResponse(f"The answer to GET {path} has no list of tries.")
    rows = [dialect.parse_task_run(item) for item in found if isinstance(item, dict)]
    return sorted(rows, key=lambda item: item.try_number)


async def has_ended(ask: Fetch, dialect: Dialect, task_run: TaskRunId, try_number: int) -> bool:
    """Whether nothing more comes of the try. False where Airflow does not tell, as before 2.10."""
    try:
        found = await read_tries(ask, dialect, task_run)
    except ProviderHTTPError as refusal:
        if refusal.status != HTTPStatus.NOT_FOUND:
            raise
        return False
    return any(
        item.try_number > try_number or (item.try_number == try_number and item.status in ENDED_STATES)
        for item in found
    )
