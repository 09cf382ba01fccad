"""A sync of a connector at an address that the egress policy forbids."""

import pytest

from sync.harness import SyncHarness
from windsock.sync.runner import SyncRunner

pytestmark = pytest.mark.anyio
SET_ADDRESS = "UPDATE connectors SET config = config || jsonb_build_object('base_url', %(url)s::text)"


@pytest.mark.parametrize(
    "url", ["http://169.254.169.254", "http://2852039166", "http://[::ffff:a9fe:a9fe]", "http://0xa9.254.43518"]
)
async def test_sync_at_forbidden_address_fails_with_policy_and_deletes_nothing(harness: SyncHarness, url: str) -> None:
    await harness.settle()
    before = await harness.row_versions()
    await harness.execute(SET_ADDRESS, {"url": url})
    process = harness.process
    harness.execution = SyncRunner(process.db, process.secrets, process.open_provider, "worker")
    sync = await harness.sync(trigger="schedule")
    assert sync["status"] == "failed"
    assert "the egress policy of this Windsock does not allow connections to 169.254.0.0/16" in sync["error"]
    assert await harness.row_versions() == before
