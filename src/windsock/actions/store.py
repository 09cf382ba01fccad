"""Actions: claimed before they are sent, and their outcome."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal
from uuid import UUID

from psycopg.types.json import Jsonb

from windsock.auth.authenticator import Space
from windsock.db.database import Row, Statement, Transaction, map_constraint_errors
from windsock.db.queries import load
from windsock.errors import Conflict, IdempotencyConflict, NotFound, ProviderHTTPError
from windsock.http.pagination import PageParams
from windsock.providers.actions import ClearTarget
from windsock.providers.base import ProviderRun, ProviderTaskRun
from windsock.providers.scopes import SingleRun, TaskRunId
from windsock.runs.store import get_run_without_tasks
from windsock.spaces.store import expect_row
from windsock.sync.writer import MirrorWriter

QUERIES = load(__package__, "actions.sql")

LEASE = timedelta(seconds=70)
"""Longer than one process may take to send, shorter than others wait; past it that process counts as dead."""
MAX_TASK_RUNS = 5_000
"""Task runs that one clear may be about."""

Kind = Literal["trigger", "clear", "mark", "pause", "note", "answer"]
Outcome = Literal["done", "refused", "failed", "partial", "unknown"]
DOING = {"clear": "is clearing", "mark": "is marking"}


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAction:
    """An action as it is written down. Its target is the task run, else the run, else the pipeline."""

    kind: Kind
    pipeline_id: UUID
    run_id: UUID | None = None
    task_run_id: UUID | None = None
    key: str | None = None
    body_hash: bytes
    parameters: Mapping[str, Any] = field(default_factory=dict)
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """`acquired`: this process sends it now. `is_retry`: a previous attempt may have been carried out.

    `expected`: what a previous attempt wrote down before it sent its request.
    """

    action_id: UUID
    run_external_id: str
    acquired: bool
    is_done: bool
    is_retry: bool
    expected: list[Any] | None = None


async def find_pipeline(tx: Transaction, space: Space, pipeline_id: UUID) -> Row:
    row = await tx.fetch_one(QUERIES["get_pipeline_to_act_on"], space_id=space.id, pipeline_id=pipeline_id)
    if row is None:
        raise NotFound("pipeline")
    return row


async def find_run(tx: Transaction, space: Space, run_id: UUID) -> Row:
    """The run with its pipeline."""
    row = await tx.fetch_one(QUERIES["get_run_to_act_on"], space_id=space.id, run_id=run_id)
    if row is None:
        raise NotFound("run")
    return row


async def find_task_runs(tx: Transaction, space: Space, ids: Sequence[UUID]) -> list[Row]:
    """Raises NotFound unless all are of this space."""
    wanted = set(ids)
    rows = await tx.fetch_all(
        QUERIES["get_task_runs_to_act_on"], space_id=space.id, ids=list(wanted), limit=len(wanted)
    )
    if len(rows) < len(wanted):
        raise NotFound("task run")
    return rows


async def claim_action(tx: Transaction, space: Space, action: NewAction, *, has_waited: bool = False) -> Claim:
    """Write the action down, or find the one of the same key.

    Whoever has waited while another sent it gets that one's refusal; whoever comes later may try again. Raises Conflict
    while somebody else clears or marks the run.
    """
    values = {
        "space_id": space.id, "kind": action.kind, "pipeline_id": action.pipeline_id, "run_id": action.run_id,
        "task_run_id": action.task_run_id, "user_id": space.caller.id, "idempotency_key": action.key,
        "body_hash": action.body_hash, "parameters": Jsonb(action.parameters), "reason": action.reason, "lease": LEASE,
    }  # fmt: skip
    created = await tx.fetch_one(QUERIES["create_action"], **values)
    existing = None if created or action.key is None else await _lock(tx, space, action)
    if created is None and existing is None:
        await _end_dead_action(tx, space, action)
        created = await tx.fetch_one(QUERIES["create_action"], **values)
        if created is None:
            raise Conflict("Somebody else changes this run right now. Wait until that is done.")
    if created is not None:
        return Claim(created["id"], created["run_external_id"], acquired=True, is_done=False, is_retry=False)
    existing = expect_row(existing)
    if existing["body_hash"] != action.body_hash:
        raise IdempotencyConflict("This Idempotency-Key was used for this pipeline with another body. Use a new key.")
    is_done = existing["outcome"] == "done"
    is_mine = existing["is_free"] and not is_done
    if is_mine and has_waited and existing["status"] is not None:
        raise ProviderHTTPError(existing["status"], existing["detail"] or "", is_transient=False)
    if is_mine:
        busy = Conflict("Somebody else changes this run right now. Wait until that is done.")
        with map_constraint_errors({"actions_in_progress": busy}):
            await tx.execute(QUERIES["lease_action"], space_id=space.id, action_id=existing["id"], lease=LEASE)
    return Claim(
        existing["id"],
        existing["run_external_id"],
        acquired=is_mine,
        is_done=is_done,
        is_retry=True,
        expected=existing["expected"],
    )


async def _lock(tx: Transaction, space: Space, action: NewAction) -> Row | None:
    return await tx.fetch_one(
        QUERIES["lock_action"], space_id=space.id, pipeline_id=action.pipeline_id, idempotency_key=action.key
    )


async def _end_dead_action(tx: Transaction, space: Space, action: NewAction) -> None:
    """Raise Conflict while another action on the run is in progress; end one whose process has died."""
    busy = await tx.fetch_one(QUERIES["lock_action_in_progress"], space_id=space.id, run_id=action.run_id)
    if busy is None:
        return
    if not busy["is_free"]:
        raise Conflict(
            f"{busy['user_name'] or 'Somebody'} {DOING[busy['kind']]} this run right now. Wait until that is done."
        )
    await finish_action(tx, space, busy["id"], "unknown", detail="Windsock ended before Airflow answered.")


async def save_expected(tx: Transaction, space: Space, action_id: UUID, targets: Sequence[ClearTarget]) -> None:
    expected = Jsonb([[*_key(target.task), target.marker] for target in targets])
    await tx.execute(QUERIES["save_expected"], space_id=space.id, action_id=action_id, expected=expected)


def expected_targets(run: SingleRun, expected: Sequence[Sequence[Any]]) -> list[ClearTarget]:
    """As save_expected stored them."""
    names = (run.pipeline_external_id, run.run_external_id)
    return [ClearTarget(TaskRunId(*names, *key), marker) for *key, marker in expected]


async def finish_action(
    tx: Transaction,
    space: Space,
    action_id: UUID,
    outcome: Outcome,
    *,
    status: int | None = None,
    detail: str | None = None,
) -> None:
    await tx.execute(
        QUERIES["finish_action"],
        space_id=space.id,
        action_id=action_id,
        outcome=outcome,
        status=status,
        detail=detail,
    )


async def store_run(tx: Transaction, space: Space, pipeline: Row, claim: Claim, run: ProviderRun) -> None:
    """In the mirror at once. One that a sync has stored already is newer than the answer to the trigger."""
    if not await _find_created_run(tx, space, pipeline["pipeline_id"], claim):
        mirror = MirrorWriter(space.id, pipeline["connector_id"])
        await mirror.store_runs(tx, [run], {run.pipeline_external_id: pipeline["pipeline_id"]})
    await expedite_sync(tx, space, pipeline)


async def store_run_with_tasks(
    tx: Transaction, space: Space, target: Row, run: ProviderRun, tasks: Sequence[ProviderTaskRun]
) -> None:
    mirror = MirrorWriter(space.id, target["connector_id"])
    pipelines = {run.pipeline_external_id: target["pipeline_id"]}
    await mirror.store_runs(tx, [run], pipelines)
    await mirror.store_task_runs(tx, tasks, pipelines)
    await expedite_sync(tx, space, target)


async def expedite_sync(tx: Transaction, space: Space, target: Row) -> None:
    await tx.execute(QUERIES["expedite_sync"], space_id=space.id, connector_id=target["connector_id"])


async def get_created_run(tx: Transaction, space: Space, pipeline_id: UUID, claim: Claim) -> Row:
    """The run as a list of runs shows it."""
    found = await _find_created_run(tx, space, pipeline_id, claim)
    if found is None:
        raise NotFound("run")
    return without_metadata(await get_run_without_tasks(tx, space.id, found["id"]))


def without_metadata(row: Row) -> Row:
    """A run or task run as a list shows it."""
    return {name: value for name, value in row.items() if name != "provider_metadata"}


async def _find_created_run(tx: Transaction, space: Space, pipeline_id: UUID, claim: Claim) -> Row | None:
    return await tx.fetch_one(
        QUERIES["find_run"], space_id=space.id, pipeline_id=pipeline_id, run_external_id=claim.run_external_id
    )


async def find_task_run_ids(
    tx: Transaction, space: Space, run_id: UUID, tasks: Sequence[TaskRunId]
) -> dict[TaskRunId, UUID]:
    """The ids of those that are mirrored."""
    if not tasks:
        return {}
    rows = await tx.fetch_all(
        QUERIES["find_task_run_ids"],
        space_id=space.id,
        run_id=run_id,
        external_ids=sorted({task.external_id for task in tasks}),
        limit=100_000,
    )
    ids = {(row["external_id"], row["map_index"], row["region_id"], row["region_index"]): row["id"] for row in rows}
    return {task: ids[_key(task)] for task in tasks if _key(task) in ids}


def _key(task: TaskRunId) -> tuple[str, int, str, int]:
    return task.external_id, task.map_index, task.region_id, task.region_index


async def list_actions(space: Space, paging: PageParams, **which: object) -> tuple[list[Row], int]:
    matching = {"space_id": space.id, **which}
    page = {"limit": paging.size, "offset": paging.offset}
    rows, totals = await space.fetch_batch(
        Statement(QUERIES["list_actions"], matching | page), Statement(QUERIES["count_actions"], matching)
    )
    return rows, totals[0]["total"]
