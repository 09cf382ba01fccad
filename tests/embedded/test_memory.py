"""How much memory the embedded PostgreSQL is given: of the machine, or of the container it is in."""

from pathlib import Path

import pytest

from embedded.servers import value
from windsock.embedded import EmbeddedPostgres, sizing
from windsock.embedded.sizing import memory_bytes, shared_buffers

MEGABYTE = 2**20


def test_memory_size_is_container_limit_capped_by_machine(tmp_path: Path) -> None:
    machine = memory_bytes(())
    assert machine > 64 * MEGABYTE
    limit = tmp_path / "memory.max"
    for text, expected in (("67108864\n", 64 * MEGABYTE), ("max\n", machine), (f"{2**63}\n", machine), ("", machine)):
        limit.write_text(text)
        assert memory_bytes((tmp_path / "nowhere", limit)) == expected


@pytest.mark.parametrize(("megabytes", "expected"), [(0, 128), (512, 128), (4096, 512), (65536, 1024)])
def test_shared_buffers_are_eighth_of_memory_within_bounds(
    megabytes: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sizing, "memory_bytes", lambda: megabytes * MEGABYTE)
    assert shared_buffers() == f"{expected}MB"


def test_embedded_postgres_uses_computed_shared_buffers(postgres: EmbeddedPostgres) -> None:
    postgres.start()
    assert (
        value(postgres, "SELECT pg_size_bytes(current_setting('shared_buffers'))")
        == int(shared_buffers().removesuffix("MB")) * MEGABYTE
    )
