"""A total that the rows do not fit: asked for once more, told where it never fits, an error where rows were lost."""

import itertools
from typing import TYPE_CHECKING, Any

import pytest

from providers.fake_airflow_helpers import BETWEEN, CHANGED, KINDS, keys, make_fake_airflow, reading, skipped, use
from windsock.errors import ProviderFailed, ProviderIncomplete
from windsock.providers.airflow.scans import Limits
from windsock.providers.miscounts import ENOUGH_PASSES, Miscounts

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from providers.conftest import Lab, Reply, Request
    from windsock.providers.airflow import Airflow
    from windsock.providers.base import Page, ProviderRun
    from windsock.providers.scopes import Resume

    Reads = Callable[[Airflow], Awaitable[None]]


def read_ids(pages: "list[Page[ProviderRun]]") -> list[str]:
    return [row.external_id for page in pages for row in page.rows]


@pytest.mark.parametrize("how", ["v2 cursor", "v2 offset", "v1"])
def test_rows_committed_between_list_and_count_are_not_lost(lab: "Lab", how: str) -> None:
    """The total is asked for once more before a list is called short."""
    for late in (1, 3):
        rows, request_count = lab.runs(40), 0

        def script(request: "Request", rows: list[Any] = rows, late: int = late) -> "Reply":
            nonlocal request_count
            request_count += 1
            reply = (lab.by_cursor(rows) if how == "v2 cursor" else lab.by_offset(rows))(request)
            if request_count == 1:
                rows += lab.runs(late, start=40)
                reply.body["total_entries"] = len(rows)
            return reply

        pages, _ = lab.against(script, lab.reading(), how[:2])
        assert len(read_ids(pages)) == 40 + late
        assert [row for page in pages for row in page.skipped] == []


def no_pages() -> "list[Page[Any]]":
    return []


def reads_all_and_then_refuses(pages: "list[Page[Any]]", resume: "Resume | None" = None) -> "Reads":
    """Reads runs into `pages`, and a list that lacks some is an error only behind them."""

    async def read(airflow: "Airflow") -> None:
        pages.clear()
        async for page in airflow.runs(CHANGED, resume):
            pages.append(page)

    async def is_refused(airflow: "Airflow") -> None:
        with pytest.raises(ProviderIncomplete, match="hidden from the account"):
            await read(airflow)

    return is_refused


@pytest.mark.parametrize("how", ["v2 cursor", "v2 offset", "v1"])
@pytest.mark.parametrize("count", [0, 40, 250])
def test_persistent_total_mismatch_is_accepted_in_third_pass(lab: "Lab", how: str, count: int) -> None:
    rows, pages, seen = lab.runs(count), no_pages(), Miscounts()
    script = lab.by_cursor(rows, total_entries=count + 1) if how == "v2 cursor" else None
    script = script or (lambda parameters: lab.page("dag_runs", rows, parameters, total_entries=count + 1))
    for _ in range(ENOUGH_PASSES - 1):
        seen = Miscounts(seen.recorded())
        lab.against(script, reads_all_and_then_refuses(pages), how[:2], limits=Limits(miscounts=seen))
        assert (len(read_ids(pages)), [row for page in pages for row in page.skipped]) == (count, [])
    seen = Miscounts(seen.recorded())
    pages, scripted = lab.against(script, lab.reading(CHANGED), how[:2], limits=Limits(miscounts=seen))
    assert len(read_ids(pages)) == count
    assert [row.reason for page in pages for row in page.skipped] == ["Airflow counts 1 more dag run than it lists."]
    assert pages[-1].resume is None
    assert len(scripted.requests) <= max(1, -(-count // 99)) + 3


def test_total_mismatch_that_varies_between_passes_is_never_accepted(lab: "Lab") -> None:
    rows, pages, seen = lab.runs(40), no_pages(), Miscounts()
    for number in range(3 * ENOUGH_PASSES):

        def script(request: "Request", total: int = 41 + number % 2) -> "Reply":
            return lab.page("dag_runs", rows, request, total_entries=total)

        seen = Miscounts(seen.recorded())
        lab.against(script, reads_all_and_then_refuses(pages), "v1", limits=Limits(miscounts=seen))
        assert len(read_ids(pages)) == 40


def test_total_mismatch_of_scan_repeated_within_pass_counts_once(lab: "Lab") -> None:
    rows, pages, seen = lab.runs(40), no_pages(), Miscounts()
    for _ in range(ENOUGH_PASSES + 1):
        lab.against(
            lambda parameters: lab.page("dag_runs", rows, parameters, total_entries=41),
            reads_all_and_then_refuses(pages),
            "v1",
            limits=Limits(miscounts=seen),
        )
    assert [passes for _, _, passes in seen.recorded()] == [1]


def test_matching_total_resets_accepted_mismatch(lab: "Lab") -> None:
    name = "/api/v1/dags/~/dagRuns order_by updated_at"
    seen = Miscounts([(name, 1, ENOUGH_PASSES)])
    assert seen.expected(name) == 1
    lab.against(lab.by_offset(lab.runs(40)), lab.reading(CHANGED), "v1", limits=Limits(miscounts=seen))
    assert seen.recorded() == []


def test_list_with_missing_rows_is_rescanned_from_start(lab: "Lab") -> None:
    """What goes on behind a row that was not seen would lack it as often as is needed to believe that."""
    rows, pages, seen = lab.runs(250), no_pages(), Miscounts()

    def script(request: "Request") -> "Reply":
        return lab.page("dag_runs", rows, request, total_entries=251)

    lab.against(script, reads_all_and_then_refuses(pages), "v1", limits=Limits(miscounts=seen))
    resume = pages[0].resume
    assert resume is not None
    for limits, read in ((Limits(miscounts=Miscounts(seen.recorded())), 250), (Limits(), 151)):
        lab.against(script, reads_all_and_then_refuses(pages, resume), "v1", limits=limits)
        assert len(read_ids(pages)) == read


def test_total_that_differs_at_second_read_is_read_again(lab: "Lab") -> None:
    totals = [45, 45]

    def script(request: "Request") -> "Reply":
        return lab.page("dag_runs", lab.runs(40), request, total_entries=totals.pop() if totals else 44)

    known = Limits(miscounts=Miscounts(hidden={"runs": 4}))
    pages, _ = lab.against(script, lab.reading(), "v1", limits=known)
    assert [row.reason for page in pages for row in page.skipped] == ["Airflow counts 4 more dag runs than it lists."]


def test_lost_page_is_an_error(lab: "Lab") -> None:
    """The cursor ends too early, and there are rows behind that no page shows."""

    def script(request: "Request") -> "Reply":
        reply = lab.by_cursor(lab.runs(250))(request)
        if "cursor" not in request.params:
            return lab.Reply({**reply.body, "dag_runs": reply.body["dag_runs"][:1]})
        return lab.Reply({**reply.body, "next_cursor": None})

    with pytest.raises(ProviderIncomplete):
        lab.against(script, lab.reading())


def test_server_that_ignores_offset_is_not_mistaken_for_hidden_rows(lab: "Lab") -> None:
    body = {"dag_runs": lab.runs(100), "total_entries": 103}
    for api in ("v1", "v2"):
        with pytest.raises(ProviderIncomplete):
            lab.against(lambda _: lab.Reply(body), lab.reading(), api)


@pytest.mark.parametrize(
    ("most", "too_many"),
    [*itertools.product([1, 7, 30], ["slow", "drop", "cut", "504"]), (7, "large"), (30, "large")],
)
@pytest.mark.parametrize("kind", KINDS)
def test_pages_that_overload_the_server_shrink(kind: str, most: int, too_many: Any) -> None:
    scripted = make_fake_airflow(kind, runs=90)
    scripted.api.oddities.most_rows, scripted.api.oddities.too_many = most, too_many
    if most == 1 and too_many == "cut":  # broken JSON is the fault of a row, not of its neighbours
        with pytest.raises(ProviderFailed):
            use(scripted, reading("runs", CHANGED))
        return
    for what, expected in (("runs", set(scripted.model.runs)), ("task_runs", set(scripted.model.tasks))):
        scripted.requests.clear()
        pages = use(scripted, reading(what, BETWEEN))
        assert keys(pages, what) == expected
        assert skipped(pages) == []
        assert len(scripted.requests) < 20 + (30 if most == 1 else 6) * len(expected) / most


@pytest.mark.parametrize("hidden", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_hidden_but_counted_rows_are_reported_by_count(kind: str, hidden: int) -> None:
    if kind == "v2 uncounted":
        return
    for scope in (CHANGED, BETWEEN):
        for what in ("runs", "task_runs"):
            scripted = make_fake_airflow(kind, runs=150)
            every = list(scripted.model.runs if what == "runs" else scripted.model.tasks)
            deleted = set(every[40 : 40 + hidden])
            scripted.api.oddities.hidden = set(deleted)
            known = Miscounts(hidden={what: hidden})
            pages = use(scripted, reading(what, scope), Limits(window=80, miscounts=known))
            assert keys(pages, what) == set(every) - deleted
            (row,) = skipped(pages)
            assert (row.kind, row.unlisted) == (what, hidden)
            assert f"Airflow counts {hidden} more" in row.reason
            assert pages[-1].resume is None


@pytest.mark.parametrize("api", ["v1", "v2"])
def test_hidden_but_counted_dags_are_reported_by_count(api: str) -> None:
    scripted = make_fake_airflow(api, dags=130, runs=2)
    scripted.api.oddities.hidden = {("dag_07",), ("dag_120",)}
    seen = Miscounts()
    for _ in range(ENOUGH_PASSES - 1):
        with pytest.raises(ProviderIncomplete, match="promised 130 dags and gave 128"):
            use(scripted, lambda airflow: airflow.list_pipelines(), Limits(miscounts=seen))
        seen = Miscounts(seen.recorded())
    listing = use(scripted, lambda airflow: airflow.list_pipelines(), Limits(miscounts=seen))
    assert len(listing.rows) == 128
    assert [row.reason for row in listing.skipped] == ["Airflow counts 2 more dags than it lists."]


@pytest.mark.parametrize("api", ["v1", "v2"])
def test_accepted_dag_list_mismatch_costs_no_extra_requests(api: str) -> None:
    scripted = make_fake_airflow(api, dags=130, runs=2)
    requests: list[int] = []
    for hidden in (set(), {("dag_07",)}):
        scripted.api.oddities.hidden = set(hidden)
        flags = "only_active order_by" if api == "v1" else "exclude_stale order_by"
        known = Miscounts([(f"/api/{api}/dags {flags}", 1, ENOUGH_PASSES)])
        scripted.requests.clear()
        use(scripted, lambda airflow: airflow.list_pipelines(reads_import_errors=False), Limits(miscounts=known))
        requests.append(sum("/dags" in request for request in scripted.requests))
    assert requests == [2, 2]
