"""One trigger, as an editor of the world asks for it."""

from typing import Any

import httpx2

from factories import TwoTenants
from validating_client import ValidatingClient

SPACE = "/spaces/finance/orchestration"


async def trigger(client: ValidatingClient, tenants: TwoTenants, body: Any = None, **more: Any) -> httpx2.Response:
    path = f"{SPACE}/pipelines/{tenants.finance.pipelines['daily_report']}/trigger"
    headers = {"Idempotency-Key": more["key"]} if "key" in more else {}
    sent = {} if body is None else {"json": body}
    return await client.as_(tenants.keys[more.get("kind", "editor")], "POST", path, headers=headers, **sent)
