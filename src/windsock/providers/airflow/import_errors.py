"""Lists the files that Airflow could not import."""

from typing import Any

from windsock.errors import ProviderBadResponse
from windsock.providers.airflow.counting import read_total
from windsock.providers.airflow.parsing import parse_datetime
from windsock.providers.airflow.scans import Fetch
from windsock.providers.base import ProviderImportError

_PAGE, _MAX_PAGES = 100, 10
_LONGEST_NAME, _LONGEST_TRACE = 1_000, 16_000


async def list_import_errors(ask: Fetch, path: str) -> list[ProviderImportError]:
    """Files that failed to parse, by bundle and name, in one request per 100 errors, at most ten.

    Airflow's total counts a file once for each of its DAGs, and an answer may repeat it; so do pages. Offsets are by
    what Airflow counts, not by the rows of an answer.
    """
    found: dict[tuple[str, str], ProviderImportError] = {}
    for page in range(_MAX_PAGES):
        place = {"limit": str(_PAGE), "offset": str(page * _PAGE)}
        body = (await ask(path, place)).body
        total = read_total(body, path)
        rows = body.get("import_errors")
        if not isinstance(rows, list):
            raise ProviderBadResponse(f"The answer to GET {path} holds no list of import errors.")
        for row in rows:
            if isinstance(row, dict) and row.get("filename"):
                error = _parse(row)
                found[error.bundle_name or "", error.filename] = error
        if (page + 1) * _PAGE >= total:
            break
    return [found[key] for key in sorted(found)]


def _parse(row: dict[str, Any]) -> ProviderImportError:
    """Read a row; of a long trace the end, which has the exception."""
    bundle, trace = row.get("bundle_name"), row.get("stack_trace")
    try:
        raised_at = parse_datetime(row, "timestamp")
    except ProviderBadResponse:
        raised_at = None
    return ProviderImportError(
        bundle_name=str(bundle)[:_LONGEST_NAME] if bundle else None,
        filename=str(row["filename"])[:_LONGEST_NAME],
        stack_trace=str(trace or "")[-_LONGEST_TRACE:],
        raised_at=raised_at,
    )
