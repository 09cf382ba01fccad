"""API schemas of connectors."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, TypeAdapter, create_model
from pydantic_core import CoreSchema
from typing_extensions import TypeAliasType

from windsock.http.validation import Name, RequestBody, StateName, StrictBool
from windsock.providers.airflow import config
from windsock.providers.airflow.config import AirflowConfig

Credentials = TypeAliasType("Credentials", config.Credentials)


@dataclass(frozen=True, slots=True)
class DescribedAs:
    """In the OpenAPI document of another type, which is checked once it is known what kind of thing it belongs to."""

    kind: Any

    def __get_pydantic_json_schema__(self, _: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return handler(TypeAdapter(self.kind).core_schema)


def _change_of(model: type[BaseModel]) -> Any:  # noqa: ANN401 - a model
    """Each key of another model, which may be left out; null stands for the default, where there is one."""
    fields: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        schema = Field(description=field.description, json_schema_extra=field.json_schema_extra)
        parts: Any = (field.annotation, schema, *field.metadata)
        fields[name] = (Annotated[parts] if field.is_required() else Annotated[parts] | None, None)
    return create_model(f"{model.__name__}Change", __config__=ConfigDict(extra="forbid"), **fields)


AirflowConfigChange = _change_of(AirflowConfig)


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


class ClockDifference(BaseModel):
    """How Airflow's clocks and ours differ; reading allows for it."""

    ahead_of_ours_seconds: Annotated[
        float | None,
        Field(description="The clock of the host that answers, against ours; null where its answers have no Date."),
    ]
    stamps_behind_seconds: Annotated[
        float, Field(description="How far the clock by which rows are stamped is behind that of the host that answers.")
    ]
    sentence: Annotated[str | None, Field(description="What should be mended; null where it is only some seconds.")]


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
    is_per_dag: Annotated[
        bool,
        Field(
            description="The account may read single DAGs only: each is read by itself, two requests or more, at most "
            "about 100 in a sync; beyond that they take turns, and as_of is that of the oldest."
        ),
    ]
    poll_seconds: Annotated[
        float | None,
        Field(description="Median of what the query for changed task instances took; decides the mode with the size."),
    ]
    sees_deletions_at_once: Annotated[
        bool, Field(description="Its event log may be read, which tells of notes, deletions and pauses.")
    ]
    history: Annotated[HistoryRead | None, Field(description="Null before the first sync.")]
    clocks: Annotated[ClockDifference | None, Field(description="Null before the first sync.")]
    held: Annotated[Held | None, Field(description="What waits for a person to accept it.")]


class Connector(BaseModel):
    id: UUID
    space_id: UUID
    name: str
    connector_type: str
    config: Annotated[
        dict[str, Any],
        DescribedAs(AirflowConfig | dict[str, Any]),
        Field(description="Of an Airflow connector an AirflowConfig with every key."),
    ]
    is_active: bool
    source_system_id: UUID | None
    product_count: Annotated[int, Field(description="Pipelines of this connector that still exist.")]
    import_error_count: Annotated[int, Field(description="Files that Airflow cannot import at present.")]
    has_credentials: Annotated[bool, Field(description="Credentials can be written, never read.")]
    api_version: Annotated[str | None, Field(description="Which Airflow API answers; known after the first sync.")]
    provider_version: str | None
    last_sync: datetime | None
    last_sync_status: str | None
    freshness: Annotated[Freshness | None, Field(description="Null for what is not synced.")]
    created_at: datetime
    updated_at: datetime


class AirflowConnectorIn(RequestBody):
    """An Airflow, which is mirrored."""

    name: Name
    connector_type: Literal["airflow"]
    config: AirflowConfig
    credentials: Annotated[Credentials | None, Field(description="Never returned. null: nobody signs in.")] = None
    source_system_id: UUID | None = None


class OtherConnectorIn(RequestBody):
    """Another system, which is only recorded."""

    name: Name
    connector_type: Annotated[StateName, Field(json_schema_extra={"pattern": r"^(?!airflow$)[a-z0-9_]{1,64}$"})]
    config: Annotated[
        dict[str, Any],
        Field(
            default_factory=dict,
            description="It is kept as given. A value that looks like a secret is refused: send it in credentials.",
        ),
    ]
    credentials: Annotated[dict[str, Any] | None, Field(description="Never returned.")] = None
    source_system_id: UUID | None = None


class ConnectorIn(RequestBody):
    """In the document one of AirflowConnectorIn and OtherConnectorIn, by `connector_type`."""

    name: Name
    connector_type: StateName
    config: Annotated[dict[str, Any], Field(default_factory=dict)]
    credentials: Annotated[dict[str, Any] | None, Field(repr=False)] = None
    source_system_id: UUID | None = None

    @classmethod
    def __get_pydantic_json_schema__(cls, _: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        schema = handler(TypeAdapter(AirflowConnectorIn | OtherConnectorIn).core_schema)
        return {"oneOf": schema["anyOf"], "title": cls.__name__}


class ConnectorChange(RequestBody):
    """Only what is sent changes; of `config` only the keys that are sent, null for a key's default."""

    name: Name | None = None
    config: Annotated[
        dict[str, Any] | None,
        DescribedAs(AirflowConfigChange | dict[str, Any] | None),
        Field(
            description="Of an Airflow connector keys of an AirflowConfig; null: the default. Of another connector a "
            "value that looks like a secret is refused."
        ),
    ] = None
    credentials: Annotated[
        dict[str, Any] | None,
        DescribedAs(Credentials | dict[str, Any] | None),
        Field(repr=False, description="Of an Airflow connector Credentials; never returned."),
    ] = None
    is_active: StrictBool | None = None
    source_system_id: UUID | None = None


class ConnectorTest(BaseModel):
    success: bool
    message: Annotated[str, Field(description="What happened, in a sentence.")]
    latency_ms: float | None
    provider_version: str | None
    api_version: str | None
    hints: Annotated[list[str], Field(description="What to check or change, most likely first.")]
