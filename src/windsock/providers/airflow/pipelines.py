"""Lists all DAGs, and knows when the list did not stand still while it was read."""

from windsock.errors import ProviderBadResponse, ProviderFailed, ProviderIncomplete
from windsock.providers.airflow.completeness import is_small, miscounted, refuse
from windsock.providers.airflow.import_errors import list_import_errors
from windsock.providers.airflow.isolation import Isolation
from windsock.providers.airflow.naming import Namer
from windsock.providers.airflow.scans import NAMELESS, Fetch, Key, Limits, Listing, ListResponse, parse_listing
from windsock.providers.airflow.slices import SliceReader
from windsock.providers.base import PipelineListing, ProviderImportError, ProviderPipeline

_RESTARTS = 3


async def list_pipelines(
    ask: Fetch, listing: Listing[ProviderPipeline], import_errors_path: str | None, limits: Limits
) -> PipelineListing:
    """All DAGs in ⌈DAGs / page⌉ requests, and one for the import errors where those are wanted.

    Raises ProviderIncomplete after three restarts.

    DAGs are ordered by name, so that one which appears or goes moves all after it over the bounds of the pages; then
    the total differs, or rows are missing, and the list is read again from the start. When it lacks the same few twice
    in each of several passes, these are counted and hidden. The list with the import errors is read to its end: it
    tells when they are hidden no more.
    """
    missing, name = None, listing.name_of()
    expected = limits.miscounts.expected(name)
    for _ in range(_RESTARTS + 1):
        found = await _list_once(ask, listing, limits, lacks=0 if import_errors_path else expected)
        if found is None:
            continue
        unreadable = [skipped.reason for key, skipped in found.skipped.items() if key[0] in {"unreadable", NAMELESS}]
        if unreadable and not found.rows:  # of another program, rather than a list with a strange row
            raise ProviderBadResponse(unreadable[0])
        known = {*found.keys, *found.skipped}
        was_missing, missing = missing, (found.total or 0) - len(known)
        if missing > 0 and missing in {was_missing, expected} and is_small(missing, found.total or 0):
            if not limits.miscounts.believe(listing.kind, name, missing):
                refuse(found.total, listing.what, len(known))
            found, missing = found.with_skipped(("miscounted",), miscounted(listing, missing)), 0
        elif missing == 0:
            limits.miscounts.note_whole(name)
        if missing == 0:
            rows = list(dict(zip(found.keys, found.rows, strict=True)).values())
            errors = None if import_errors_path is None else await _import_errors(ask, import_errors_path)
            skipped = tuple(found.skipped.values())
            return PipelineListing(rows=rows, import_errors=errors, as_of=found.as_of, skipped=skipped)
    raise ProviderIncomplete(
        f"Airflow's list of DAGs was read {_RESTARTS + 1} times and never held as many as it promised."
    )


async def _list_once(
    ask: Fetch, listing: Listing[ProviderPipeline], limits: Limits, *, lacks: int
) -> ListResponse[ProviderPipeline] | None:
    """All pages as one, or None when the list changed meanwhile. `lacks`: how many of its total are not waited for."""
    found: ListResponse[ProviderPipeline] | None = None

    async def fetch(offset: int, limit: int) -> ListResponse[ProviderPipeline]:
        place = {"limit": str(limit), "offset": str(offset)}
        return parse_listing(await ask(listing.path, {**listing.params, **place}), listing)

    def is_received(key: Key) -> bool:
        return found is not None and key in found.keys

    slices = SliceReader(
        fetch, Isolation(ask, listing, limits), listing, limits.page, Namer(ask, listing, limits, is_received)
    )
    while found is None or found.received < (found.total or 0) - lacks:
        part = await slices.read(0 if found is None else found.received)
        if found is not None and part.total != found.total:
            return None
        if (part.total or 0) > limits.rows:
            raise ProviderIncomplete(f"Airflow promises {part.total:,} DAGs; Windsock reads at most {limits.rows:,}.")
        if found is not None and {*part.keys, *part.skipped} <= {*found.keys, *found.skipped}:
            is_at_end = part.received <= (part.total or 0) - found.received
            return found if is_at_end else None  # more than there can be: of a server that ignores the offset
        # By what was received: the server may give fewer than asked for.
        found = part if found is None else found.joined(part)
    return found


async def _import_errors(ask: Fetch, path: str) -> list[ProviderImportError] | None:
    """Files that failed to parse. None where they cannot be read: the list of DAGs is whole without them."""
    try:
        return await list_import_errors(ask, path)
    except ProviderFailed:
        return None
