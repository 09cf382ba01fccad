"""How many rows a list has, without reading it; how many files could not be imported."""

from typing import Any

from windsock.errors import ProviderBadResponse
from windsock.providers.airflow.scans import ApiRequest, Fetch

_PAGE, _MAX_PAGES = 100, 10


async def count_import_errors(ask: Fetch, path: str) -> int:
    """Files that failed to parse, in one request per 100 errors, at most ten.

    Airflow's total counts a file once for each of its DAGs, and an answer may repeat it; so do pages. Offsets are by
    what Airflow counts, not by the rows of an answer.
    """
    files: set[tuple[str, str]] = set()
    for page in range(_MAX_PAGES):
        place = {"limit": str(_PAGE), "offset": str(page * _PAGE)}
        body = (await ask(path, place)).body
        total = _total(body, path)
        rows = body.get("import_errors")
        if not isinstance(rows, list):
            raise ProviderBadResponse(f"The answer to GET {path} holds no list of import errors.")
        named = [row for row in rows if isinstance(row, dict) and row.get("filename")]
        files.update((str(row.get("bundle_name")), str(row["filename"])) for row in named)
        if (page + 1) * _PAGE >= total:
            break
    return len(files)


async def count(ask: Fetch, request: ApiRequest) -> int:
    return _total((await ask(request.path, request.params)).body, request.path)


def _total(body: Any, path: str) -> int:  # noqa: ANN401 - JSON may be anything
    total = body.get("total_entries") if isinstance(body, dict) else None
    if isinstance(total, bool) or not isinstance(total, int) or total < 0:
        raise ProviderBadResponse(f"The answer to GET {path} does not say how many there are.")
    return total
