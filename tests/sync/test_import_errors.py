"""Files that Airflow cannot import: in the mirror while they are broken, and not longer."""

from typing import Any

import pytest

from sync.harness import SyncHarness

pytestmark = pytest.mark.anyio


async def stored(harness: SyncHarness) -> dict[str, dict[str, Any]]:
    rows = await harness.rows("SELECT * FROM import_errors")
    return {row["filename"]: row for row in rows}


async def list_again(harness: SyncHarness) -> Any:
    await harness.force_full_check()
    return await harness.sync(trigger="schedule")


async def test_import_errors_are_mirrored_while_files_are_broken(harness: SyncHarness) -> None:
    harness.fake.api.broken_files = ["a.py", "sub/b.py"]
    await harness.sync()
    first = await stored(harness)
    assert first.keys() == {"a.py", "sub/b.py"}
    assert first["a.py"]["stack_trace"].endswith("RuntimeError: broken\n")
    assert first["a.py"]["bundle_name"] == ("dags-folder" if harness.model.api == "v2" else None)
    assert first["a.py"]["since"].year == 2026
    harness.fake.api.broken_files = ["sub/b.py", "c.py"]
    await list_again(harness)
    second = await stored(harness)
    assert second.keys() == {"sub/b.py", "c.py"}
    assert second["sub/b.py"]["id"] == first["sub/b.py"]["id"], "the same error is not written again"
    harness.fake.api.broken_files = []
    await list_again(harness)
    assert await stored(harness) == {}


async def test_changed_error_of_file_keeps_its_first_time(
    harness: SyncHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.fake.api.broken_files = ["a.py"]
    await harness.sync()
    before = (await stored(harness))["a.py"]
    later = {"filename": "a.py", "bundle_name": before["bundle_name"], "stack_trace": "KeyError: 7", "timestamp": "odd"}
    monkeypatch.setattr("fake_airflow.serializers.import_error", lambda *_: later)
    await list_again(harness)
    after = (await stored(harness))["a.py"]
    assert (after["stack_trace"], after["since"], after["id"]) == ("KeyError: 7", before["since"], before["id"])


async def test_refused_list_of_import_errors_deletes_none(harness: SyncHarness) -> None:
    harness.fake.api.broken_files = ["a.py"]
    await harness.sync()
    harness.fake.api.refuses_import_errors = True
    sync = await list_again(harness)
    assert sync["status"] == "complete", sync["error"]
    assert (await stored(harness)).keys() == {"a.py"}


@pytest.mark.parametrize("name", ["x" * 5_000, "größer/ä.py", "a\u0000b.py", "'; DROP TABLE import_errors; --"])
async def test_odd_file_names_are_stored(harness: SyncHarness, name: str) -> None:
    harness.fake.api.broken_files = [name, "plain.py"]
    assert (await harness.sync())["status"] == "complete"
    rows = await stored(harness)
    assert len(rows) == 2
    assert "plain.py" in rows
    assert all(len(filename) <= 1_000 for filename in rows)
