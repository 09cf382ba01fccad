"""The check at the start of a process that the secrets in the database can be decrypted with its keys."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from windsock import log
from windsock.connectors.encryption import Encryption
from windsock.connectors.store import QUERIES as CONNECTORS
from windsock.db.bootstrap import Storage
from windsock.db.database import Database
from windsock.db.queries import Query
from windsock.errors import Conflict, WindsockError
from windsock.notifications.store import QUERIES as CHANNELS
from windsock.settings import Settings

MAX_NAMED = 5

LISTS: Mapping[str, Query] = {"connector": CONNECTORS["list_credentials"], "channel": CHANNELS["list_secrets"]}
"""Everything that is stored encrypted, by kind: the queries return id, name and credentials."""
GIVE_UP: Mapping[str, Query] = {"connector": CONNECTORS["clear_credentials"], "channel": CHANNELS["give_up_secret"]}

logger = log.get(__name__)


@dataclass(frozen=True, slots=True)
class _Lost:
    kind: str
    space_id: UUID
    id: UUID
    name: str


async def check_secret_key(settings: Settings, storage: Storage, *, accepts_new_key: bool) -> None:
    """Raise WindsockError if no key decrypts some secrets, as after a restore without the key file.

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
        for entry in lost:
            async with db.tenant_transaction(entry.space_id) as tx:
                await tx.execute(GIVE_UP[entry.kind], **{"space_id": entry.space_id, f"{entry.kind}_id": entry.id})
        names = {f"{kind}s": [entry.name for entry in lost if entry.kind == kind] for kind in LISTS}
        logger.warning("credentials were given up; enter them again", **names)
    finally:
        await db.close()


async def _find_lost(db: Database, secrets: Encryption) -> list[_Lost]:
    async with db.transaction() as tx:
        spaces = await tx.fetch_all(CONNECTORS["list_space_ids"])
    lost = []
    for space in spaces:
        async with db.tenant_transaction(space["id"]) as tx:
            for kind, query in LISTS.items():
                for row in await tx.fetch_all(query, space_id=space["id"]):
                    try:
                        secrets.decrypt(row["credentials"])
                    except Conflict:
                        lost.append(_Lost(kind, space["id"], row["id"], row["name"]))
    return lost


def _sentence(settings: Settings, lost: Sequence[_Lost]) -> str:
    counted = [_count(kind, [entry.name for entry in lost if entry.kind == kind]) for kind in LISTS]
    where = (
        f"Put the secret.key of then into {settings.data} (in place of the one there)"
        if settings.secret_keys is None
        else "Add the key of then to WINDSOCK_SECRET_KEYS"
    )
    return (
        f"The credentials of {' and '.join(filter(None, counted))} were encrypted with a key "
        f"that is not here; was the database restored without it? {where}, and start again. If the key is lost, start "
        "once with --new-key: Windsock then goes on, and these credentials have to be entered again."
    )


def _count(kind: str, names: Sequence[str]) -> str:
    """Empty for none."""
    shown = ", ".join(names[:MAX_NAMED]) + (", …" if len(names) > MAX_NAMED else "")
    return f"{len(names)} {kind}{'' if len(names) == 1 else 's'} ({shown})" if names else ""
