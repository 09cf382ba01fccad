"""Clear, mark, pause and note: what each of them sends, and what it must not do."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from windsock.actions.models import ClearRunIn
from windsock.actions.notes import sign, sign_line
from windsock.actions.relay import Relay, Target
from windsock.actions.sending import check_reason
from windsock.actions.store import (
    MAX_TASK_RUNS,
    Claim,
    expected_targets,
    expedite_sync,
    find_task_run_ids,
    find_task_runs,
    save_expected,
    without_metadata,
)
from windsock.auth.authenticator import Space
from windsock.db.database import Row
from windsock.errors import Conflict, NotFound
from windsock.providers.actions import ClearRequest, ProviderActions
from windsock.providers.base import ProviderPipeline, ProviderTaskRun
from windsock.providers.scopes import NOT_MAPPED, TaskRunId
from windsock.runs.store import get_run_without_tasks
from windsock.sync.writer import MirrorWriter

RUNNING = frozenset({"scheduled", "queued", "running", "restarting", "deferred", "awaiting_input"})
"""States of task runs that a clear would interrupt, or that somebody has just cleared."""


@dataclass(frozen=True, slots=True)
class ClearOutcome:
    """`run` as it is now; `task_runs`: what was cleared, or would be, as it was before."""

    run: Row
    task_runs: list[Row]
    is_replayed: bool = False


@dataclass(frozen=True, slots=True)
class ActionService:
    relay: Relay

    async def clear(self, space: Space, run_id: UUID, body: ClearRunIn, key: str | None = None) -> ClearOutcome:
        """Clear task runs of a run. Raises Conflict where there is nothing to clear, or where task runs go on."""
        target = await self.relay.find_run(space, run_id)
        ids = body.task_run_ids or []
        request = ClearRequest(target.run, await _choose(space, target, ids), body.only_failed, body.include_downstream)
        before: dict[TaskRunId, str | None] = {}
        if body.dry_run:
            async with self.relay.open(target) as actions:
                planned = await actions.plan_clear(request)
                before.update(_statuses(actions, planned))
            return await _clear_outcome(space, target, before)
        check_reason(target.row, body.reason, "reason")

        async def clear(actions: ProviderActions, claim: Claim) -> None:
            if claim.expected is not None:
                targets = expected_targets(target.run, claim.expected)
                before.update(dict.fromkeys(each.task for each in targets))
                await actions.clear(request, targets, may_be_done=True)
                return
            planned = await actions.plan_clear(request)
            _check_plan(planned)
            targets = actions.targets_of(planned)
            before.update(_statuses(actions, planned))
            async with space.transaction() as tx:
                await save_expected(tx, space, claim.action_id, targets)
            await actions.clear(request, targets, may_be_done=False)

        parameters = body.model_dump(mode="json", exclude={"reason", "dry_run", "task_run_ids"})
        if len(ids) > 1:
            parameters["task_run_count"] = len(ids)
        chosen = Target(target.row, target.connector, ids[0] if len(ids) == 1 else None)
        action = chosen.new_action("clear", parameters, key, body.reason, unlogged={"task_run_ids": sorted(ids)})
        line = sign_line("Cleared failed tasks" if body.only_failed else "Cleared tasks", space.caller, body.reason)
        claim = await self.relay.carry_out(space, target, action, clear, line)
        if claim.is_done:
            before = dict.fromkeys(each.task for each in expected_targets(target.run, claim.expected or []))
        return await _clear_outcome(space, target, before, is_replayed=claim.is_retry)

    async def clear_task_run(
        self, space: Space, task_run_id: UUID, body: ClearRunIn, key: str | None = None
    ) -> ClearOutcome:
        target, _ = await self.relay.find_task_run(space, task_run_id)
        chosen = body.model_copy(update={"task_run_ids": [task_run_id]})
        return await self.clear(space, target.row["run_id"], chosen, key)

    async def mark_run(
        self, space: Space, run_id: UUID, status: str, reason: str | None, key: str | None = None
    ) -> bool:
        """Whether it is the answer to an earlier request of the same key."""
        target = await self.relay.find_run(space, run_id)
        check_reason(target.row, reason, "reason")
        action = target.new_action("mark", {"status": status}, key, reason)
        line = sign_line(f"Marked {status}", space.caller, reason)
        claim = await self.relay.carry_out(
            space, target, action, lambda actions, _: actions.mark_run(target.run, status), line
        )
        return claim.is_retry

    async def mark_task_run(
        self, space: Space, task_run_id: UUID, status: str, reason: str | None, key: str | None = None
    ) -> bool:
        target, task = await self.relay.find_task_run(space, task_run_id)
        check_reason(target.row, reason, "reason")
        action = target.new_action("mark", {"status": status}, key, reason)
        line = sign_line(f"Marked {task.external_id} {status}", space.caller, reason)
        claim = await self.relay.carry_out(
            space, target, action, lambda actions, _: actions.mark_task_run(task, status), line
        )
        return claim.is_retry

    async def set_paused(self, space: Space, pipeline_id: UUID, *, is_paused: bool, reason: str | None) -> None:
        target = await self.relay.find_pipeline(space, pipeline_id)
        check_reason(target.row, reason, "reason")
        action = target.new_action("pause", {"is_paused": is_paused}, None, reason)
        found: list[ProviderPipeline] = []

        async def pause(actions: ProviderActions, _: Claim) -> None:
            found.append(await actions.set_paused(target.row["pipeline_external_id"], is_paused=is_paused))

        await self.relay.carry_out(space, target, action, pause)
        async with space.transaction() as tx:
            await MirrorWriter(space.id, target.row["connector_id"]).store_pipelines(tx, found)
            await expedite_sync(tx, space, target.row)

    async def note_run(self, space: Space, run_id: UUID, note: str | None) -> None:
        target = await self.relay.find_run(space, run_id)
        action, text = target.new_action("note", {"note": note}, None, None), sign(note, space.caller)
        await self.relay.carry_out(space, target, action, lambda actions, _: actions.note_run(target.run, text))

    async def note_task_run(self, space: Space, task_run_id: UUID, note: str | None) -> None:
        target, task = await self.relay.find_task_run(space, task_run_id)
        action, text = target.new_action("note", {"note": note}, None, None), sign(note, space.caller)
        await self.relay.carry_out(space, target, action, lambda actions, _: actions.note_task_run(task, text))


async def _choose(space: Space, target: Target, ids: Sequence[UUID]) -> tuple[TaskRunId, ...]:
    """The identities of task runs in the provider. Raises NotFound for those of another run."""
    if not ids:
        return ()
    async with space.transaction() as tx:
        rows = await find_task_runs(tx, space, ids)
    if any(row["run_id"] != target.row["run_id"] for row in rows):
        raise NotFound("task run")
    return tuple(map(target.task_run_key, rows))


def _statuses(actions: ProviderActions, planned: Sequence[ProviderTaskRun]) -> dict[TaskRunId, str]:
    return {target.task: task.status for target, task in zip(actions.targets_of(planned), planned, strict=True)}


def _check_plan(planned: Sequence[ProviderTaskRun]) -> None:
    if not planned:
        raise Conflict("There is nothing to clear: no task run of this kind has ended. Somebody may have cleared it.")
    if going_on := sorted({task.external_id for task in planned if task.status in RUNNING}):
        names = ", ".join(going_on[:5]) + (" and others" if len(going_on) > 5 else "")  # noqa: PLR2004 - of a sentence
        raise Conflict(f"These tasks go on: {names}. Wait for their end, or mark them first; a clear would kill them.")
    if len(planned) > MAX_TASK_RUNS:
        raise Conflict(f"A clear is limited to {MAX_TASK_RUNS:,} task runs, and this would be {len(planned):,}.")


async def _clear_outcome(
    space: Space, target: Target, before: dict[TaskRunId, str | None], *, is_replayed: bool = False
) -> ClearOutcome:
    tasks = list(before)
    async with space.transaction() as tx:
        ids = await find_task_run_ids(tx, space, target.row["run_id"], tasks)
        run = await get_run_without_tasks(tx, space.id, target.row["run_id"])
    rows = [
        {
            "id": ids.get(task),
            "external_id": task.external_id,
            "map_index": None if task.map_index == NOT_MAPPED else task.map_index,
            "status": before[task],
        }
        for task in sorted(tasks, key=lambda task: (task.external_id, task.region_index, task.map_index))
    ]
    return ClearOutcome(without_metadata(run), rows, is_replayed)
