"""One trigger, as an editor of the world asks for it."""

from typing import Any

import httpx2

from checking import CheckedClient
from world import World

SPACE = "/spaces/finance/orchestration"


async def trigger(client: CheckedClient, world: World, body: Any = None, **more: Any) -> httpx2.Response:
    path = f"{SPACE}/pipelines/{world.finance.pipelines['daily_report']}/trigger"
    headers = {"Idempotency-Key": more["key"]} if "key" in more else {}
    sent = {} if body is None else {"json": body}
    return await client.as_(world.keys[more.get("kind", "editor")], "POST", path, headers=headers, **sent)
