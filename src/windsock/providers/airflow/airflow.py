"""Airflow as a provider: reads DAGs, runs and task instances of one Airflow 2.6 or newer, completely or not at all."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Literal
from urllib.parse import quote

from windsock import egress
from windsock.errors import ProviderBadResponse, ProviderFailed, ProviderHTTPError
from windsock.providers.airflow import detect as identification
from windsock.providers.airflow import pipelines
from windsock.providers.airflow.actions import AirflowActions
from windsock.providers.airflow.auth import AuthenticatedClient, auth_scheme_for
from windsock.providers.airflow.config import AirflowConfig, Credentials
from windsock.providers.airflow.counting import count
from windsock.providers.airflow.dialect import EVENTS, Dialect, parse_param
from windsock.providers.airflow.errors import WrongApiVersion
from windsock.providers.airflow.event_log import read_hints
from windsock.providers.airflow.http import AirflowHttp, Sleep
from windsock.providers.airflow.logs import LogRequest, read_log
from windsock.providers.airflow.lookup import find_run, read_task_runs
from windsock.providers.airflow.parsing import identity, mapping, parse_datetime, str_list
from windsock.providers.airflow.scans import ApiRequest, Limits, parse_listing
from windsock.providers.airflow.tokens import TokenCache
from windsock.providers.airflow.tries import read_tries
from windsock.providers.airflow.trigger import trigger
from windsock.providers.airflow.v1 import V1
from windsock.providers.airflow.v2 import V2
from windsock.providers.base import ApiVersionInfo, Page, PipelineListing, ProviderRun, ProviderTaskRun
from windsock.providers.hints import EventLogHints
from windsock.providers.miscounts import Miscounts
from windsock.providers.scopes import (
    ProviderParam,
    Resume,
    RunRange,
    RunRequest,
    ScanScope,
    SingleRun,
    TaskRunId,
)
from windsock.providers.task_logs import TaskLog

ApiVersion = Literal["v1", "v2"]

_DIALECTS: dict[str, Dialect] = {"v1": V1(), "v2": V2()}
_FORBIDDEN = 403


@dataclass(frozen=True, slots=True)
class DagProbe:
    """How many DAGs the account sees, one of them, and the seconds that the answer took."""

    visible: int
    dag_id: str | None
    seconds: float


class Airflow:
    """One Airflow behind the Provider contract. It sends one request at a time; close it when done.

    `api_version`: what an earlier `detect_version` found, so that it need not be asked again; None finds it at
    first need. `tokens` and `key` (see `token_key`): where the sign-in of one sync is kept for the next.
    `policy`: where it may connect to.
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
        policy: egress.Policy,
        as_machine: bool = False,
        transport: egress.AsyncBaseTransport | None = None,
        sleep: Sleep = asyncio.sleep,
        tries: int = 3,
        limits: Limits | None = None,
    ) -> None:
        self._forced: ApiVersion | None = None if config.api_version == "auto" else config.api_version
        known = self._forced or api_version
        self._dialect: Dialect | None = _DIALECTS[known] if known else None
        self._limits = limits or Limits()
        self._sleep = sleep
        self._http = AirflowHttp(
            config,
            policy=policy,
            recognized=tokens.recognized,
            key=key,
            transport=transport,
            sleep=sleep,
            tries=tries,
        )
        sign_in = auth_scheme_for(self._http, credentials, config.base_url, policy=policy, as_machine=as_machine)
        self._session = AuthenticatedClient(self._http, sign_in, tokens=tokens, key=key)
        self.actions = AirflowActions(self._session, self._known, self._limits, sleep)

    @property
    def requests(self) -> int:
        return self._http.requests

    @property
    def request_seconds(self) -> float:
        return self._http.seconds

    @property
    def server_time(self) -> datetime | None:
        return self._http.as_of

    @property
    def ahead_of_ours(self) -> float | None:
        return self._http.clock.ahead_of_ours

    def set_clock(self, *, behind: timedelta, is_confirmed: bool) -> None:
        self._http.clock.behind, self._http.clock.is_confirmed = behind, is_confirmed

    def set_miscounts(self, miscounts: Miscounts) -> None:
        self._limits = replace(self._limits, miscounts=miscounts)

    @property
    def server_time_received_at(self) -> datetime | None:
        return self._http.clock.latest

    async def heartbeat(self) -> datetime | None:
        dialect = await self._known()
        body = (await self._session.get(dialect.health)).body
        scheduler = mapping(mapping(body).get("scheduler"))
        try:
            return parse_datetime(scheduler, "latest_scheduler_heartbeat")
        except ProviderBadResponse:
            return None

    async def detect_version(self) -> ApiVersionInfo:
        """Ask anew which API answers, whatever was known; from then on that one is used."""
        identity = await identification.detect_version(self._session.get_version, self._forced)
        self._dialect = _DIALECTS[identity.api_version]
        return identity

    async def list_pipelines(self, *, reads_import_errors: bool = True) -> PipelineListing:
        dialect = await self._known()
        import_errors = f"{dialect.root}/importErrors" if reads_import_errors else None
        return await pipelines.list_pipelines(self._session.get, dialect.pipelines(), import_errors, self._limits)

    async def runs(self, scope: ScanScope, resume: Resume | None = None) -> AsyncIterator[Page[ProviderRun]]:
        dialect = await self._known()
        async for page in dialect.runs(self._session.get, self._limits, scope, resume):
            yield page

    async def task_runs(self, scope: ScanScope, resume: Resume | None = None) -> AsyncIterator[Page[ProviderTaskRun]]:
        dialect = await self._known()
        ask, limits = self._session.get, self._limits
        pages = (
            read_task_runs(ask, limits, dialect, scope, resume)
            if isinstance(scope, SingleRun)
            else dialect.task_runs(ask, limits, scope, resume)
        )
        async for page in pages:
            yield page

    async def count_runs(self, window: RunRange) -> int:
        dialect = await self._known()
        return await count(self._session.get, dialect.count_request("runs", window))

    async def count_task_runs(self, window: RunRange) -> int:
        dialect = await self._known()
        return await count(self._session.get, dialect.count_request("task_runs", window))

    async def may_read_all(self) -> bool:
        """Measured on accounts with rights on single DAGs: every list over `~` is refused, the list of DAGs is not."""
        now = datetime.now(UTC)
        try:
            await self.count_runs(RunRange(now, now))
            await self.count_task_runs(RunRange(now, now))
        except ProviderHTTPError as refusal:
            if refusal.status != _FORBIDDEN:
                raise
            return False
        return True

    async def read_event_log(self, since: datetime, seen: list[int], once: list[int]) -> EventLogHints:
        """The log is stamped by the host that answers, `since` by the one that stamps rows."""
        dialect, behind = await self._known(), self._http.clock.behind
        since += behind
        return await read_hints(self._session.get, dialect.events(since), since, seen, once, behind=behind)

    async def run(
        self, pipeline_external_id: str, external_id: str, position: datetime | None = None
    ) -> ProviderRun | None:
        dialect = await self._known()
        return await find_run(self._session.get, self._limits, dialect, pipeline_external_id, external_id, position)

    async def trigger(self, request: RunRequest, *, may_exist: bool) -> ProviderRun:
        dialect = await self._known_to_trigger(may_exist=may_exist)
        try:
            return await trigger(self._session.post_once, dialect, request, self.run, self._sleep, may_exist=may_exist)
        except WrongApiVersion:  # upgraded since the last sync; the API that is not there has started nothing
            self._dialect = None
            if (await self._known_to_trigger(may_exist=may_exist)).name == dialect.name:
                raise
        dialect = await self._known_to_trigger(may_exist=may_exist)
        return await trigger(self._session.post_once, dialect, request, self.run, self._sleep, may_exist=may_exist)

    @property
    def may_have_triggered(self) -> bool:
        return self._http.may_have_posted("/dagRuns")

    async def _known_to_trigger(self, *, may_exist: bool) -> Dialect:
        """As `_known`; what fails has started nothing, unless an earlier request has."""
        try:
            return await self._known()
        except ProviderFailed as failure:
            failure.request_sent = may_exist
            raise

    async def task_graph(self, pipeline_external_id: str) -> dict[str, list[str]]:
        dialect = await self._known()
        path = f"{dialect.root}/dags/{quote(pipeline_external_id, safe='~')}/tasks"
        body = (await self._session.get(path)).body
        tasks = body.get("tasks") if isinstance(body, dict) else None
        if not isinstance(tasks, list):
            raise ProviderBadResponse(f"The answer to GET {path} has no list of tasks.")
        rows = [task for task in tasks if isinstance(task, dict)]
        return {identity(task, "task_id", "task"): str_list(task.get("downstream_task_ids")) for task in rows}

    async def tries(self, task_run: TaskRunId) -> list[ProviderTaskRun]:
        return await read_tries(self._session.get, await self._known(), task_run)

    async def read_log(
        self, task_run: TaskRunId, try_number: int, resume: str | None = None, *, may_continue: bool = False
    ) -> TaskLog:
        which = LogRequest(task_run, try_number, resume, may_continue)
        return await read_log(self._session, await self._known(), which, self._http.secrets)

    async def params(self, pipeline_external_id: str) -> list[ProviderParam]:
        dialect = await self._known()
        path = f"{dialect.root}/dags/{quote(pipeline_external_id, safe='~')}/details"
        body = (await self._session.get(path)).body
        found = body.get("params") if isinstance(body, dict) else None
        if not isinstance(found, dict):
            raise ProviderBadResponse(f"The answer to GET {path} has no params.")
        return [parse_param(name, schema) for name, schema in found.items()]

    async def probe_dags(self) -> DagProbe:
        dialect = await self._known()
        listing = dialect.pipelines()
        response = await self._session.get(listing.path, {**listing.params, "limit": "1"})
        part = parse_listing(response, listing)
        if part.total is None:
            raise ProviderBadResponse(f"The answer to GET {listing.path} does not say how many DAGs there are.")
        return DagProbe(part.total, part.rows[0].external_id if part.rows else None, response.elapsed)

    async def probe_rows(self, what: Literal["runs", "task_runs"], window: RunRange) -> None:
        """Ask for one row, where a sync asks for many. Raises ProviderFailed as a sync would."""
        dialect = await self._known()
        request = dialect.count_request(what, window)
        await count(self._session.get, ApiRequest(path=request.path, params={**request.params, "limit": "1"}))

    async def probe_events(self) -> None:
        dialect = await self._known()
        await self._session.get(dialect.root + EVENTS, {"limit": "1"})

    async def probe_import_errors(self) -> None:
        dialect = await self._known()
        await count(self._session.get, ApiRequest(path=f"{dialect.root}/importErrors", params={"limit": "1"}))

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
            await self.detect_version()
        if self._dialect is None:
            raise WrongApiVersion("It is not known which API this Airflow has.")
        return self._dialect
