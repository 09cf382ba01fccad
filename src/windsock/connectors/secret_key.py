"""The check at the start of a process that the credentials in the database can be decrypted with its keys."""

from dataclasses import dataclass
from uuid import UUID

from windsock import log
from windsock.connectors.encryption import Encryption
from windsock.connectors.store import QUERIES
from windsock.db.bootstrap import Storage
from windsock.db.database import Database
from windsock.errors import Conflict, WindsockError
from windsock.settings import Settings

MAX_NAMED = 5

logger = log.get(__name__)


@dataclass(frozen=True, slots=True)
class _Lost:
    space_id: UUID
    connector_id: UUID
    name: str


async def check_secret_key(settings: Settings, storage: Storage, *, accepts_new_key: bool) -> None:
    """Raise WindsockError if no key decrypts some credentials, as after a restore without the key file.

    With `accepts_new_key` they are given up instead: they stay as they are, and have to be entered again.
    """
    db = Database(storage.app_url, pool_size=2)
    await db.open()
    try:
        lost = await _find_lost(db, Encryption(storage.secret_keys))
        if not lost:
            return
        if not accepts_new_key:
            raise WindsockError(_sentence(settings, lost))
        for connector in lost:
            async with db.tenant_transaction(connector.space_id) as tx:
                await tx.execute(
                    QUERIES["clear_credentials"],
                    space_id=connector.space_id,
                    connector_id=connector.connector_id,
                )
        logger.warning("credentials were given up; enter them again", connectors=[entry.name for entry in lost])
    finally:
        await db.close()


async def _find_lost(db: Database, secrets: Encryption) -> list[_Lost]:
    async with db.transaction() as tx:
        spaces = await tx.fetch_all(QUERIES["list_space_ids"])
    lost = []
    for space in spaces:
        async with db.tenant_transaction(space["id"]) as tx:
            rows = await tx.fetch_all(QUERIES["list_credentials"], space_id=space["id"])
        for row in rows:
            try:
                secrets.decrypt(row["credentials"])
            except Conflict:
                lost.append(_Lost(space["id"], row["id"], row["name"]))
    return lost


def _sentence(settings: Settings, lost: list[_Lost]) -> str:
    names = ", ".join(connector.name for connector in lost[:MAX_NAMED]) + (", …" if len(lost) > MAX_NAMED else "")
    where = (
        f"Put the secret.key of then into {settings.data} (in place of the one there)"
        if settings.secret_keys is None
        else "Add the key of then to WINDSOCK_SECRET_KEYS"
    )
    return (
        f"The credentials of {len(lost)} connector{'' if len(lost) == 1 else 's'} ({names}) were encrypted with a key "
        f"that is not here; was the database restored without it? {where}, and start again. If the key is lost, start "
        "once with --new-key: Windsock then goes on, and these credentials have to be entered again."
    )
