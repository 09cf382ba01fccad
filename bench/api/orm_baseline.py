"""The same two lists as one would conventionally write them: FastAPI response models over the SQLAlchemy ORM.

Same tables, same role, same row-level security, same fields; numbers made from the runs when they are asked for. Kept
here so that the price of convention is known.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

import psycopg
from fastapi import Depends, FastAPI, Header, HTTPException, Response
from pydantic import BaseModel
from sqlalchemy import and_, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import selectinload

from bench.api.orm_models import Comment, Pipeline, Run, SyncState, Watch
from windsock.pipelines.models import Pipeline as PipelineOut  # the fields are the contract's, whoever fills them
from windsock.providers.airflow import pipeline_url, run_url
from windsock.runs.models import Run as RunOut

OPTIONS = "-c search_path=windsock -c timezone=UTC -c jit=off"


async def connect() -> psycopg.AsyncConnection[Any]:
    return await psycopg.AsyncConnection.connect(os.environ["BENCH_DATABASE_URL"], options=OPTIONS)


engine = create_async_engine("postgresql+psycopg://", pool_size=10, max_overflow=0, async_creator=connect)
sessions = async_sessionmaker(engine, expire_on_commit=False)
app = FastAPI()


class Caller(BaseModel):
    user_id: UUID
    space_id: UUID


async def get_session() -> AsyncIterator[AsyncSession]:
    async with sessions() as session:
        yield session


Session = Annotated[AsyncSession, Depends(get_session)]


async def get_caller(slug: str, session: Session, authorization: Annotated[str, Header()]) -> Caller:
    digest = hashlib.sha256(authorization.removeprefix("Bearer ").encode()).digest()
    # The role may not read keys; the product's own function is asked, as a conventional stack would ask its tables.
    row = (
        await session.execute(
            text("SELECT user_id, space_id, role FROM authorize(:hash, :slug)"), {"hash": digest, "slug": slug}
        )
    ).one_or_none()
    if row is None or row.role is None:
        raise HTTPException(403)
    await session.execute(text("SELECT set_config('windsock.space_id', :space, true)"), {"space": str(row.space_id)})
    return Caller(user_id=row.user_id, space_id=row.space_id)


IsCaller = Annotated[Caller, Depends(get_caller)]


@app.get("/api/v1.0/spaces/{slug}/orchestration/pipelines", response_model=list[PipelineOut])
async def list_pipelines(
    caller: IsCaller, session: Session, response: Response, days: int = 7, page: int = 1, size: int = 100
) -> list[dict[str, Any]]:
    mine = Pipeline.space_id == caller.space_id
    total = await session.scalar(select(func.count()).select_from(Pipeline).where(mine))
    found = (
        await session.scalars(
            select(Pipeline)
            .where(mine)
            .options(
                selectinload(Pipeline.connector), selectinload(Pipeline.team), selectinload(Pipeline.recent_runs_row)
            )
            .order_by(Pipeline.name, Pipeline.id)
            .limit(size)
            .offset((page - 1) * size)
        )
    ).all()
    ids = [row.id for row in found]
    since = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(days=days)
    ended = and_(Run.space_id == caller.space_id, Run.pipeline_id.in_(ids), Run.ended_at >= since)
    numbers = {
        row.pipeline_id: row
        for row in await session.execute(
            select(
                Run.pipeline_id,
                func.count().label("total"),
                func.count().filter(Run.status == "success").label("success"),
                func.count().filter(Run.status == "failed").label("failed"),
                func.avg(Run.duration_seconds).label("average"),
                func.percentile_cont(0.5).within_group(Run.duration_seconds).label("p50"),
                func.percentile_cont(0.95).within_group(Run.duration_seconds).label("p95"),
            )
            .where(ended)
            .group_by(Run.pipeline_id)
        )
    }
    running = dict(
        (
            await session.execute(
                select(Run.pipeline_id, func.count())
                .where(Run.space_id == caller.space_id, Run.pipeline_id.in_(ids), Run.status.in_(("queued", "running")))
                .where(Run.removed_at.is_(None))
                .group_by(Run.pipeline_id)
            )
        )
        .tuples()
        .all()
    )
    watched = set(
        await session.scalars(
            select(Watch.pipeline_id).where(Watch.user_id == caller.user_id, Watch.pipeline_id.in_(ids))
        )
    )
    states = {scalar.connector_id: scalar for scalar in await session.scalars(select(SyncState))}
    response.headers["X-Total-Count"] = str(total)
    return [_pipeline(row, numbers.get(row.id), running.get(row.id, 0), watched, states, days) for row in found]


def _pipeline(
    pipeline: Pipeline,
    numbers: Any,  # noqa: ANN401 - a row
    running: int,
    watched: set[UUID],
    states: dict[UUID, SyncState],
    days: int,
) -> dict[str, Any]:
    state = states[pipeline.connector_id]
    ended = numbers.success + numbers.failed if numbers else 0
    return {
        **{column.name: getattr(pipeline, column.name) for column in Pipeline.__table__.columns},
        "connector": {"id": pipeline.connector.id, "name": pipeline.connector.name},
        "team": pipeline.team and {"id": pipeline.team.id, "name": pipeline.team.name},
        "is_watched": pipeline.id in watched,
        "is_next_run_due": pipeline.next_run_at is not None and pipeline.next_run_at <= datetime.now(UTC),
        "is_overdue": _is_overdue(pipeline, state),
        "recent_runs": pipeline.recent_runs_row.recent_runs if pipeline.recent_runs_row else [],
        "last_synced_at": max(pipeline.last_synced_at, state.last_complete_at or pipeline.last_synced_at),
        "provider_url": pipeline_url(pipeline.connector.config["base_url"], state.api_version, pipeline.external_id),
        "summary": {
            "days": days,
            "total_runs": numbers.total if numbers else 0,
            "success_count": numbers.success if numbers else 0,
            "failed_count": numbers.failed if numbers else 0,
            "running_count": running,
            "success_rate": numbers.success / ended if ended else None,
            "avg_duration_seconds": numbers.average if numbers else None,
            "p50_duration_seconds": numbers.p50 if numbers else None,
            "p95_duration_seconds": numbers.p95 if numbers else None,
        },
    }


def _is_overdue(pipeline: Pipeline, state: SyncState) -> bool:
    at, listed_at = pipeline.next_run_at, state.pipelines_listed_at
    is_held = pipeline.is_paused or pipeline.is_draining or not pipeline.is_active
    if at is None or listed_at is None or is_held:
        return False
    return bool(at < datetime.now(UTC) and at < listed_at - timedelta(minutes=2))


@app.get("/api/v1.0/spaces/{slug}/orchestration/pipelines/{pipeline_id}/runs", response_model=list[RunOut])
async def list_runs(
    caller: IsCaller, session: Session, response: Response, pipeline_id: UUID, page: int = 1, size: int = 100
) -> list[dict[str, Any]]:
    mine = and_(Run.space_id == caller.space_id, Run.pipeline_id == pipeline_id, Run.removed_at.is_(None))
    total = await session.scalar(select(func.count()).select_from(Run).where(mine))
    found = (
        await session.scalars(
            select(Run)
            .where(mine)
            .options(selectinload(Run.pipeline).selectinload(Pipeline.connector))
            .order_by(Run.effective_start_at.desc(), Run.id.desc())
            .limit(size)
            .offset((page - 1) * size)
        )
    ).all()
    comments = {
        row.run_id: (row.of_run, row.of_tasks)
        for row in await session.execute(
            select(
                Comment.run_id,
                func.count().filter(Comment.task_run_id.is_(None)).label("of_run"),
                func.count(Comment.task_run_id).label("of_tasks"),
            )
            .where(Comment.run_id.in_([row.id for row in found]))
            .group_by(Comment.run_id)
        )
    }
    states = {scalar.connector_id: scalar for scalar in await session.scalars(select(SyncState))}
    response.headers["X-Total-Count"] = str(total)
    return [_run(row, comments.get(row.id, (0, 0)), states) for row in found]


def _run(item: Run, comments: tuple[int, int], states: dict[UUID, SyncState]) -> dict[str, Any]:
    state, pipeline = states[item.pipeline.connector_id], item.pipeline
    return {
        **{column.name: getattr(item, column.name) for column in Run.__table__.columns},
        "pipeline": {"id": pipeline.id, "name": pipeline.name},
        "provider": pipeline.provider,
        "triggered_by_user": None,
        "comment_count": comments[0],
        "task_comment_count": comments[1],
        "failure": None,  # the fleet has no logs
        "is_archived": item.archived_at is not None,
        "last_synced_at": max(item.last_synced_at, state.last_complete_at or item.last_synced_at),
        "provider_url": run_url(
            pipeline.connector.config["base_url"], state.api_version, pipeline.external_id, item.external_id
        ),
    }
