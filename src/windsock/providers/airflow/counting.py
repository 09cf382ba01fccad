"""How many rows a list has, without reading it."""

from typing import Any

from windsock.errors import ProviderBadResponse
from windsock.providers.airflow.scans import ApiRequest, Fetch


async def count(ask: Fetch, request: ApiRequest) -> int:
    return read_total((await ask(request.path, request.params)).body, request.path)


def read_total(body: Any, path: str) -> int:  # noqa: ANN401 - JSON may be anything
    total = body.get("total_entries") if isinstance(body, dict) else None
    if isinstance(total, bool) or not isinstance(total, int) or total < 0:
        raise ProviderBadResponse(f"The answer to GET {path} does not say how many there are.")
    return total
