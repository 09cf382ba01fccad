"""A total that the rows do not fit: asked for once more, told where it never fits, an error where rows were lost."""

from typing import TYPE_CHECKING, Any

import pytest

from providers.doubles import BETWEEN, CHANGED, KINDS, a_double, keys, reading, skipped, use
from windsock.errors import ProviderFailed, ProviderIncomplete
from windsock.providers.airflow.listing import Limits

if TYPE_CHECKING:
    from providers.conftest import Asked, Lab, Reply
    from windsock.providers.contract import Page, ProviderRun


def read_ids(pages: "list[Page[ProviderRun]]") -> list[str]:
    return [row.external_id for page in pages for row in page.rows]


@pytest.mark.parametrize("how", ["v2 cursor", "v2 offset", "v1"])
def test_rows_committed_between_the_list_and_its_count_are_no_loss(lab: "Lab", how: str) -> None:
    """The total is asked for once more before a list is called short."""
    for late in (1, 3):
        rows, asked_so_far = lab.runs(40), 0

        def script(asked: "Asked", rows: list[Any] = rows, late: int = late) -> "Reply":
            nonlocal asked_so_far
            asked_so_far += 1
            reply = (lab.by_cursor(rows) if how == "v2 cursor" else lab.by_offset(rows))(asked)
            if asked_so_far == 1:
                rows += lab.runs(late, start=40)
                reply.body["total_entries"] = len(rows)
            return reply

        pages, _ = lab.against(script, lab.reading(), how[:2])
        assert len(read_ids(pages)) == 40 + late
        assert [one for page in pages for one in page.skipped] == []


@pytest.mark.parametrize("how", ["v2 cursor", "v2 offset", "v1"])
@pytest.mark.parametrize("count", [0, 40, 250])
def test_a_total_that_never_fits_ends_with_what_could_be_read(lab: "Lab", how: str, count: int) -> None:
    rows = lab.runs(count)
    script = lab.by_cursor(rows, total_entries=count + 1) if how == "v2 cursor" else None
    pages, double = lab.against(
        script or (lambda asked: lab.page("dag_runs", rows, asked, total_entries=count + 1)), lab.reading(), how[:2]
    )
    assert len(read_ids(pages)) == count
    assert [one.reason for page in pages for one in page.skipped] == ["Airflow counts 1 more dag run than it lists."]
    assert pages[-1].resume is None
    assert len(double.asked) <= max(1, -(-count // 99)) + 3


def test_a_total_that_differs_at_the_second_look_is_looked_at_again(lab: "Lab") -> None:
    totals = [45, 45]

    def script(asked: "Asked") -> "Reply":
        return lab.page("dag_runs", lab.runs(40), asked, total_entries=totals.pop() if totals else 44)

    pages, _ = lab.against(script, lab.reading(), "v1")
    assert [one.reason for page in pages for one in page.skipped] == ["Airflow counts 4 more dag runs than it lists."]


def test_a_lost_page_stays_an_error(lab: "Lab") -> None:
    """The cursor ends too early, and there are rows behind that no page shows."""

    def script(asked: "Asked") -> "Reply":
        reply = lab.by_cursor(lab.runs(250))(asked)
        if "cursor" not in asked.params:
            return lab.Reply({**reply.body, "dag_runs": reply.body["dag_runs"][:1]})
        return lab.Reply({**reply.body, "next_cursor": None})

    with pytest.raises(ProviderIncomplete):
        lab.against(script, lab.reading())


def test_a_server_that_ignores_the_offset_is_not_taken_for_one_that_hides_rows(lab: "Lab") -> None:
    body = {"dag_runs": lab.runs(100), "total_entries": 103}
    for api in ("v1", "v2"):
        with pytest.raises(ProviderIncomplete):
            lab.against(lambda _: lab.Reply(body), lab.reading(), api)


@pytest.mark.parametrize("too_many", ["slow", "drop", "cut", "504"])
@pytest.mark.parametrize("most", [1, 7, 30])
@pytest.mark.parametrize("kind", KINDS)
def test_pages_that_are_too_much_at_once_shrink(kind: str, most: int, too_many: Any) -> None:
    double = a_double(kind, runs=90)
    double.api.oddities.most_rows, double.api.oddities.too_many = most, too_many
    if most == 1:  # nothing proves that pages of one row belong together, but that is said
        with pytest.raises(ProviderFailed):
            use(double, reading("runs", CHANGED))
        return
    for what, expected in (("runs", set(double.model.runs)), ("task_runs", set(double.model.tasks))):
        double.asked.clear()
        pages = use(double, reading(what, BETWEEN))
        assert keys(pages, what) == expected
        assert skipped(pages) == []
        assert len(double.asked) < 20 + 6 * len(expected) / most


@pytest.mark.parametrize("hidden", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_rows_that_are_counted_and_hidden_are_told_by_their_number(kind: str, hidden: int) -> None:
    if kind == "v2 uncounted":
        return
    for scope in (CHANGED, BETWEEN):
        for what in ("runs", "task_runs"):
            double = a_double(kind, runs=150)
            every = list(double.model.runs if what == "runs" else double.model.tasks)
            gone = set(every[40 : 40 + hidden])
            double.api.oddities.hidden = set(gone)
            pages = use(double, reading(what, scope), Limits(window=80))
            assert keys(pages, what) == set(every) - gone
            words = {one.reason for one in skipped(pages)}
            assert words
            assert all("Airflow counts" in one and "than it lists" in one for one in words)
            assert pages[-1].resume is None


@pytest.mark.parametrize("api", ["v1", "v2"])
def test_dags_that_are_counted_and_hidden_are_told_by_their_number(api: str) -> None:
    double = a_double(api, dags=130, runs=2)
    double.api.oddities.hidden = {("dag_07",), ("dag_120",)}
    listing = use(double, lambda airflow: airflow.list_pipelines())
    assert len(listing.rows) == 128
    assert [one.reason for one in listing.skipped] == ["Airflow counts 2 more dags than it lists."]
