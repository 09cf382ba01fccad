"""Stored connectors: validated configuration, encrypted credentials."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb
from pydantic import TypeAdapter, ValidationError

from windsock.connectors.encryption import Encryption
from windsock.connectors.models import ConnectorChange, ConnectorIn
from windsock.db.database import Reader, Row, Statement, Transaction, map_constraint_errors
from windsock.db.queries import load
from windsock.errors import BadRequest, Conflict, Invalid, NotFound
from windsock.http.pagination import PageParams
from windsock.providers.airflow.config import AirflowConfig, Credentials, NoCredentials
from windsock.spaces.store import expect_row

QUERIES = load(__package__, "connectors.sql")
AIRFLOW = "airflow"
RESYNC_ON_CHANGE = ("api_version", "history_days", "include_dags", "exclude_dags", "include_tags")
"""What is asked of the provider changes with these, so what was read before is not the whole any more."""

_credentials: TypeAdapter[Credentials] = TypeAdapter(Credentials)


@dataclass(frozen=True, slots=True)
class AirflowConnector:
    """A connector ready for use; its credentials are decrypted, so it must not be logged or kept."""

    id: UUID
    name: str
    is_active: bool
    config: AirflowConfig
    credentials: Credentials


async def get_connector(tx: Transaction, space_id: UUID, connector_id: UUID) -> Row:
    rows = await tx.fetch_json(QUERIES["get_connector"], space_id=space_id, connector_id=connector_id)
    if not rows:
        raise NotFound("connector")
    return rows[0]


async def list_connectors_of(reader: Reader, space_id: UUID, paging: PageParams) -> tuple[list[Row], int]:
    """A page of connectors, and how many there are in all."""
    parameters = {"space_id": space_id, "limit": paging.size, "offset": paging.offset}
    rows, totals = await reader.fetch_batch(
        Statement(QUERIES["list_connectors"], parameters), Statement(QUERIES["count_connectors"], parameters)
    )
    return rows, totals[0]["total"]


async def create_connector(
    tx: Transaction, space_id: UUID, body: ConnectorIn, secrets: Encryption, *, limit: int | None = None
) -> Row:
    """Raises Conflict where the space has `limit` connectors already."""
    if limit is not None:
        await tx.fetch_one(QUERIES["lock_space"], space_id=space_id)  # two at once must not both take the last place
        if expect_row(await tx.fetch_one(QUERIES["count_connectors"], space_id=space_id))["total"] >= limit:
            raise Conflict(
                f"The space has {limit} connectors, as many as it may have. Delete one that is not needed any more, or "
                "ask the operator of Windsock to raise WINDSOCK_MAX_CONNECTORS_PER_SPACE."
            )
    config = body.config
    if body.connector_type != AIRFLOW:
        await _refuse_secrets(tx, config)
    else:
        config = validate_config(body.config).model_dump(mode="json")
        validate_credentials(body.credentials)
    with map_constraint_errors(
        {"connectors_name_unique": Conflict(f"There is a connector named {body.name!r} already.", field="name")}
    ):
        row = await tx.fetch_one(
            QUERIES["create_connector"],
            space_id=space_id,
            name=body.name,
            connector_type=body.connector_type,
            config=Jsonb(config),
            credentials=None if body.credentials is None else secrets.encrypt(body.credentials),
            source_system_id=body.source_system_id,
        )
    if row is None:
        raise NotFound("connector")
    if body.connector_type == AIRFLOW:
        await tx.execute(QUERIES["create_sync_state"], space_id=space_id, connector_id=row["id"])
    return await get_connector(tx, space_id, row["id"])


async def change_connector(
    tx: Transaction, space_id: UUID, connector_id: UUID, body: ConnectorChange, secrets: Encryption
) -> Row:
    names = {"space_id": space_id, "connector_id": connector_id}
    old = await tx.fetch_one(QUERIES["lock_connector"], **names)
    if old is None:
        raise NotFound("connector")
    config = old["config"] | (body.config or {})
    config = {key: value for key, value in config.items() if value is not None}
    moved = False
    if old["connector_type"] != AIRFLOW:
        await _refuse_secrets(tx, body.config or {})
    else:
        config = validate_config(config).model_dump(mode="json")
        if body.credentials is not None:
            validate_credentials(body.credentials)
        moved = config["base_url"] != old["config"].get("base_url")
        if moved and body.credentials is None and old["credentials"] is not None:
            # Otherwise an editor could have the password sent to a server of their own.
            raise Invalid(
                "Send the credentials too when base_url changes: those kept are only for the old address.",
                loc=("body", "credentials"),
            )
    with map_constraint_errors(
        {"connectors_name_unique": Conflict(f"There is a connector named {body.name!r} already.", field="name")}
    ):
        await tx.execute(
            QUERIES["update_connector"],
            **names,
            name=body.name,
            config=Jsonb(config),
            credentials=None if body.credentials is None else secrets.encrypt(body.credentials),
            is_active=body.is_active,
            sets_source_system="source_system_id" in body.model_fields_set,
            source_system_id=body.source_system_id,
        )
    if moved or any(config.get(key) != old["config"].get(key) for key in RESYNC_ON_CHANGE):
        await tx.execute(QUERIES["end_unfinished_sync"], **names)
        await tx.execute(QUERIES["reset_sync_state"], **names)
    if old["connector_type"] == AIRFLOW:
        await tx.execute(QUERIES["expedite_sync"], **names)
    return await get_connector(tx, space_id, connector_id)


async def load_connector(tx: Transaction, space_id: UUID, connector_id: UUID, secrets: Encryption) -> AirflowConnector:
    """The connector with what is needed to call its Airflow; 400 when it is of another type."""
    row = await tx.fetch_one(QUERIES["get_connector_to_use"], space_id=space_id, connector_id=connector_id)
    if row is None:
        raise NotFound("connector")
    if row["connector_type"] != AIRFLOW:
        raise BadRequest("Only Airflow connectors are supported.")
    credentials: Credentials = NoCredentials(auth_type="none")
    if row["credentials"] is not None:
        credentials = _stored_credentials(secrets.decrypt(row["credentials"]))
    config = AirflowConfig.model_validate(row["config"])
    return AirflowConnector(row["id"], row["name"], row["is_active"], config, credentials)


async def rotate_secrets(tx: Transaction, space_id: UUID, secrets: Encryption) -> int:
    """Encrypt a space's credentials with the first key; says how many there were."""
    rows = await tx.fetch_all(QUERIES["lock_credentials"], space_id=space_id)
    for row in rows:
        await tx.execute(
            QUERIES["replace_credentials"],
            space_id=space_id,
            connector_id=row["id"],
            credentials=secrets.rotate(row["credentials"]),
        )
    return len(rows)


def _stored_credentials(credentials: dict[str, Any]) -> Credentials:
    """Raises Conflict for what an older version accepted and this one does not."""
    try:
        return _credentials.validate_python(credentials)
    except ValidationError as error:
        refusal = _first_of(error, "credentials")
    place = ".".join(map(str, refusal.loc[2:]))
    raise Conflict(f"The stored credentials of this connector are not accepted: {place}: {refusal}. Enter others.")


async def _refuse_secrets(tx: Transaction, config: dict[str, Any]) -> None:
    """Raises Invalid for a value that looks like a secret: every member of the space reads the config."""
    shown = expect_row(await tx.fetch_one(QUERIES["redact_config"], config=Jsonb(config)))["config"]
    place = _first_redacted(config, shown)
    if place is not None:
        raise Invalid(
            "This looks like a secret, and every member of the space can read the config. Send it in credentials, "
            "which are encrypted and never shown.",
            loc=("body", "config", *place),
            kind="secret_in_config",
        )


def _first_redacted(submitted: object, shown: object) -> tuple[str | int, ...] | None:
    if isinstance(submitted, dict) and isinstance(shown, dict):
        pairs = [(name, value, shown.get(name)) for name, value in submitted.items()]
    elif isinstance(submitted, list) and isinstance(shown, list):
        pairs = [(number, *values) for number, values in enumerate(zip(submitted, shown, strict=True))]
    else:
        return () if isinstance(shown, str) and shown != submitted else None
    for name, value, value_shown in pairs:
        place = _first_redacted(value, value_shown)
        if place is not None:
            return (name, *place)
    return None


def validate_config(config: dict[str, Any]) -> AirflowConfig:
    """Raises Invalid, which says where."""
    try:
        return AirflowConfig.model_validate(config)
    except ValidationError as error:
        raise _first_of(error, "config") from None


def validate_credentials(credentials: dict[str, Any] | None) -> Credentials:
    """Validate credentials like `validate_config`; None means no authentication."""
    if credentials is None:
        return NoCredentials(auth_type="none")
    try:
        return _credentials.validate_python(credentials)
    except ValidationError as error:
        raise _first_of(error, "credentials") from None  # the cause would show the password


def _first_of(error: ValidationError, place: str) -> Invalid:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    if first["type"] == "union_tag_invalid":  # pydantic's own words repeat what was sent
        first["msg"] = "auth_type must be one of password, api_token, none, astronomer, composer, mwaa"
    return Invalid(first["msg"], loc=("body", place, *first["loc"]), kind=first["type"])
