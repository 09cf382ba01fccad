"""The tables as SQLAlchemy's ORM sees them, for the conventional stack."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import DateTime, Float, ForeignKey, Text, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class Base(DeclarativeBase):
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy's own way
        datetime: DateTime(timezone=True),
        dict[str, Any]: JSONB,
        list[str]: ARRAY(text("text").type),
    }


class Connector(Base):
    __tablename__ = "connectors"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str]
    config: Mapped[dict[str, Any]]


class SyncState(Base):
    __tablename__ = "sync_states"
    connector_id: Mapped[UUID] = mapped_column(ForeignKey("connectors.id"), primary_key=True)
    api_version: Mapped[Any] = mapped_column(Text)
    last_complete_at: Mapped[datetime | None]
    pipelines_listed_at: Mapped[datetime | None]


class Team(Base):
    __tablename__ = "teams"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str]


class Watch(Base):
    __tablename__ = "watches"
    pipeline_id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(primary_key=True)


class RecentRuns(Base):
    __tablename__ = "pipeline_recent_runs"
    pipeline_id: Mapped[UUID] = mapped_column(ForeignKey("pipelines.id"), primary_key=True)
    recent_runs: Mapped[list[Any]] = mapped_column(JSONB)


class Pipeline(Base):
    __tablename__ = "pipelines"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    space_id: Mapped[UUID]
    connector_id: Mapped[UUID] = mapped_column(ForeignKey("connectors.id"))
    team_id: Mapped[UUID | None] = mapped_column(ForeignKey("teams.id"))
    provider: Mapped[str]
    external_id: Mapped[str]
    name: Mapped[str]
    description: Mapped[str | None]
    owner: Mapped[str | None]
    owners: Mapped[list[str]]
    tags: Mapped[list[str]]
    schedule: Mapped[str | None]
    schedule_description: Mapped[str | None]
    next_run_at: Mapped[datetime | None]
    is_paused: Mapped[bool]
    is_draining: Mapped[bool]
    is_active: Mapped[bool]
    has_import_errors: Mapped[bool]
    status: Mapped[str]
    criticality: Mapped[str]
    last_run: Mapped[dict[str, Any] | None]
    last_synced_at: Mapped[datetime]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    connector: Mapped[Connector] = relationship()
    team: Mapped[Team | None] = relationship()
    recent_runs_row: Mapped[RecentRuns | None] = relationship()


class Run(Base):
    __tablename__ = "runs"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    space_id: Mapped[UUID]
    pipeline_id: Mapped[UUID] = mapped_column(ForeignKey("pipelines.id"))
    external_id: Mapped[str]
    status: Mapped[str]
    run_type: Mapped[str]
    effective_start_at: Mapped[datetime]
    queued_at: Mapped[datetime | None]
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    duration_seconds: Mapped[float | None] = mapped_column(Float)
    run_after: Mapped[datetime | None]
    logical_date: Mapped[datetime | None]
    data_interval_start: Mapped[datetime | None]
    data_interval_end: Mapped[datetime | None]
    conf: Mapped[dict[str, Any]]
    note: Mapped[str | None]
    triggered_by: Mapped[str | None]
    task_counts: Mapped[dict[str, Any]]
    removed_at: Mapped[datetime | None]
    archived_at: Mapped[datetime | None]
    last_synced_at: Mapped[datetime]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    pipeline: Mapped[Pipeline] = relationship()


class Comment(Base):
    __tablename__ = "comments"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    run_id: Mapped[UUID]
    task_run_id: Mapped[UUID | None]
