"""Logs of task runs: their end, and what is added to it while a try is running."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import StreamingResponse

from windsock.auth.permissions import CanView
from windsock.failures.log_models import MAX_TAIL, Level, TaskLogEnd, TaskLogPage
from windsock.failures.log_reader import LogReader
from windsock.failures.log_stream import LogStreams
from windsock.http.middleware import SCOPE_METHOD
from windsock.http.openapi import RELAYS_PROVIDER_ERRORS
from windsock.http.responses import json_response

router = APIRouter(prefix="/spaces/{slug}/orchestration", tags=["runs"])

CURSOR_PATTERN = r"^[0-9]{1,12}$"
TryNumber = Annotated[
    int | None, Query(ge=1, le=1_000_000, description="Which try, from 1. By default the newest one.")
]
Tail = Annotated[int, Query(ge=1, le=MAX_TAIL, description="At most so many lines, the newest ones.")]
MinLevel = Annotated[
    Level | None, Query(description="Lines of this level or above. Lines without a level are left out then.")
]
Cursor = Annotated[
    str | None, Query(pattern=CURSOR_PATTERN, description="Of an earlier answer: only lines behind those.")
]
LastEventId = Annotated[
    str | None,
    Header(
        alias="Last-Event-ID", pattern=CURSOR_PATTERN, description="As cursor; browsers send it when they reconnect."
    ),
]
STREAM_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
EVENTS = {"description": "`data` of an event is the JSON of a TaskLogPage or TaskLogEnd."}
"""JSON Schema has no words for a stream of events."""
STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Server-sent events: `lines` with a TaskLogPage each, at last `end` with a TaskLogEnd.",
        "content": {"text/event-stream": {"schema": EVENTS}},
    }
}


@router.get(
    "/task-runs/{task_run_id}/logs",
    response_model=TaskLogPage,
    openapi_extra={RELAYS_PROVIDER_ERRORS: True},
    name="get_task_log",
    summary="The end of the log of a task run",
)
async def get_log(
    request: Request,
    space: CanView,
    task_run_id: UUID,
    try_number: TryNumber = None,
    tail: Tail = 500,
    level: MinLevel = None,
    cursor: Cursor = None,
) -> Response:
    """The log is read from Airflow, at most 8 MB within 20 s, and shortened to its last 256 KB.

    `limit` says where the end of the log is not among the lines, and why. 409 where the connector's `read_logs` is off.
    Airflow's refusal is relayed with its own status and words, and the header X-Provider.
    """
    reader: LogReader = request.app.state.logs
    snapshot = await reader.read(space, task_run_id, try_number)
    return json_response(request, snapshot.page(tail=tail, level=level, after=int(cursor or 0)))


@router.get(
    "/task-runs/{task_run_id}/logs/stream",
    response_class=StreamingResponse,
    response_model=TaskLogEnd,
    responses=STREAM,
    openapi_extra={RELAYS_PROVIDER_ERRORS: True},
    name="get_task_log_stream",
    summary="Follow the log of a running try",
)
async def stream_log(
    request: Request,
    space: CanView,
    task_run_id: UUID,
    try_number: TryNumber = None,
    tail: Tail = 500,
    level: MinLevel = None,
    cursor: Cursor = None,
    last_event_id: LastEventId = None,
) -> Response:
    """Server-sent events: `lines` each time there are new ones, looked for every two seconds, and `end`.

    It ends with the try, and after ten minutes. However many follow a log, Airflow is asked once.
    """
    reader: LogReader = request.app.state.logs
    streams: LogStreams = request.app.state.log_streams
    streams.check_capacity()
    first = await reader.read(space, task_run_id, try_number)
    after = int(last_event_id or cursor or 0)
    if request.scope.get(SCOPE_METHOD) == "HEAD":
        return Response(headers=STREAM_HEADERS, media_type="text/event-stream")
    events = streams.follow(space, task_run_id, first, tail=tail, level=level, after=after)
    return StreamingResponse(events, media_type="text/event-stream", headers=STREAM_HEADERS)
