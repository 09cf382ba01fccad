"""The client for asyncio; method by method the same as the other."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from datetime import datetime
from typing import Any, Self, TypeVar
from uuid import UUID

import httpx2

from windsock.client import actions, incidents, lists, notifications, operations
from windsock.client.operations import FOLLOW_SECONDS, Call
from windsock.client.request_flow import DEFAULT_SECONDS, ClientConfig, PageResult, Pause
from windsock.comments.models import Comment
from windsock.failures.log_models import MAX_TAIL, Level, TaskLogPage
from windsock.failures.models import FingerprintDetail
from windsock.pipelines.filters import Criticality
from windsock.pipelines.models import PipelineDetail
from windsock.runs.models import Run, RunDetail, TaskRun
from windsock.saved_views.models import SavedView
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

    async def save_view(self, name: str, query: str = "", *, is_shared: bool = False) -> SavedView:
        """Save a query string of the pipeline list, such as `status=failed&sort=attention`, under a name."""
        return await self._send(operations.save_view(self._slug(), name, query, is_shared=is_shared))

    async def change_view(
        self, view_id: UUID, *, name: str | None = None, query: str | None = None, is_shared: bool | None = None
    ) -> SavedView:
        """Change what is given."""
        return await self._send(operations.change_view(self._slug(), view_id, name, query, is_shared=is_shared))

    async def delete_view(self, view_id: UUID) -> None:
        await self._send(operations.delete_view(self._slug(), view_id))

    async def fingerprint(self, fingerprint_id: UUID) -> FingerprintDetail:
        """Return a group of failures; of a merged one the group that it was merged into."""
        return await self._send(operations.fingerprint(self._slug(), fingerprint_id))

    async def name_fingerprint(self, fingerprint_id: UUID, name: str | None) -> FingerprintDetail:
        return await self._send(operations.name_fingerprint(self._slug(), fingerprint_id, name))

    async def set_runbook(self, fingerprint_id: UUID, comment_id: UUID | None) -> FingerprintDetail:
        return await self._send(operations.set_runbook(self._slug(), fingerprint_id, comment_id))

    async def merge_fingerprint(self, fingerprint_id: UUID, into: UUID) -> FingerprintDetail:
        return await self._send(operations.merge_fingerprint(self._slug(), fingerprint_id, into))

    async def split_fingerprint(
        self, fingerprint_id: UUID, *, task_failure_ids: Iterable[UUID] = (), run_ids: Iterable[UUID] = ()
    ) -> FingerprintDetail:
        """Return the group of the failures that were split off."""
        call = operations.split_fingerprint(self._slug(), fingerprint_id, task_failure_ids, run_ids)
        return await self._send(call)

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

    async def task_log(
        self,
        task_run_id: UUID,
        *,
        try_number: int | None = None,
        tail: int | None = None,
        level: Level | None = None,
        cursor: str | None = None,
    ) -> TaskLogPage:
        """The end of the log of a try, of the newest one by default; with a `cursor` what came since."""
        call = operations.task_log(self._slug(), task_run_id, try_number, tail, level, cursor)
        return await self._send(call)

    async def follow_task_log(
        self,
        task_run_id: UUID,
        *,
        try_number: int | None = None,
        tail: int | None = None,
        level: Level | None = None,
    ) -> AsyncIterator[TaskLogPage]:
        """The end of the log of a try, then what is added, until the try ends. Pages without lines are left out."""
        page = await self.task_log(task_run_id, try_number=try_number, tail=tail, level=level)
        yield page
        while not page.is_finished:
            await asyncio.sleep(FOLLOW_SECONDS)
            page = await self.task_log(
                task_run_id, try_number=page.try_number or None, tail=MAX_TAIL, level=level, cursor=page.cursor
            )
            if page.lines or page.is_finished:
                yield page

    clear_run = actions.async_sent(actions.clear_run)
    clear_task_run = actions.async_sent(actions.clear_task_run)
    clear_fingerprint = actions.async_sent(actions.clear_fingerprint)
    bulk_clear = actions.async_sent(actions.bulk_clear)
    mark_run = actions.async_sent(actions.mark_run)
    mark_task_run = actions.async_sent(actions.mark_task_run)
    set_paused = actions.async_sent(actions.set_paused)
    note_run = actions.async_sent(actions.note_run)
    note_task_run = actions.async_sent(actions.note_task_run)
    respond = actions.async_sent(actions.respond)

    incident = actions.async_sent(incidents.incident)
    acknowledge_incident = actions.async_sent(incidents.acknowledge_incident)
    acknowledge_incidents = actions.async_sent(incidents.acknowledge_incidents)
    snooze_incident = actions.async_sent(incidents.snooze_incident)
    assign_incident = actions.async_sent(incidents.assign_incident)
    resolve_incident = actions.async_sent(incidents.resolve_incident)

    test_channel = actions.async_sent(notifications.test_channel)
    preview_rule = actions.async_sent(notifications.preview_rule)
    resend_message = actions.async_sent(notifications.resend_message)
    recipients = actions.async_sent(notifications.recipients)

    channels = lists.async_paged(notifications.channels)
    notification_rules = lists.async_paged(notifications.notification_rules)
    messages = lists.async_paged(notifications.messages)
    incidents = lists.async_paged(incidents.incidents)
    approvals = lists.async_paged(actions.approvals)
    actions = lists.async_paged(actions.actions)
    pipelines = lists.async_paged(lists.pipelines)
    runs = lists.async_paged(lists.runs)
    runs_of = lists.async_paged(lists.runs_of)
    task_runs = lists.async_paged(lists.task_runs)
    comments_on_run = lists.async_paged(lists.comments_on_run)
    comments_on_task_run = lists.async_paged(lists.comments_on_task_run)
    views = lists.async_paged(lists.views)
    fingerprints = lists.async_paged(lists.fingerprints)
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
        page: Call[list[T]] | None = call
        while page is not None:
            result = await self._carry_out(page)
            for item in result.value:
                yield item
            page = result.next_page(call)

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
