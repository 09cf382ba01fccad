"""Lists all DAGs, and knows when the list did not stand still while it was read."""

from datetime import datetime

from windsock.errors import ProviderFailed, ProviderIncomplete
from windsock.providers.airflow.counting import count
from windsock.providers.airflow.listing import Ask, Limits, Listing, Question, read
from windsock.providers.contract import PipelineListing, ProviderPipeline

_RESTARTS = 3


async def list_pipelines(
    ask: Ask, listing: Listing[ProviderPipeline], import_errors_path: str, limits: Limits
) -> PipelineListing:
    """All DAGs in ⌈DAGs / page⌉ requests and one for the import errors; raises ProviderIncomplete after three restarts.

    DAGs are ordered by name, so that one which appears or goes moves all after it over the bounds of the pages; then
    the total differs, or rows are missing, and the list is read again from the start.
    """
    for _ in range(_RESTARTS + 1):
        found = await _list_once(ask, listing, limits)
        if found is not None:
            rows, as_of = found
            return PipelineListing(rows=rows, import_errors=await _import_errors(ask, import_errors_path), as_of=as_of)
    raise ProviderIncomplete(
        f"Airflow's list of DAGs was read {_RESTARTS + 1} times and never held as many as it promised."
    )


async def _list_once(
    ask: Ask, listing: Listing[ProviderPipeline], limits: Limits
) -> tuple[list[ProviderPipeline], datetime] | None:
    """The DAGs and the server's clock before the first answer, or None when the list changed meanwhile."""
    found: dict[str, ProviderPipeline] = {}
    offset, total, as_of = 0, None, None
    while total is None or offset < total:
        place = {"limit": str(limits.page), "offset": str(offset)}
        part = read(await ask(listing.path, {**listing.params, **place}), listing)
        as_of = as_of or part.as_of
        if part.total != (part.total if total is None else total):
            return None
        total = part.total or 0
        if total > limits.rows:
            raise ProviderIncomplete(f"Airflow promises {total:,} DAGs; Windsock reads at most {limits.rows:,}.")
        before = len(found)
        found.update((row.external_id, row) for row in part.rows)
        if offset < total and len(found) == before:
            return None
        # By what was received: the server may give fewer than asked for.
        offset += len(part.rows)
    return (list(found.values()), as_of) if as_of is not None and len(found) == total else None


async def _import_errors(ask: Ask, path: str) -> int | None:
    """How many files failed to parse. None where that cannot be had: the list of DAGs is whole without it."""
    try:
        return await count(ask, Question(path=path, params={"limit": "1"}))
    except ProviderFailed:
        return None
