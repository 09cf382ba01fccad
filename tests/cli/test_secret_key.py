"""A database whose secrets no key decrypts is not served, until somebody says that they are lost."""

import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr

from cli.cli_subprocess import Installation, installed
from conftest import RolledBackDatabase
from databases import Databases
from factories import TwoTenants, create_two_tenants
from windsock.cli.secret_key import check_secret_key
from windsock.connectors.encryption import Encryption
from windsock.connectors.store import rotate_secrets
from windsock.db.bootstrap import Storage
from windsock.db.database import Database
from windsock.errors import Invalid, WindsockError
from windsock.http.pagination import PageParams
from windsock.notifications.models import ChannelIn, ChannelUpdate
from windsock.notifications.store import change_channel, create_channel, list_channels, rotate_channel_secrets
from windsock.settings import Settings

OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()
PAGERDUTY: dict[str, Any] = {"kind": "pagerduty", "secret": {"routing_key": "r" * 32}}


@pytest.fixture
def served(open_folder: Path) -> Iterator[Installation]:
    with installed(open_folder, Installation) as new_installation:
        new_installation.init()
        new_installation.serve("--no-worker")
        new_installation.connect("http://127.0.0.1:9")
        assert new_installation.stop(number=signal.SIGTERM) == 0
        yield new_installation


def test_restore_without_the_key_file_is_refused_until_a_new_key_is_accepted(served: Installation) -> None:
    key = served.data / "secret.key"
    old = key.read_bytes()
    key.unlink()
    for command in ("serve", "work"):
        refused = served.run(command, *(("--port", "0") if command == "serve" else ()))
        assert refused.returncode == 1, refused.stderr
        assert "credentials of 1 connector (prod) were encrypted with a key that is not here" in refused.stderr
        assert str(served.data) in refused.stderr
        assert "--new-key" in refused.stderr
    key.write_bytes(old)
    served.serve("--no-worker")  # the key of then mends it
    served.stop()
    key.unlink()
    served.serve("--no-worker", "--new-key")
    connector = served.request_json("GET", "/catalog/spaces/finance/connectors")[0]
    assert served.ask("POST", f"/catalog/spaces/finance/connectors/{connector['id']}/test").status_code == 409
    served.stop()
    served.serve("--no-worker")  # once is enough
    credentials = {"auth_type": "password", "username": "admin", "password": "other"}
    path = f"/catalog/spaces/finance/connectors/{connector['id']}"
    served.request_json("PATCH", path, json={"credentials": credentials})
    assert served.request_json("POST", f"{path}/test")["success"] is False
    assert served.facts("rotate-secrets") == {"rotated": 1}


@pytest.fixture
async def two_spaces(make_database: Databases) -> AsyncIterator[tuple[Database, str, TwoTenants]]:
    """A database, its URL and its spaces; each has a connector with credentials and a channel with a secret."""
    url = make_database(f"keys_{uuid4().hex}")
    db = Database(url, pool_size=2)
    await db.open()
    try:
        tenants = await create_two_tenants(db, OLD)
        for tenant in (tenants.finance, tenants.marketing):
            async with db.tenant_transaction(tenant.id) as tx:
                await create_channel(tx, tenant.id, ChannelIn(name="ops", **PAGERDUTY), Encryption([OLD]))
        yield db, url, tenants
    finally:
        await db.close()


@pytest.mark.anyio
async def test_secret_keys_setting_is_checked_against_every_space(two_spaces: tuple[Database, str, TwoTenants]) -> None:
    db, url, tenants = two_spaces
    settings = Settings(secret_keys=SecretStr(NEW))
    await check_secret_key(settings, Storage(url, (NEW, OLD), None), accepts_new_key=False)
    with pytest.raises(WindsockError, match="WINDSOCK_SECRET_KEYS") as caught:
        await check_secret_key(settings, Storage(url, (NEW,), None), accepts_new_key=False)
    assert "credentials of 2 connectors (prod, prod) and 2 channels (ops, ops) were encrypted" in str(caught.value)
    await check_secret_key(settings, Storage(url, (NEW,), None), accepts_new_key=True)
    await check_secret_key(settings, Storage(url, (NEW,), None), accepts_new_key=False)
    space_id, secrets = tenants.finance.id, Encryption([NEW])
    async with db.tenant_transaction(space_id) as tx:
        assert await rotate_channel_secrets(tx, space_id, secrets) == 0
        rows, _ = await list_channels(tx, space_id, PageParams(1, 10))
        (lost,) = (row for row in rows if row["name"] == "ops")
        assert (lost["has_secret"], lost["disabled_reason"][:15]) == (True, "No key decrypts")
        with pytest.raises(Invalid, match="Send the secret too"):
            await change_channel(tx, space_id, lost["id"], ChannelUpdate(is_active=True), secrets)
        again = ChannelUpdate(secret=PAGERDUTY["secret"])
        assert (await change_channel(tx, space_id, lost["id"], again, secrets))["disabled_at"] is None
        assert await rotate_channel_secrets(tx, space_id, secrets) == 1


@pytest.mark.anyio
async def test_secrets_of_channels_alone_are_checked_too(two_spaces: tuple[Database, str, TwoTenants]) -> None:
    db, url, tenants = two_spaces
    for tenant in (tenants.finance, tenants.marketing):
        async with db.tenant_transaction(tenant.id) as tx:
            await rotate_secrets(tx, tenant.id, Encryption([NEW, OLD]))
    with pytest.raises(WindsockError, match=r"credentials of 2 channels \(ops, ops\) were encrypted"):
        await check_secret_key(Settings(), Storage(url, (NEW,), None), accepts_new_key=False)
    for tenant in (tenants.finance, tenants.marketing):
        async with db.tenant_transaction(tenant.id) as tx:
            assert await rotate_channel_secrets(tx, tenant.id, Encryption([NEW, OLD])) == 1
    await check_secret_key(Settings(), Storage(url, (NEW,), None), accepts_new_key=False)


@pytest.mark.anyio
async def test_every_encrypted_column_is_checked(db: RolledBackDatabase) -> None:
    """A bytea column is a hash, a histogram, or encrypted; new ones have to be sorted in here."""
    columns = await db.connection.execute(
        "SELECT table_name || '.' || column_name AS name FROM information_schema.columns"
        " WHERE table_schema = 'windsock' AND data_type = 'bytea' AND table_name NOT LIKE 'procrastinate%'"
    )
    names = {row["name"] for row in await columns.fetchall()}
    plain = {name for name in names if "hash" in name or "histogram" in name}
    assert names - plain == {"connectors.credentials", "channels.secret"}
