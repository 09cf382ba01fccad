"""A folder for one test, and a server in it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from embedded.servers import QUICK, folder
from windsock.embedded import EmbeddedPostgres


@pytest.fixture
def data_dir() -> Iterator[Path]:
    with folder() as path:
        yield path / "data"


@pytest.fixture
def postgres(data_dir: Path) -> Iterator[EmbeddedPostgres]:
    postgres = EmbeddedPostgres(data_dir, settings=QUICK)
    yield postgres
    postgres.stop()
