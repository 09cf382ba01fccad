"""Decides whether a list that fails is taken apart to its single rows, and bounds what that may cost."""

from http import HTTPStatus
from typing import Any, Final, Literal

from windsock.errors import ProviderFailed, ProviderHTTPError, ProviderTimedOut, ProviderUnreachable
from windsock.providers.airflow.dialect import BEYOND_THE_END
from windsock.providers.airflow.errors import BrokenJson, ResponseTooLarge
from windsock.providers.airflow.http import Params
from windsock.providers.airflow.scans import Fetch, Limits, Listing

Cause = Literal["row", "size"]
"""What may be wrong with a page: one of its rows, or that it is too much at once."""

_PROBED_AGAIN_AFTER: Final = 10
_ROWS_PER_FAILURE: Final = 4
_RETRIED_BELOW: Final = frozenset({429, 502, 503, 504})


def cause_of(failure: ProviderFailed) -> Cause | None:
    """None for what smaller pages do not help against: 4xx, no connection, a login page, a wish for a pause."""
    if failure.retry_after is not None:
        return None
    if isinstance(failure, ProviderTimedOut | ResponseTooLarge):
        return "size"
    if isinstance(failure, ProviderUnreachable):  # a process that dies of a page drops the connection
        return "size" if failure.request_sent else None
    if isinstance(failure, BrokenJson):
        return "row"
    if isinstance(failure, ProviderHTTPError) and failure.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return "size" if failure.status == HTTPStatus.GATEWAY_TIMEOUT else "row"
    return None


def was_repeated(failure: ProviderFailed) -> bool:
    """Whether it was sent several times, with pauses, before it became a failure."""
    return isinstance(failure, ProviderUnreachable) or (
        isinstance(failure, ProviderHTTPError) and failure.status in _RETRIED_BELOW
    )


class Isolation:
    """One scan's. A server that fails at everything fails here too: an empty page of the list must be answered.

    Costs at most `limits.failed_requests` failing requests and one more for every fourth row that could be read.
    """

    def __init__(self, ask: Fetch, listing: Listing[Any], limits: Limits) -> None:
        self._ask = ask
        self._listing = listing
        self._limits = limits
        self._failures = self._in_a_row = 0
        self._is_alive = False
        self.rows_read = 0

    def note_success(self, rows: int) -> None:
        self._in_a_row = 0
        self.rows_read += rows

    async def judge(self, failure: ProviderFailed, *, filters: Params | None = None) -> Cause:
        """Return the cause of a failed page; raise the failure if the list must not be split."""
        cause = cause_of(failure)
        self._failures += 1
        if cause is None or self._failures > self._limits.failed_requests + self.rows_read // _ROWS_PER_FAILURE:
            raise failure
        self._in_a_row += 1
        if not self._is_alive or self._in_a_row % _PROBED_AGAIN_AFTER == 0:
            try:
                await self.count(filters)
            except ProviderFailed:
                raise failure from None
            self._is_alive = True
        return cause

    async def count(self, filters: Params | None = None) -> int | None:
        """The total of the list, by a page that holds no row."""
        params = {**self._listing.params, **(filters or {}), **_no_row(self._listing)}
        return _total((await self._ask(self._listing.path, params)).body)

    async def prove_that_others_can_be_read(self, failure: ProviderFailed) -> None:
        """Before a row is passed over although none was read: raise unless the server can list another one.

        Of all rows of this kind, whatever was asked for, a few are tried one by one; unless there is but one, or the
        account may not list those of all DAGs: then the page without a row has to be proof enough.
        """
        if self.rows_read:
            return
        path, params = _any_row(self._listing)
        try:
            total = _total((await self._ask(path, {**params, **_no_row(self._listing)})).body)
        except ProviderHTTPError as refusal:
            if refusal.status == HTTPStatus.FORBIDDEN and path != self._listing.path:
                return
            raise failure from None
        except ProviderFailed:
            raise failure from None
        if total is None or (total > 1 and not await self._can_read_one_of(total, path, params, failure)):
            raise failure

    async def _can_read_one_of(self, total: int, path: str, params: Params, failure: ProviderFailed) -> bool:
        quarter = total // 4
        spread = (total - 1, 2 * quarter, 1, 0, quarter, 3 * quarter, max(0, total - 2), min(2, total - 1))
        for place in dict.fromkeys(spread):
            try:
                body = (await self._ask(path, {**params, "limit": "1", "offset": str(place)})).body
            except ProviderFailed as other:
                if cause_of(other) is None:
                    raise failure from None
                continue
            rows = body.get(self._listing.name) if isinstance(body, dict) else None
            if isinstance(rows, list) and rows:
                self.note_success(1)
                return True
        return False


def _no_row(listing: Listing[Any]) -> Params:
    """Measured: limit=0 means the default on 2.11.2, and no row on 3.x."""
    return {"limit": "1", "offset": BEYOND_THE_END} if listing.root.endswith("v1") else {"limit": "0"}


def _any_row(listing: Listing[Any]) -> tuple[str, Params]:
    """The list of all rows of this kind, without the filters."""
    paths = {"dag_runs": "/dags/~/dagRuns", "task_instances": "/dags/~/dagRuns/~/taskInstances"}
    path = f"{listing.root}{paths[listing.name]}" if listing.name in paths else listing.path
    names = ("order_by", "exclude_stale", "only_active")
    return path, {name: value for name, value in listing.params.items() if name in names}


def _total(body: object) -> int | None:
    total = body.get("total_entries") if isinstance(body, dict) else None
    return total if isinstance(total, int) and not isinstance(total, bool) else None
