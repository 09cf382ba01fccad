"""Trigger a pipeline."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Body, Header, Request, Response
from pydantic import AfterValidator, StringConstraints

from windsock.actions.models import TriggerIn
from windsock.auth.permissions import CanTrigger
from windsock.http.openapi import RELAYS_PROVIDER_ERRORS
from windsock.http.responses import json_response
from windsock.http.validation import check_storable
from windsock.runs.models import Run

router = APIRouter(prefix="/spaces/{slug}/orchestration", tags=["pipelines"])

IdempotencyKey = Annotated[
    Annotated[str, StringConstraints(min_length=1, max_length=255), AfterValidator(check_storable)] | None,
    Header(
        alias="Idempotency-Key",
        description="1..255 characters. The same key with the same pipeline and body answers the first run again, "
        "also after a lost connection; with another body it is 409.",
    ),
]
CREATED: dict[int | str, dict[str, Any]] = {
    201: {
        "headers": {
            "Location": {"description": "Where to follow the run.", "schema": {"type": "string"}},
            "Idempotency-Replayed": {
                "description": "true: the run of an earlier request with the same Idempotency-Key.",
                "schema": {"type": "string", "enum": ["true"]},
            },
        }
    }
}


@router.post(
    "/pipelines/{pipeline_id}/trigger",
    response_model=Run,
    status_code=201,
    responses=CREATED,
    openapi_extra={RELAYS_PROVIDER_ERRORS: True},
    summary="Trigger a run",
)
async def trigger_pipeline(
    request: Request,
    space: CanTrigger,
    pipeline_id: UUID,
    body: Annotated[TriggerIn | None, Body()] = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Start a run in Airflow, at most once, and mirror it at once.

    Airflow's refusal is relayed with its own status and words, and the header X-Provider. The run of a paused DAG is
    created and stays queued until the DAG is unpaused.
    """
    row, is_replayed = await request.app.state.triggers.trigger(
        space, pipeline_id, body or TriggerIn(), idempotency_key
    )
    headers = {"Location": f"/api/v1.0/spaces/{space.slug}/orchestration/runs/{row['id']}"}
    if is_replayed:
        headers["Idempotency-Replayed"] = "true"
    return json_response(request, row, status=201, headers=headers)
