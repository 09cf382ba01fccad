"""API schemas of task logs."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, Field

Level = Literal["debug", "info", "warning", "error", "critical"]
LEVELS: tuple[Level, ...] = ("debug", "info", "warning", "error", "critical")

MAX_TAIL = 5_000
"""Lines of one answer."""


class TaskLogLine(BaseModel):
    number: Annotated[int, Field(description="Its place in the log, from 1.")]
    timestamp: datetime | None
    level: Annotated[str | None, Field(description="In lower case; null where Airflow does not give it.")]
    logger: str | None
    event: Annotated[str, Field(description="The message, and behind it the traceback. Secrets are struck out.")]


class TaskLogPage(BaseModel):
    """The end of the log of one try, oldest line first."""

    try_number: int
    lines: list[TaskLogLine]
    cursor: Annotated[str, Field(description="Send it as `cursor` to get what was written after these lines.")]
    has_more_before: Annotated[
        bool, Field(description="There are earlier lines: more than `tail`, or than Windsock keeps of a log (256 KB).")
    ]
    is_finished: Annotated[bool, Field(description="The try has ended; no more lines follow.")]
    limit: Annotated[
        str | None,
        Field(
            description="Why its end is missing, or why there is no log, in Airflow's words; null: its end is there."
        ),
    ]
    as_of: Annotated[datetime, Field(description="When it was read from Airflow.")]


class TaskLogEnd(BaseModel):
    """The last event of a stream."""

    is_finished: Annotated[bool, Field(description="False: the stream ends, not the try; open it again.")]
    reason: Annotated[str | None, Field(description="Why it ended where the try has not.")]
