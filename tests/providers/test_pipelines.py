"""The list of DAGs is complete, or it is not given."""

from typing import TYPE_CHECKING, Any

import pytest

from windsock.errors import ProviderBadResponse, ProviderHTTPError, ProviderIncomplete

if TYPE_CHECKING:
    from providers.conftest import Lab, Reply, Request, Script
    from windsock.providers.airflow import Airflow
    from windsock.providers.base import PipelineListing


async def listing(airflow: "Airflow") -> "PipelineListing":
    return await airflow.list_pipelines()


def serving(lab: "Lab", rows: list[dict[str, Any]], cap: int = 100) -> "Script":
    def script(request: "Request") -> "Reply":
        if request.path.endswith("/importErrors"):
            broken = [{"import_error_id": n, "filename": f"{n}.py", "stack_trace": "…"} for n in range(4)]
            return lab.Reply({"import_errors": broken, "total_entries": 4})
        return lab.page("dags", rows, request, cap=cap)

    return script


@pytest.mark.parametrize("api", ["v1", "v2"])
@pytest.mark.parametrize(
    ("count", "cap", "requests"),
    [(0, 100, 2), (1, 100, 2), (100, 100, 2), (101, 100, 3), (250, 100, 4), (101, 50, 4), (250, 10, 26), (101, 10, 12)],
)
def test_all_dags_are_listed_under_any_server_page_cap(
    lab: "Lab", api: str, count: int, cap: int, requests: int
) -> None:
    found, scripted = lab.against(serving(lab, lab.dags(count), cap), listing, api)
    assert [row.external_id for row in found.rows] == [f"dag-{number:05}" for number in range(count)]
    assert [error.filename for error in found.import_errors or []] == ["0.py", "1.py", "2.py", "3.py"]
    assert len(scripted.requests) == requests
    first = scripted.requests[0].params
    assert (first.get("exclude_stale"), first.get("only_active")) == (
        ("false", None) if api == "v2" else (None, "false")
    )
    assert (first["order_by"], first["limit"]) == ("dag_id", "100")


def test_dag_list_restarts_when_its_total_shrinks(lab: "Lab") -> None:
    rows = lab.dags(150)
    pages = 0

    def script(request: "Request") -> "Reply":
        nonlocal pages
        reply = serving(lab, rows)(request)
        pages += 1
        if pages == 1:
            del rows[0]
        return reply

    found, scripted = lab.against(script, listing)
    assert len(found.rows) == 149
    assert [request.params["offset"] for request in scripted.requests[:4]] == ["0", "100", "0", "100"]


def test_dag_shifted_across_page_boundary_is_found_with_unchanged_total(lab: "Lab") -> None:
    rows = lab.dags(150)
    pages = 0

    def script(request: "Request") -> "Reply":
        nonlocal pages
        reply = serving(lab, rows)(request)
        pages += 1
        if pages == 1:
            rows[:] = [{"dag_id": "a-new-one"}, *rows[:-1]]
        return reply

    found, scripted = lab.against(script, listing)
    assert {row.external_id for row in found.rows} == {str(row["dag_id"]) for row in rows}
    assert [request.params["offset"] for request in scripted.requests[:4]] == ["0", "100", "0", "100"]


def test_list_that_changes_on_every_read_is_an_error(lab: "Lab") -> None:
    rows = lab.dags(150)

    def script(request: "Request") -> "Reply":
        rows.append({"dag_id": f"new-{len(rows)}"})
        return serving(lab, rows)(request)

    with pytest.raises(ProviderIncomplete, match="4 times"):
        lab.against(script, listing)


@pytest.mark.parametrize("rows", [10, 0])
def test_fewer_dags_than_total_is_an_error(lab: "Lab", rows: int) -> None:
    with pytest.raises(ProviderIncomplete):
        lab.against(lambda _: lab.Reply({"dags": lab.dags(rows), "total_entries": 11}), listing)


@pytest.mark.parametrize("status", [200, 403, 404, 500, 503])
@pytest.mark.parametrize("api", ["v1", "v2"])
def test_dag_list_is_complete_without_readable_import_errors(lab: "Lab", api: str, status: int) -> None:
    def script(request: "Request") -> "Reply":
        if request.path.endswith("/importErrors"):
            return lab.Reply({"detail": "No"}, status=status)
        return lab.page("dags", lab.dags(3), request)

    found, _ = lab.against(script, listing, api)
    assert (len(found.rows), found.import_errors) == (3, None)


def test_dag_list_is_complete_when_connection_drops_at_import_errors(lab: "Lab") -> None:
    def script(request: "Request") -> "Reply":
        is_last = request.path.endswith("/importErrors")
        return lab.Reply(drops=True) if is_last else lab.page("dags", lab.dags(3), request)

    found, _ = lab.against(script, listing)
    assert (len(found.rows), found.import_errors) == (3, None)


def test_forbidden_dag_list_is_an_error(lab: "Lab") -> None:
    with pytest.raises(ProviderHTTPError) as caught:
        lab.against(lambda _: lab.Reply({"detail": "Forbidden"}, status=403), listing)
    assert caught.value.status == 403
    assert "GET /api/v2/dags with 403: Forbidden" in str(caught.value)


@pytest.mark.parametrize(
    "body",
    [
        [],
        {"total_entries": 0},
        {"dags": []},
        {"dags": [], "total_entries": None},
        {"dags": ["x"], "total_entries": 1},
        {"dags": {}, "total_entries": 0},
        {"dags": [{"dag_id": None}], "total_entries": 1},
        {"dags": [], "total_entries": -1},
    ],
)
def test_response_of_unexpected_schema_is_bad_response(lab: "Lab", body: object) -> None:
    with pytest.raises(ProviderBadResponse):
        lab.against(lambda _: lab.Reply(body), listing)


@pytest.mark.parametrize("api", ["v1", "v2"])
@pytest.mark.parametrize(
    ("files", "repeats", "repeats_rows", "requests"),
    [(1, 7, True, 1), (1, 7, False, 1), (3, 2, True, 1), (2, 70, True, 2), (2, 70, False, 2), (0, 1, True, 1)],
)
def test_broken_file_with_many_dags_counts_as_one_import_error(
    lab: "Lab", api: str, files: int, repeats: int, repeats_rows: bool, requests: int
) -> None:
    """The total counts each DAG of a file; the rows repeat it, too, or are folded behind the limit."""
    counted = [
        {"import_error_id": n, "filename": f"{n}.py", "bundle_name": "b"} for n in range(files) for _ in range(repeats)
    ]
    request_count = 0

    def script(request: "Request") -> "Reply":
        nonlocal request_count
        if not request.path.endswith("/importErrors"):
            return lab.page("dags", [], request)
        request_count += 1
        offset, limit = int(request.params["offset"]), int(request.params["limit"])
        rows = counted[offset : offset + limit]
        shown = rows if repeats_rows else list({row["import_error_id"]: row for row in rows}.values())
        return lab.Reply({"import_errors": shown, "total_entries": len(counted)})

    found, _ = lab.against(script, listing, api)
    assert found.import_errors is not None
    assert (len(found.import_errors), request_count) == (files, requests)
