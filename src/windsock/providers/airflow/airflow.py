"""Airflow as a provider: reads DAGs, runs and task instances of one Airflow 2.6 or newer, completely or not at all."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Literal
from urllib.parse import quote

import httpx2

from windsock.errors import ProviderNonsense, ProviderRefused
from windsock.providers.airflow import identify as identification
from windsock.providers.airflow import pipelines
from windsock.providers.airflow.auth import Session, TokenCache, sign_in_of
from windsock.providers.airflow.config import AirflowConfig, Credentials
from windsock.providers.airflow.counting import count
from windsock.providers.airflow.dialect import Dialect
from windsock.providers.airflow.events import read_hints
from windsock.providers.airflow.failures import WrongApiVersion
from windsock.providers.airflow.http import Http, Sleep
from windsock.providers.airflow.listing import Limits
from windsock.providers.airflow.trigger import trigger
from windsock.providers.airflow.v1 import V1
from windsock.providers.airflow.v2 import V2
from windsock.providers.airflow.values import identity, texts
from windsock.providers.contract import (
    NOT_MAPPED,
    Hints,
    Identity,
    Page,
    PipelineListing,
    ProviderParam,
    ProviderRun,
    ProviderTaskRun,
    Resume,
    RunRequest,
    RunsBetween,
    Scope,
    TaskRunId,
)

ApiVersion = Literal["v1", "v2"]

_DIALECTS: dict[str, Dialect] = {"v1": V1(), "v2": V2()}
_NOT_FOUND = 404


class Airflow:
    """One Airflow behind the Provider contract. It sends one request at a time; close it when done.

    `api_version`: what an earlier `identify` found, so that it need not be asked again; None finds it at first need.
    `tokens` and `key` (see `token_key`): where the sign-in of one sync is kept for the next.
    `as_machine`: whether it may sign in to a cloud as the machine on which Windsock runs.
    `transport`, `sleep`, `tries` and `limits` are for tests and for the test of a connection.
    """

    def __init__(
        self,
        config: AirflowConfig,
        credentials: Credentials,
        *,
        api_version: ApiVersion | None,
        tokens: TokenCache,
        key: str,
        as_machine: bool = False,
        transport: httpx2.AsyncBaseTransport | None = None,
        sleep: Sleep = asyncio.sleep,
        tries: int = 3,
        limits: Limits | None = None,
    ) -> None:
        self._forced: ApiVersion | None = None if config.api_version == "auto" else config.api_version
        known = self._forced or api_version
        self._dialect: Dialect | None = _DIALECTS[known] if known else None
        self._limits = limits or Limits()
        self._sleep = sleep
        self._http = Http(config, transport=transport, sleep=sleep, tries=tries)
        sign_in = sign_in_of(self._http, credentials, config.base_url, as_machine=as_machine)
        self._session = Session(self._http, sign_in, tokens=tokens, key=key)

    @property
    def requests(self) -> int:
        return self._http.requests

    @property
    def seconds(self) -> float:
        return self._http.seconds

    @property
    def as_of(self) -> datetime | None:
        return self._http.as_of

    async def identify(self) -> Identity:
        """Ask anew which API answers, whatever was known; from then on that one is used."""
        identity = await identification.identify(self._session.get_version, self._forced)
        self._dialect = _DIALECTS[identity.api_version]
        return identity

    async def list_pipelines(self) -> PipelineListing:
        dialect = await self._known()
        return await pipelines.list_pipelines(
            self._session.get, dialect.pipelines(), f"{dialect.root}/importErrors", self._limits
        )

    async def runs(self, scope: Scope, resume: Resume | None = None) -> AsyncIterator[Page[ProviderRun]]:
        dialect = await self._known()
        async for page in dialect.runs(self._session.get, self._limits, scope, resume):
            yield page

    async def task_runs(self, scope: Scope, resume: Resume | None = None) -> AsyncIterator[Page[ProviderTaskRun]]:
        dialect = await self._known()
        async for page in dialect.task_runs(self._session.get, self._limits, scope, resume):
            yield page

    async def count_runs(self, window: RunsBetween) -> int:
        dialect = await self._known()
        return await count(self._session.get, dialect.counting("runs", window))

    async def count_task_runs(self, window: RunsBetween) -> int:
        dialect = await self._known()
        return await count(self._session.get, dialect.counting("task_runs", window))

    async def hints(self, since: datetime, seen: list[int], once: list[int]) -> Hints:
        dialect = await self._known()
        return await read_hints(self._session.get, dialect.events(since), since, seen, once)

    async def run(self, pipeline_external_id: str, external_id: str) -> ProviderRun | None:
        dialect = await self._known()
        dag, run = quote(pipeline_external_id, safe="~"), quote(external_id, safe="~")
        try:
            answer = await self._session.get(f"{dialect.root}/dags/{dag}/dagRuns/{run}")
        except ProviderRefused as failure:
            if failure.status != _NOT_FOUND:
                raise
            return None
        if not isinstance(answer.body, dict):
            raise ProviderNonsense(f"Airflow gave something that is not a DAG run for {external_id}.")
        return dialect.parse_run(answer.body)

    async def trigger(self, request: RunRequest, *, may_exist: bool) -> ProviderRun:
        dialect = await self._known()
        try:
            return await trigger(self._session.post_once, dialect, request, self.run, self._sleep, may_exist=may_exist)
        except WrongApiVersion:  # upgraded since the last sync; the API that is not there has started nothing
            if (await self.identify()).api_version == dialect.name:
                raise
        dialect = await self._known()
        return await trigger(self._session.post_once, dialect, request, self.run, self._sleep, may_exist=may_exist)

    async def task_graph(self, pipeline_external_id: str) -> dict[str, list[str]]:
        dialect = await self._known()
        path = f"{dialect.root}/dags/{quote(pipeline_external_id, safe='~')}/tasks"
        body = (await self._session.get(path)).body
        tasks = body.get("tasks") if isinstance(body, dict) else None
        if not isinstance(tasks, list):
            raise ProviderNonsense(f"The answer to GET {path} has no list of tasks.")
        rows = [task for task in tasks if isinstance(task, dict)]
        return {identity(task, "task_id", "task"): texts(task.get("downstream_task_ids")) for task in rows}

    async def tries(self, task_run: TaskRunId) -> list[ProviderTaskRun]:
        """Raises ProviderRefused (404) where Airflow is older than 2.10, or has no such task instance."""
        dialect = await self._known()
        parts = [
            quote(one, safe="~")
            for one in (task_run.pipeline_external_id, task_run.run_external_id, task_run.external_id)
        ]
        of_map = "" if task_run.map_index == NOT_MAPPED else f"/{task_run.map_index}"
        path = "{}/dags/{}/dagRuns/{}/taskInstances/{}{}/tries".format(dialect.root, *parts, of_map)
        body = (await self._session.get(path)).body
        found = body.get("task_instances") if isinstance(body, dict) else None
        if not isinstance(found, list):
            raise ProviderNonsense(f"The answer to GET {path} has no list of tries.")
        rows = [dialect.parse_task_run(one) for one in found if isinstance(one, dict)]
        return sorted(rows, key=lambda one: one.try_number)

    async def params(self, pipeline_external_id: str) -> list[ProviderParam]:
        dialect = await self._known()
        path = f"{dialect.root}/dags/{quote(pipeline_external_id, safe='~')}/details"
        body = (await self._session.get(path)).body
        found = body.get("params") if isinstance(body, dict) else None
        if not isinstance(found, dict):
            raise ProviderNonsense(f"The answer to GET {path} has no params.")
        return [a_param(name, given) for name, given in found.items()]

    async def probe(self) -> tuple[int, float]:
        """How many DAGs the account may see, and the seconds that the answer took."""
        dialect = await self._known()
        listing = dialect.pipelines()
        answer = await self._session.get(listing.path, {**listing.params, "limit": "1"})
        total = answer.body.get("total_entries") if isinstance(answer.body, dict) else None
        if isinstance(total, bool) or not isinstance(total, int):
            raise ProviderNonsense(f"The answer to GET {listing.path} does not say how many DAGs there are.")
        return total, answer.elapsed

    async def health(self) -> dict[str, str]:
        """The status of each part of Airflow ("healthy", "unhealthy"), of those that are there."""
        dialect = await self._known()
        body = (await self._session.get(dialect.health)).body
        parts = body.items() if isinstance(body, dict) else ()
        return {name: str(part["status"]) for name, part in parts if isinstance(part, dict) and part.get("status")}

    async def aclose(self) -> None:
        await self._http.aclose()

    async def _known(self) -> Dialect:
        if self._dialect is None:
            await self.identify()
        if self._dialect is None:
            raise WrongApiVersion("It is not known which API this Airflow has.")
        return self._dialect


def a_param(name: str, given: object) -> ProviderParam:
    """Both APIs wrap the default with its schema; a DAG of an older Airflow may have it bare."""
    if not isinstance(given, dict) or "value" not in given:
        return ProviderParam(name, given, {}, None)
    schema, description = given.get("schema"), given.get("description")
    return ProviderParam(
        name,
        given["value"],
        schema if isinstance(schema, dict) else {},
        description if isinstance(description, str) else None,
    )
