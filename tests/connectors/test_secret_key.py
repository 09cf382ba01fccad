"""A database whose credentials no key decrypts is not served, until somebody says that they are lost."""

import signal
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr

from cli.cli_subprocess import Installation, installed
from databases import Databases
from factories import TwoTenants, create_two_tenants
from windsock.connectors.secret_key import check_secret_key
from windsock.db.bootstrap import Storage
from windsock.db.database import Database
from windsock.errors import WindsockError
from windsock.settings import Settings


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


@pytest.mark.anyio
async def test_secret_keys_setting_is_checked_against_every_space(make_database: Databases) -> None:
    url, key = make_database(f"keys_{uuid4().hex}"), Fernet.generate_key().decode()
    other = Fernet.generate_key().decode()
    db = Database(url, pool_size=2)
    await db.open()
    try:
        tenants: TwoTenants = await create_two_tenants(db, key)
    finally:
        await db.close()
    settings = Settings(secret_keys=SecretStr(other))
    await check_secret_key(settings, Storage(url, (other, key), None), accepts_new_key=False)
    with pytest.raises(WindsockError, match="WINDSOCK_SECRET_KEYS") as caught:
        await check_secret_key(settings, Storage(url, (other,), None), accepts_new_key=False)
    assert "credentials of 2 connectors" in str(caught.value), tenants
    await check_secret_key(settings, Storage(url, (other,), None), accepts_new_key=True)
    await check_secret_key(settings, Storage(url, (other,), None), accepts_new_key=False)
