"""A message that is sent again by a person."""

from uuid import UUID

import pytest

from notifications.harness import Harness
from windsock.errors import Conflict
from windsock.notifications.store import resend_message

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(("kind", "is_refused"), [("pagerduty", True), ("alertmanager", True), ("webhook", False)])
async def test_copy_delays_no_resolution_and_raises_no_alert_of_a_resolved_group(
    harness: Harness, kind: str, is_refused: bool
) -> None:
    await harness.add_rule(await harness.add_channel(kind))
    incident = await harness.open_incident()
    await harness.run()
    (opened,) = await harness.messages()

    async def resend(message_id: UUID) -> None:
        async with harness.db.tenant_transaction(harness.space_id) as tx:
            await resend_message(tx, harness.space_id, message_id)

    await resend(opened["id"])
    await harness.resolve(incident)
    await harness.run()
    if is_refused:
        with pytest.raises(Conflict, match="is resolved"):
            await resend(opened["id"])
    else:
        await resend(opened["id"])
    (resolved,) = [row for row in await harness.messages() if row["event"] == "resolved"]
    await resend(resolved["id"])
