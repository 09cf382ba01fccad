"""The pipeline list: filters, order, saved views, and what needs attention."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from urllib.parse import parse_qsl

from fastapi import APIRouter, Query, Request, Response

from windsock.auth.permissions import PageView
from windsock.connectors.store import list_connectors_of
from windsock.db.database import Row
from windsock.http.pagination import PageQuery100
from windsock.http.validation import StateName
from windsock.pipelines.filters import PipelineFilterQuery
from windsock.pipelines.routes import Days, NeverSucceeded, Sort
from windsock.pipelines.stats import StatsWindow
from windsock.pipelines.store import DEFAULT_DAYS, count_by_status, list_pipelines
from windsock.pipelines.trends import Trend, TrendQuery, list_values
from windsock.saved_views.models import normalize_query
from windsock.saved_views.store import list_statement
from windsock.tasks import run_together
from windsock.web import connectors, saved_views
from windsock.web.bulk_edit import team_options
from windsock.web.charts import run_sparkline
from windsock.web.layout import page_context
from windsock.web.templates import (
    PartialETag,
    parse_stored_json,
    redirect_past_end,
    redirect_without_empty_fields,
    render,
    to_jsonable,
    with_query,
)

router = APIRouter(include_in_schema=False, prefix="/spaces/{slug}/pipelines")

STALE_STATES = {"late", "partial", "failing", "held"}
"""States of a connector in which what it shows may be old; the list says so."""
LATE = {"late", "failing"}
"""Of these, those in which nothing new has come for too long."""
ORDERS = {
    "attention": "Needs attention first", "name": "Name", "-failed_count": "Most failures",
    "success_rate": "Lowest success rate", "-p95_duration_seconds": "Longest p95", "-last_run_at": "Newest run",
    "last_run_at": "Oldest run", "-criticality": "Most critical",
}  # fmt: skip
"""Orders to choose from; column headers offer the others."""
LABELS = {
    "q": "Search", "status": "Newest run", "criticality": "Criticality", "team_id": "Team", "owner": "Owner",
    "tag": "Tag", "connector_id": "Connector", "provider": "Provider", "watched_only": "Watched",
    "is_paused": "Paused", "has_import_errors": "Import errors", "overdue": "Overdue",
    "never_succeeded": "Never succeeded",
}  # fmt: skip
"""Of each filter, as its chip shows it."""
FLAGS = {"watched_only", "is_paused", "has_import_errors", "overdue", "never_succeeded"}
MIN_CHANGE = 0.1
"""Smaller changes of p50 are not shown."""
SLOWER = 0.25
"""From here on a change of p50 is emphasised."""


@dataclass(frozen=True, slots=True)
class Chip:
    """An active filter; `href` is the list without it."""

    label: str
    value: str
    href: str


@router.get("")
async def pipeline_list(
    request: Request,
    space: PageView,
    etag: PartialETag,
    paging: PageQuery100,
    which: PipelineFilterQuery,
    status: Annotated[list[StateName] | None, Query()] = None,
    never_succeeded: NeverSucceeded = False,  # noqa: FBT002 - a query parameter
    days: Days = DEFAULT_DAYS,
    sort: Annotated[Sort, Query()] = "name",
) -> Response:
    """With the parameters of the API's list."""
    if without_empty := redirect_without_empty_fields(request):
        return without_empty
    filters = parse_qsl(request.url.query)
    window = StatsWindow.ending_now(days)
    (rows, total), totals, (sources, _), layout = await run_together(
        list_pipelines(
            space, space, paging, which, status=status, never_succeeded=never_succeeded, window=window, sort=sort
        ),
        count_by_status(space, space, which, window),
        list_connectors_of(space, space.id, connectors.MANY),
        page_context(space, is_part=etag is not None),
    )
    pages = paging.last_page(total)
    if last_page := redirect_past_end(request, paging.page, pages):
        return last_page
    pipelines = [parse_stored_json(row) for row in rows]
    trends = TrendQuery.of(space, pipelines, window)
    teams, views, histograms, successes = await space.fetch_batch(
        team_options(space),
        list_statement(space, saved_views.MAX_SHOWN),
        *trends.statements,
    )
    compared = zip(rows, pipelines, trends.trends(histograms, successes), strict=True)
    pipelines = [
        {**pipeline, **_attention(pipeline, trend), "sparkline": run_sparkline(row["recent_runs"], space.slug)}
        for row, pipeline, trend in compared
    ]
    stale = [
        connector
        for connector in to_jsonable(sources)
        if connector["freshness"] and connector["freshness"]["state"] in STALE_STATES
    ]
    late = [connector for connector in stale if connector["freshness"]["state"] in LATE]
    names = {str(row["id"]): row["name"] for row in (*teams, *sources)}
    return render(
        request,
        "pipelines_list.html" if etag else "pipelines.html",
        etag=etag,
        **layout,
        pipelines=pipelines,
        total=total,
        totals=totals,
        chips=list_chips(request, filters, names),
        filters=_values_by_name(filters),
        query=normalize_query(request.url.query),
        views=saved_views.mark_editable(space, views),
        which=which,
        status=status or [],
        never_succeeded=never_succeeded,
        days=days,
        sort=sort,
        orders=ORDERS if sort in ORDERS else {sort: "As the column headers say", **ORDERS},
        teams=teams,
        team_options=_options(teams),
        connectors=sources,
        connector_options=_options(sources),
        number=paging.page,
        pages=pages,
        stale=stale,
        late=[connector for connector in late if connector["product_count"]],
    )


@router.get("/values")
async def show_values(request: Request, space: PageView, field: Literal["owner", "tag"] = "owner") -> Response:
    """The owners or tags to choose from, as options; read when their field gets the focus."""
    return render(request, "pipeline_values.html", values=await list_values(space, space, field))


def _attention(pipeline: Mapping[str, Any], trend: Trend) -> dict[str, Any]:
    """Return what a row shows beside the columns of the API."""
    change = trend.p50_change
    return {
        "last_success_at": trend.last_success_at,
        "p50_change": change if change is not None and abs(change) >= MIN_CHANGE else None,
        "is_slower": change is not None and change >= SLOWER,
        "attention": attention_class(pipeline),
    }


def attention_class(pipeline: Mapping[str, Any]) -> str:
    """Return the class of the order `attention` that the pipeline is in; `calm` needs no attention."""
    if not pipeline["is_active"]:
        return "broken" if pipeline["has_import_errors"] else "gone"
    if pipeline["status"] == "failed":
        return "failing"
    if pipeline["is_overdue"]:
        return "overdue"
    if pipeline["has_import_errors"]:
        return "broken"
    return "active" if pipeline["status"] in {"queued", "running"} else "calm"


def list_chips(request: Request, pairs: Iterable[tuple[str, str]], names: Mapping[str, str]) -> list[Chip]:
    """Return a chip for each value of each filter. `names` of teams and connectors, by id."""
    return [
        Chip(LABELS[name], _value_text(name, value, names), _without(request, name, value, values))
        for name, values in _values_by_name(pairs).items()
        if name in LABELS
        for value in dict.fromkeys(values)
    ]


def _value_text(name: str, value: str, names: Mapping[str, str]) -> str:
    if name in {"team_id", "connector_id"}:
        return names.get(value.lower(), "unknown")
    return {"true": "yes", "false": "no"}.get(value.lower(), value) if name in FLAGS else value


def _without(request: Request, name: str, value: str, values: list[str]) -> str:
    return with_query(request, **{name: [other for other in values if other != value]})


def _options(rows: Iterable[Row]) -> list[tuple[str, str]]:
    return [(str(row["id"]), row["name"]) for row in rows]


def _values_by_name(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    values: dict[str, list[str]] = {}
    for name, value in pairs:
        values.setdefault(name, []).append(value)
    return values
