"""CSV downloads of the lists of pipelines and runs, with the filters of their pages."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from windsock.auth.permissions import PageView
from windsock.http.csv_export import BATCH_SIZE, csv_response
from windsock.http.validation import StateName
from windsock.pipelines.export import COLUMNS as PIPELINE_COLUMNS
from windsock.pipelines.filters import PipelineFilterQuery
from windsock.pipelines.routes import Days, NeverSucceeded
from windsock.pipelines.stats import StatsWindow
from windsock.pipelines.store import DEFAULT_DAYS, iterate_pipelines
from windsock.runs.export import COLUMNS as RUN_COLUMNS
from windsock.runs.routes import WhichRuns
from windsock.runs.store import iterate_runs_of_space
from windsock.web.run_list import RunListFilterQuery
from windsock.web.templates import HEADERS

router = APIRouter(include_in_schema=False, prefix="/spaces/{slug}")


@router.get("/pipelines.csv")
async def export_pipelines(
    space: PageView,
    which: PipelineFilterQuery,
    status: Annotated[list[StateName] | None, Query()] = None,
    never_succeeded: NeverSucceeded = False,  # noqa: FBT002 - a query parameter
    days: Days = DEFAULT_DAYS,
) -> Response:
    batches = iterate_pipelines(
        space,
        space,
        which,
        status=status,
        never_succeeded=never_succeeded,
        window=StatsWindow.ending_now(days),
        batch_size=BATCH_SIZE,
    )
    return await csv_response(PIPELINE_COLUMNS, batches, f"{space.slug}-pipelines.csv", HEADERS)


@router.get("/runs.csv")
async def export_runs(space: PageView, which: WhichRuns, of: PipelineFilterQuery, only: RunListFilterQuery) -> Response:
    runs = await only.apply(space, space, which)
    batches = iterate_runs_of_space(space, space, runs, of, BATCH_SIZE)
    return await csv_response(RUN_COLUMNS, batches, f"{space.slug}-runs.csv", HEADERS)
