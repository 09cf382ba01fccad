"""What clients see of connectors, and what they may send."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, Field

from windsock.inputs import Body, Flag, Name, Word


class Missing(BaseModel):
    pipelines: int
    runs: int
    task_runs: int


class Held(BaseModel):
    kind: Annotated[str, Field(description="mass_loss or other_airflow")]
    since: datetime
    reason: Annotated[str, Field(description="In words.")]
    missing: Missing | None
    examples: Annotated[list[str], Field(description="Some of the pipelines that are missing.")]


class HistoryRead(BaseModel):
    is_complete: bool
    read_back_to: Annotated[datetime | None, Field(description="Runs since then are here.")]
    goal: Annotated[datetime | None, Field(description="How far back it shall go.")]
    share: Annotated[float, Field(description="0 to 1: of the time to read, not of the rows.")]


class Freshness(BaseModel):
    """How far what this connector shows can be believed."""

    state: Annotated[str, Field(description="new, fresh, late, partial, failing, held or off")]
    since: datetime | None
    reason: Annotated[str | None, Field(description="Why, in words.")]
    as_of: Annotated[datetime | None, Field(description="When the last sync began that ended complete.")]
    next_sync_at: datetime
    mode: Annotated[
        str,
        Field(
            description="small: every sync reads all that changed; large: that takes this Airflow too long, so it is "
            "done every five minutes, and the changed runs of the last two days in between."
        ),
    ]
    poll_seconds: Annotated[float | None, Field(description="What the dearest question took it; decides the mode.")]
    sees_deletions_at_once: Annotated[
        bool, Field(description="Its event log may be read, which tells of notes, deletions and pauses.")
    ]
    history: Annotated[HistoryRead | None, Field(description="Null before the first sync.")]
    held: Annotated[Held | None, Field(description="What waits for a person to accept it.")]


class Connector(BaseModel):
    id: UUID
    space_id: UUID
    name: str
    connector_type: str
    config: dict[str, Any]
    is_active: bool
    source_system_id: UUID | None
    product_count: Annotated[int, Field(description="Pipelines of this connector that still exist.")]
    has_credentials: Annotated[bool, Field(description="Credentials can be written, never read.")]
    api_version: Annotated[str | None, Field(description="Which Airflow API answers; known after the first sync.")]
    provider_version: str | None
    last_sync: datetime | None
    last_sync_status: str | None
    freshness: Annotated[Freshness | None, Field(description="Null for what is not synced.")]
    created_at: datetime
    updated_at: datetime


class ConnectorIn(Body):
    name: Name
    connector_type: Word
    config: Annotated[
        dict[str, Any],
        Field(
            default_factory=dict,
            description="Of an Airflow connector an AirflowConfig; of other types it is kept as given.",
        ),
    ]
    credentials: Annotated[
        dict[str, Any] | None, Field(repr=False, description="Of an Airflow connector Credentials; never returned.")
    ] = None
    source_system_id: UUID | None = None


class ConnectorChange(Body):
    """Only what is sent changes; of `config` only the keys that are sent, null for a key's default."""

    name: Name | None = None
    config: Annotated[dict[str, Any] | None, Field(description="Keys of an AirflowConfig; null: the default.")] = None
    credentials: Annotated[
        dict[str, Any] | None, Field(repr=False, description="Of an Airflow connector Credentials; never returned.")
    ] = None
    is_active: Flag | None = None
    source_system_id: UUID | None = None


class ConnectorTest(BaseModel):
    success: bool
    message: Annotated[str, Field(description="What happened, in a sentence.")]
    latency_ms: float | None
    provider_version: str | None
    api_version: str | None
    hints: Annotated[list[str], Field(description="What to check or change, most likely first.")]
