"""Tasks of Airflow 3 that wait for the input of a person (human in the loop): the list of them, and an response."""

from http import HTTPStatus

from windsock.errors import ProviderBadResponse, ProviderHTTPError
from windsock.providers.actions import MAX_APPROVALS, ApprovalResponse, PendingApproval
from windsock.providers.airflow.action_bodies import CLEARS_BY_EXECUTION, ActionRequest, task_id_of, task_path
from windsock.providers.airflow.dialect import Dialect
from windsock.providers.airflow.fields import Fields
from windsock.providers.airflow.parsing import format_datetime, mapping, parse_datetime, str_list
from windsock.providers.airflow.scans import Fetch
from windsock.providers.base import Json
from windsock.providers.scopes import NO_REGION

PAGE = 100
WAITING = frozenset({"deferred", "awaiting_input", "running", "queued", "scheduled"})
"""States of a task whose question still stands; a task that was marked or cleared leaves it unanswered."""


async def list_approvals(fetch: Fetch, dialect: Dialect) -> list[PendingApproval]:
    """None on Airflow 2, and on 3.0, which has no such tasks."""
    if dialect.name == "v1":
        return []
    path = f"{dialect.root}/dags/~/dagRuns/~/hitlDetails"
    found: list[PendingApproval] = []
    for offset in range(0, MAX_APPROVALS, PAGE):
        params = {"response_received": "false", "order_by": "created_at", "limit": str(PAGE), "offset": str(offset)}
        body = (await fetch(path, params)).body
        rows = body.get("hitl_details") if isinstance(body, dict) else None
        if not isinstance(rows, list):
            raise ProviderBadResponse(f"The answer to GET {path} has no list of questions.")
        found += [_parse(row, dialect) for row in rows if isinstance(row, dict) and _is_waiting(row)]
        if len(rows) < PAGE:
            break
    return found


def _is_waiting(row: Json) -> bool:
    return not row.get("response_received") and mapping(row.get("task_instance")).get("state") in WAITING


def _parse(row: Json, dialect: Dialect) -> PendingApproval:
    fields = Fields.of(row)
    requested_at = parse_datetime(row, "created_at")
    if requested_at is None:
        raise ProviderBadResponse("Airflow gave a question without its created_at.")
    users = row.get("assigned_users")
    return PendingApproval(
        task=task_id_of(dialect.parse_task_run(mapping(row.get("task_instance")))),
        subject=fields.text("subject") or "",
        body=fields.text("body"),
        options=str_list(row.get("options")),
        defaults=str_list(row.get("defaults")),
        is_multiple=fields.flag("multiple"),
        params=mapping(row.get("params")),
        assigned_users=[
            str(user.get("name") or user.get("id")) for user in (users if isinstance(users, list) else []) if user
        ],
        requested_at=requested_at,
    )


def response_request(dialect: Dialect, response: ApprovalResponse, numbers: tuple[int, int]) -> ActionRequest:
    """Since 3.4 Airflow refuses an answer to an earlier question."""
    task = response.task
    if dialect.name == "v1":
        raise ProviderHTTPError(
            HTTPStatus.NOT_FOUND, "Airflow 2 has no tasks that wait for input.", is_transient=False,
            provider_message="Airflow 2 has no tasks that wait for input",
        )  # fmt: skip
    path, names = task_path(dialect, task)
    body: Json = {"chosen_options": list(response.chosen_options), "params_input": response.params}
    if response.requested_at is not None and numbers >= CLEARS_BY_EXECUTION:
        body["request_created_at"] = format_datetime(response.requested_at)
    region = (
        {} if task.region_id == NO_REGION else {"region_id": task.region_id, "region_index": str(task.region_index)}
    )
    path = path if task.map_index >= 0 else f"{path}/{task.map_index}"
    return ActionRequest(f"{path}/hitlDetails", names, body, region)


def has_response(body: object, response: ApprovalResponse) -> bool:
    """Whether it has this response."""
    found = mapping(body)
    return bool(found.get("response_received")) and str_list(found.get("chosen_options")) == list(
        response.chosen_options
    )
