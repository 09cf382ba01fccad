"""Task runs that wait for the input of a person: the list of them, read from Airflow, and an answer."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from windsock.actions.models import ApprovalResponseIn
from windsock.actions.notes import sign_line
from windsock.actions.relay import Relay, Target
from windsock.actions.sending import check_reason
from windsock.actions.store import QUERIES
from windsock.auth.authenticator import Space
from windsock.connectors.store import load_connector
from windsock.db.database import Row
from windsock.providers.actions import ApprovalResponse, PendingApproval
from windsock.providers.scopes import NOT_MAPPED

MAX_CONNECTORS = 20


@dataclass(frozen=True, slots=True)
class ApprovalService:
    relay: Relay

    async def list_approvals(self, space: Space) -> list[Row]:
        """The oldest question first, of mirrored task runs.

        Only those Airflows are asked of which a mirrored task run may wait, so that others cost no request. Raises
        ProviderFailed where one does not answer.
        """
        async with space.transaction() as tx:
            rows = await tx.fetch_all(
                QUERIES["find_connectors_with_waiting_task_runs"], space_id=space.id, limit=MAX_CONNECTORS
            )
            targets = [
                Target(row, await load_connector(tx, space.id, row["connector_id"], self.relay.secrets)) for row in rows
            ]
        results = await asyncio.gather(*(self._list_of(target) for target in targets), return_exceptions=True)
        found: list[tuple[UUID, PendingApproval]] = []
        for target, result in zip(targets, results, strict=True):
            if isinstance(result, BaseException):
                raise result
            found += [(target.row["connector_id"], approval) for approval in result]
        return await _join_task_runs(space, found)

    async def _list_of(self, target: Target) -> list[PendingApproval]:
        async with self.relay.open(target) as actions:
            return await actions.list_approvals()

    async def respond(self, space: Space, task_run_id: UUID, body: ApprovalResponseIn, key: str | None = None) -> bool:
        """Whether it is the answer to an earlier request of the same key."""
        target, task = await self.relay.find_task_run(space, task_run_id)
        check_reason(target.row, body.reason, "reason")
        response = ApprovalResponse(task, tuple(body.chosen_options), body.params, body.requested_at)
        parameters = body.model_dump(mode="json", exclude={"reason", "params"}, exclude_none=True)
        action = target.new_action("answer", parameters, key, body.reason, unlogged=body.params)
        chosen = ", ".join(body.chosen_options)[:200]
        line = sign_line(f"Answered {task.external_id} with {chosen}", space.caller, body.reason)
        claim = await self.relay.carry_out(
            space, target, action, lambda actions, claim: actions.respond(response, may_be_done=claim.is_retry), line
        )
        return claim.is_retry


async def _join_task_runs(space: Space, found: Sequence[tuple[UUID, PendingApproval]]) -> list[Row]:
    if not found:
        return []
    keys = [
        {
            "place": place, "connector_id": str(connector_id), "dag_id": approval.task.pipeline_external_id,
            "run_external_id": approval.task.run_external_id, "external_id": approval.task.external_id,
            "map_index": approval.task.map_index, "region_id": approval.task.region_id,
            "region_index": approval.task.region_index,
        }
        for place, (connector_id, approval) in enumerate(found)
    ]  # fmt: skip
    async with space.transaction() as tx:
        rows = await tx.fetch_all(QUERIES["find_waiting_task_runs"], space_id=space.id, keys=Jsonb(keys))
    shown = [_row(row, found[row["place"]][1]) for row in rows]
    return sorted(shown, key=lambda row: (row["requested_at"], row["task_run_id"]))


def _row(row: Row, approval: PendingApproval) -> dict[str, Any]:
    return {
        **{name: row[name] for name in ("task_run_id", "run_id", "pipeline_id", "pipeline")},
        "external_id": approval.task.external_id,
        "map_index": None if approval.task.map_index == NOT_MAPPED else approval.task.map_index,
        "subject": approval.subject,
        "body": approval.body,
        "options": approval.options,
        "defaults": approval.defaults,
        "is_multiple": approval.is_multiple,
        "params": approval.params,
        "assigned_users": approval.assigned_users,
        "requested_at": approval.requested_at,
    }
