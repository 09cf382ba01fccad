"""Clears, marks, pauses and notes in Airflow, each at most once."""

from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus

from windsock.errors import ProviderBadResponse, ProviderFailed, ProviderHTTPError, ProviderLacksObject
from windsock.providers.actions import ApprovalResponse, ClearRequest, ClearTarget, PendingApproval
from windsock.providers.airflow import approvals
from windsock.providers.airflow.action_bodies import (
    WAITS_TO_RUN,
    ActionRequest,
    clear_request,
    is_selected,
    mark_run_request,
    mark_task_request,
    marker_of,
    note_run_request,
    note_task_request,
    pause_request,
    task_id_of,
    task_path,
)
from windsock.providers.airflow.at_most_once import Done, send_at_most_once
from windsock.providers.airflow.auth import AuthenticatedClient
from windsock.providers.airflow.dialect import Dialect
from windsock.providers.airflow.http import ApiResponse, Sleep
from windsock.providers.airflow.lookup import find_run, has_address, read_task_runs
from windsock.providers.airflow.recognition import VERSION_PATHS, AirflowVersion, recognize
from windsock.providers.airflow.scans import Limits
from windsock.providers.airflow.tries import region_params
from windsock.providers.base import ProviderPipeline, ProviderRun, ProviderTaskRun
from windsock.providers.scopes import SingleRun, TaskRunId


class AirflowActions:
    """The actions of one Airflow, over the session of its provider."""

    def __init__(
        self, session: AuthenticatedClient, dialect: Callable[[], Awaitable[Dialect]], limits: Limits, sleep: Sleep
    ) -> None:
        self._session, self._find_dialect, self._limits, self._sleep = session, dialect, limits, sleep
        self._version: AirflowVersion | None = None
        self.may_be_sent = False

    async def read_run(self, run: SingleRun) -> tuple[ProviderRun, list[ProviderTaskRun]]:
        dialect = await self._find_dialect()
        found = await find_run(self._session.get, self._limits, dialect, *_names(run), run.position)
        if found is None:
            sentence = f"Airflow has no run {run.run_external_id!r} of {run.pipeline_external_id!r} any more."
            raise ProviderLacksObject(
                HTTPStatus.NOT_FOUND, sentence, is_transient=False, provider_message=sentence.rstrip(".")
            )
        return found, await self._read_tasks(run)

    async def plan_clear(self, request: ClearRequest) -> list[ProviderTaskRun]:
        """By a dry run. That of Airflow 2 names tasks without map index, so that their instances are looked up.

        What has not run and waits to run is left out: a clear would change nothing.
        """
        dialect = await self._find_dialect()
        selected = None
        if request.tasks and any(task.region_id for task in request.tasks):
            wanted = set(request.tasks)
            selected = [task for task in await self._read_tasks(request.run) if task_id_of(task) in wanted]
            if len(selected) < len(wanted):
                raise _not_current()
        plan = clear_request(dialect, request, dry_run=True, executions=selected)
        response = await self._post(plan)
        rows = response.body.get("task_instances") if isinstance(response.body, dict) else None
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise ProviderBadResponse(f"The answer to POST {plan.path} has no list of task instances.")
        if dialect.name == "v2":
            return [task for task in map(dialect.parse_task_run, rows) if task.status != WAITS_TO_RUN]
        names = {row.get("task_id") for row in rows}
        tasks = await self._read_tasks(request.run)
        return [task for task in tasks if task.external_id in names and is_selected(task, request)]

    def targets_of(self, tasks: Sequence[ProviderTaskRun]) -> list[ClearTarget]:
        return [ClearTarget(task_id_of(task), marker_of(task)) for task in tasks]

    async def clear(self, request: ClearRequest, targets: Sequence[ClearTarget], *, may_be_done: bool) -> None:
        dialect = await self._find_dialect()
        before = {target.task: target.marker for target in targets}

        async def observe() -> Done:
            """A task run that is gone was cleared too: the later iterations of a loop come anew."""
            now = {task_id_of(task): marker_of(task) for task in await self._read_tasks(request.run)}
            changed = sum(now.get(task) != marker for task, marker in before.items())
            return "no" if changed == 0 else "yes" if changed == len(before) else "partly"

        if may_be_done and await self._is_done(observe):
            return
        body = clear_request(dialect, request, dry_run=False, targets=targets, numbers=await self._numbers(dialect))
        await send_at_most_once(lambda: self._change(self._post, body), observe, self._sleep)

    async def mark_run(self, run: SingleRun, status: str) -> None:
        dialect = await self._find_dialect()

        async def observe() -> Done:
            found = await find_run(self._session.get, self._limits, dialect, *_names(run), run.position)
            return "yes" if found is not None and found.status == status else "no"

        await self._set(mark_run_request(dialect, run, status), observe)

    async def mark_task_run(self, task: TaskRunId, status: str) -> None:
        request = mark_task_request(await self._find_dialect(), task, status)
        await self._set(request, self._observe_task(task, lambda found: found.status == status))

    async def set_paused(self, pipeline_external_id: str, *, is_paused: bool) -> ProviderPipeline:
        dialect = await self._find_dialect()
        request = pause_request(dialect, pipeline_external_id, is_paused=is_paused)

        async def read() -> ProviderPipeline:
            body = (await self._session.get(request.path)).body
            if not isinstance(body, dict):
                raise ProviderBadResponse(f"GET {request.path} was answered with something that is not a DAG.")
            return dialect.pipelines().parse(body)

        async def observe() -> Done:
            found = await read()
            return "yes" if found.is_paused == is_paused and not found.is_draining else "no"

        await self._set(request, observe)
        return await read()

    async def note_run(self, run: SingleRun, note: str) -> None:
        dialect = await self._find_dialect()

        async def observe() -> Done:
            found = await find_run(self._session.get, self._limits, dialect, *_names(run), run.position)
            return "yes" if found is not None and (found.note or "") == note else "no"

        await self._set(note_run_request(dialect, run, note), observe)

    async def note_task_run(self, task: TaskRunId, note: str) -> None:
        request = note_task_request(await self._find_dialect(), task, note)
        await self._set(request, self._observe_task(task, lambda found: (found.note or "") == note))

    async def list_approvals(self) -> list[PendingApproval]:
        return await approvals.list_approvals(self._session.get, await self._find_dialect())

    async def respond(self, response: ApprovalResponse, *, may_be_done: bool) -> None:
        dialect = await self._find_dialect()
        request = approvals.response_request(dialect, response, await self._numbers(dialect))

        async def observe() -> Done:
            body = (await self._session.get(request.path, request.params)).body
            return "yes" if approvals.has_response(body, response) else "no"

        if may_be_done and await self._is_done(observe):
            return
        await send_at_most_once(lambda: self._change(self._patch, request), observe, self._sleep)

    async def _set(self, request: ActionRequest, observe: Callable[[], Awaitable[Done]]) -> None:
        """Change a value to what it is to be; nothing is sent where it is that already."""
        if not await self._is_done(observe):
            await send_at_most_once(lambda: self._change(self._patch, request), observe, self._sleep)

    @staticmethod
    async def _is_done(observe: Callable[[], Awaitable[Done]]) -> bool:
        return await observe() == "yes"

    def _observe_task(
        self, task: TaskRunId, is_done: Callable[[ProviderTaskRun], bool]
    ) -> Callable[[], Awaitable[Done]]:
        run = SingleRun(task.pipeline_external_id, task.run_external_id)

        async def observe() -> Done:
            dialect = await self._find_dialect()
            found = [row for row in await self._read_tasks(run) if task_id_of(row) == task]
            if not found:
                path, names = task_path(dialect, task)  # where Airflow says in its words that it does not exist
                await self._session.get(_usable(ActionRequest(path, names, {})).path, region_params(task))
                raise _not_current()
            return "yes" if is_done(found[0]) else "no"

        return observe

    async def _change(self, send: Callable[[ActionRequest], Awaitable[ApiResponse]], request: ActionRequest) -> None:
        self.may_be_sent = True
        await send(request)

    async def _post(self, request: ActionRequest) -> ApiResponse:
        return await self._session.post_once(_usable(request).path, request.body)

    async def _patch(self, request: ActionRequest) -> ApiResponse:
        return await self._session.patch_once(_usable(request).path, request.body, request.params)

    async def _read_tasks(self, run: SingleRun) -> list[ProviderTaskRun]:
        dialect = await self._find_dialect()
        return [
            task
            async for page in read_task_runs(self._session.get, self._limits, dialect, run, None)
            for task in page.rows
        ]

    async def _numbers(self, dialect: Dialect) -> tuple[int, int]:
        """The version, (0, 0) where it makes no difference. Airflow refuses fields that it does not know."""
        if self._version is None and dialect.name == "v2":
            try:
                body = (await self._session.get_version(VERSION_PATHS[dialect.name])).body
            except ProviderFailed as failure:
                failure.request_sent = self.may_be_sent
                raise
            self._version = recognize(dialect.name, body)
        return self._version.numbers if self._version else (0, 0)


def _names(run: SingleRun) -> tuple[str, str]:
    return run.pipeline_external_id, run.run_external_id


def _usable(request: ActionRequest) -> ActionRequest:
    if not has_address(*request.names):
        sentence = f"Airflow's API has no address for {' / '.join(request.names)}."
        raise ProviderHTTPError(HTTPStatus.NOT_FOUND, sentence, is_transient=False, provider_message=sentence)
    return request


def _not_current() -> ProviderLacksObject:
    sentence = "Airflow does not have this task instance any more."
    return ProviderLacksObject(HTTPStatus.NOT_FOUND, sentence, is_transient=False, provider_message=sentence)
