"""What clients see of connectors, and what they may send."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, Field

from windsock.inputs import Body, Flag, Name, Word


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
