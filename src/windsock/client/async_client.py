"""The client for asyncio; method by method the same as the other."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Any, Self, TypeVar
from uuid import UUID

import httpx2

from windsock.client import lists, operations
from windsock.client.operations import Call
from windsock.client.request_flow import DEFAULT_SECONDS, ClientConfig, PageResult, Pause
from windsock.comments.models import Comment
from windsock.pipelines.filters import Criticality
from windsock.pipelines.models import PipelineDetail
from windsock.runs.models import Run, RunDetail, TaskRun
from windsock.spaces.models import Me
from windsock.sync.models import SyncRun

T = TypeVar("T")


class AsyncClient:
    """Windsock's API in one space. Close it, or use it in a `async with` block.

    What is not given is read from WINDSOCK_URL, WINDSOCK_API_KEY and WINDSOCK_SPACE; `timeout` is in seconds. Lists are
    read page by page, as they are used up. Every method raises ClientError (windsock.client.errors).
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        space: str | None = None,
        timeout: float = DEFAULT_SECONDS,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self._target = ClientConfig.create(url, api_key, space, timeout)
        self._http = httpx2.AsyncClient(transport=transport, follow_redirects=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        await self._http.aclose()

    async def me(self) -> Me:
        """Return the user of the key and its spaces."""
        return await self._send(operations.me())

    async def pipeline(self, pipeline_id: UUID, *, days: int | None = None) -> PipelineDetail:
        return await self._send(operations.pipeline(self._slug(), pipeline_id, days))

    async def set_team(self, pipeline_id: UUID, team_id: UUID | None) -> PipelineDetail:
        return await self._send(operations.set_team(self._slug(), pipeline_id, team_id))

    async def set_criticality(self, pipeline_id: UUID, criticality: Criticality) -> PipelineDetail:
        return await self._send(operations.set_criticality(self._slug(), pipeline_id, criticality))

    async def watch(self, pipeline_id: UUID) -> None:
        await self._send(operations.watch(self._slug(), pipeline_id, is_watched=True))

    async def unwatch(self, pipeline_id: UUID) -> None:
        await self._send(operations.watch(self._slug(), pipeline_id, is_watched=False))

    async def run(self, run_id: UUID) -> RunDetail:
        return await self._send(operations.run(self._slug(), run_id))

    async def task_run(self, task_run_id: UUID) -> TaskRun:
        return await self._send(operations.task_run(self._slug(), task_run_id))

    async def comment_on_run(self, run_id: UUID, content: str, *, parent_id: UUID | None = None) -> Comment:
        return await self._send(operations.comment(self._slug(), "runs", run_id, content, parent_id))

    async def comment_on_task_run(self, task_run_id: UUID, content: str, *, parent_id: UUID | None = None) -> Comment:
        return await self._send(operations.comment(self._slug(), "task-runs", task_run_id, content, parent_id))

    async def edit_comment(self, comment_id: UUID, content: str) -> Comment:
        return await self._send(operations.edit_comment(self._slug(), comment_id, content))

    async def delete_comment(self, comment_id: UUID) -> None:
        await self._send(operations.delete_comment(self._slug(), comment_id))

    async def sync(self, connector_id: UUID, *, is_full: bool = False) -> SyncRun:
        """Ask for a sync; while one is unfinished, that one is answered."""
        return await self._send(operations.sync(self._slug(), connector_id, is_full=is_full))

    async def sync_run(self, sync_id: UUID) -> SyncRun:
        return await self._send(operations.sync_run(self._slug(), sync_id))

    async def cancel_sync(self, sync_id: UUID) -> SyncRun:
        """End a queued sync at once, a running one within seconds; Conflict when it has ended already."""
        return await self._send(operations.cancel_sync(self._slug(), sync_id))

    async def trigger(
        self,
        pipeline_id: UUID,
        *,
        conf: Mapping[str, Any] | None = None,
        logical_date: datetime | None = None,
        note: str | None = None,
        idempotency_key: str | None = None,
    ) -> Run:
        """Start a run, once: whatever becomes of the connection. Without a key it makes one for this call."""
        call = operations.trigger(self._slug(), pipeline_id, conf, logical_date, note, idempotency_key)
        return await self._send(call)

    pipelines = lists.async_paged(lists.pipelines)
    runs = lists.async_paged(lists.runs)
    runs_of = lists.async_paged(lists.runs_of)
    task_runs = lists.async_paged(lists.task_runs)
    comments_on_run = lists.async_paged(lists.comments_on_run)
    comments_on_task_run = lists.async_paged(lists.comments_on_task_run)
    connectors = lists.async_paged(lists.connectors)
    syncs = lists.async_paged(lists.syncs)
    teams = lists.async_paged(lists.teams)
    audit_events = lists.async_paged(lists.audit_events)

    def _slug(self) -> str:
        return self._target.slug()

    async def _send(self, call: Call[T]) -> T:
        value: T = (await self._carry_out(call)).value
        return value

    async def _pages(self, call: Call[list[T]]) -> AsyncIterator[T]:
        number = pages = 1
        while number <= pages:
            result = await self._carry_out(call.page(number))
            for item in result.value:
                yield item
            number, pages = number + 1, result.pages

    async def _carry_out(self, call: Call[Any]) -> PageResult:
        exchange = self._target.exchange(call)
        outcome: httpx2.Response | Exception | None = None
        while True:
            try:
                step = exchange.send(outcome)
            except StopIteration as done:
                result: PageResult = done.value
                return result
            outcome = None
            if isinstance(step, Pause):
                await asyncio.sleep(step.seconds)
                continue
            try:
                outcome = await self._http.request(**step.arguments)
            except (httpx2.TransportError, httpx2.InvalidURL) as error:
                outcome = error
