"""A fleet of made-up pipelines in twenty spaces, one of which holds half: the same rows each time."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

import psycopg

from windsock.connectors.encryption import Encryption
from windsock.connectors.models import ConnectorIn
from windsock.connectors.store import create_connector
from windsock.db.queries import Query
from windsock.spaces.store import create_key, create_space, create_user, upsert_member
from windsock.sync.writer import REFRESH

if TYPE_CHECKING:
    from collections.abc import Callable

    from windsock.db.database import Database

SPACES, DAYS, SHARE = 20, 30, 0.5
AT_ONCE = 250
"""Pipelines in one statement."""
LARGE_RUNS = (1_000, 5_000, 10_000)
"""Task runs of two runs of the large space's first pipeline."""


@dataclass(frozen=True, slots=True)
class Size:
    """`task_runs`: of each of the newest `with_tasks` runs of a pipeline."""

    name: str
    pipelines: int
    runs_each: int
    task_runs: int
    with_tasks: int

    @property
    def pipelines_of_largest(self) -> int:
        """Of the space that holds half."""
        return int(self.pipelines * SHARE)


SIZES = {
    size.name: size
    for size in (
        Size("XS", 100, 60, 4, 20),
        Size("S", 250, 360, 4, 360),
        Size("M", 2_500, 360, 4, 360),
        Size("L", 10_000, 450, 4, 450),
    )
}


@dataclass(slots=True)
class Fleet:
    """What a caller needs: the key of a member of all spaces, and where the interesting things are."""

    key: str
    user_id: UUID
    space_id: UUID
    slug: str
    pipeline_id: UUID
    large_runs: dict[int, UUID]
    seconds: dict[str, float]
    counts: dict[str, int]


PIPELINES = """
INSERT INTO pipelines (space_id, id, connector_id, external_id, name, description, owner, owners, tags, schedule,
                       schedule_description, is_paused, is_active, has_import_errors, criticality)
SELECT %(space_id)s, made_id('pipeline', %(first)s + n), %(connector_id)s, 'dag_' || lpad(n::text, 6, '0'),
       'dag_' || lpad(n::text, 6, '0'), 'Loads table ' || n || ' and checks it.', 'team_' || n %% 12,
       ARRAY['team_' || n %% 12], ARRAY['area_' || n %% 7, 'tier_' || n %% 3], '0 * * * *', 'Every hour',
       n %% 40 = 0, true, false, (ARRAY['low', 'medium', 'high', 'critical'])[1 + n %% 4]
FROM generate_series(1, %(many)s) n
"""
SEARCH = """
INSERT INTO pipeline_search (space_id, pipeline_id, search)
SELECT space_id, id,
       search_text(name, external_id, description, search_text(VARIADIC owners), search_text(VARIADIC tags))
FROM pipelines WHERE space_id = %(space_id)s
"""
RUNS = """
INSERT INTO runs (space_id, id, pipeline_id, external_id, status, run_type, run_at, queued_at, started_at, ended_at,
                  run_after, logical_date, data_interval_start, data_interval_end, task_counts)
SELECT p.space_id, made_id(p.id::text, n), p.id, 'scheduled__' || to_char(w.at, 'YYYY-MM-DD"T"HH24:MI:SS'), w.status,
       CASE WHEN n %% 17 = 0 THEN 'manual' ELSE 'scheduled' END, w.at, w.at, w.at + interval '2 s',
       CASE WHEN w.status <> 'running' THEN w.at + interval '2 s' + make_interval(secs => w.seconds) END, w.at, w.at,
       w.at - interval '1 hour', w.at,
       CASE WHEN n > %(with_tasks)s THEN '{}'::jsonb
            WHEN w.status = 'failed' THEN jsonb_build_object('success', %(task_runs)s - 1, 'failed', 1)
            ELSE jsonb_build_object('success', %(task_runs)s) END
FROM pipelines p, generate_series(1, %(runs_each)s) n,
     LATERAL (SELECT abs(hashtext(p.id::text || n)) AS luck, abs(hashtext(p.id::text)) AS kind) h,
     LATERAL (SELECT %(now)s - (n - 1) * make_interval(secs => %(days)s * 86400.0 / %(runs_each)s)
                     - make_interval(secs => h.kind %% 3000) AS at,
                     CASE WHEN n = 1 AND h.kind %% 10 = 0 THEN 'running' WHEN h.luck %% 25 = 0 THEN 'failed'
                          ELSE 'success' END AS status,
                     (5 + h.kind %% 900) * (0.6 + (h.luck %% 1000) / 800.0) AS seconds) w
WHERE p.space_id = %(space_id)s AND p.id = ANY (%(ids)s)
"""
TASK_RUNS = """
INSERT INTO task_runs (space_id, id, run_id, external_id, map_index, name, operator, status, try_number, max_tries,
                       queued_at, started_at, ended_at, pool, queue, hostname)
SELECT r.space_id, made_id(r.id::text, k), r.id, 'task_' || k, -1, 'task_' || k, 'PythonOperator',
       CASE WHEN k = %(task_runs)s AND r.status = 'failed' THEN 'failed' ELSE 'success' END, 1, 2, r.started_at,
       r.started_at, coalesce(r.ended_at, r.started_at), 'default_pool', 'default', 'worker-' || k
FROM pipelines p
CROSS JOIN LATERAL (SELECT * FROM runs x WHERE x.space_id = p.space_id AND x.pipeline_id = p.id
                    ORDER BY x.effective_start_at DESC LIMIT %(with_tasks)s) r, generate_series(1, %(task_runs)s) k
WHERE p.space_id = %(space_id)s AND p.id = ANY (%(ids)s)
"""
LARGE = """
INSERT INTO task_runs (space_id, run_id, external_id, map_index, name, operator, status, try_number, max_tries,
                       queued_at, started_at, ended_at, pool, queue, hostname)
SELECT r.space_id, r.id, 'large_' || k %% 50, k / 50, 'large_' || k %% 50, 'PythonOperator', 'success', 1, 2,
       r.started_at, r.started_at + make_interval(secs => k %% 300),
       r.started_at + make_interval(secs => k %% 300 + 20), 'default_pool', 'default', 'worker-' || k %% 20
FROM runs r, generate_series(0, %(many)s - 1) k
WHERE r.space_id = %(space_id)s AND r.id = %(run_id)s
"""
DAILY_STATS = """
INSERT INTO pipeline_daily_stats
SELECT d.space_id, d.pipeline_id, d.day, s.*
FROM (SELECT DISTINCT space_id, pipeline_id, utc_day(ended_at) AS day FROM runs
      WHERE space_id = %(space_id)s AND pipeline_id = ANY (%(ids)s) AND ended_at IS NOT NULL) d
CROSS JOIN LATERAL run_stats(d.space_id, d.pipeline_id, utc_midnight(d.day), utc_midnight(d.day + 1)) s
"""
COUNTS = """
INSERT INTO pipeline_run_counters (space_id, pipeline_id, status, run_type, total)
SELECT space_id, pipeline_id, status, run_type, count(*) FROM runs
WHERE space_id = %(space_id)s AND pipeline_id = ANY (%(ids)s) GROUP BY 1, 2, 3, 4
"""
HOURS_OF_SPACE = """
INSERT INTO space_hourly_run_counters (space_id, hour, slot, status, run_type, total)
SELECT space_id, trunc_hour_utc(effective_start_at), '00000000-0000-0000-0000-000000000000', status, run_type, count(*)
FROM runs WHERE space_id = %(space_id)s GROUP BY 1, 2, 4, 5
"""
VERSION = "INSERT INTO space_versions (space_id, version) VALUES (%(space_id)s, 0)"
IDS = """
CREATE FUNCTION pg_temp.made_id(kind text, n bigint) RETURNS uuid LANGUAGE sql IMMUTABLE AS
$$ SELECT overlay(overlay(md5(kind || ':' || n) placing '7' from 13) placing '8' from 17)::uuid $$
"""


async def seed(db: Database, superuser_url: str, size: Size, secret_key: str, say: Callable[[str], None]) -> Fleet:
    """Users, spaces and connectors as the product makes them; the rest by SQL, triggers off, in the order of time."""
    started = time.monotonic()
    seconds: dict[str, float] = {}
    spaces = await _spaces(db, secret_key)
    many_large = size.pipelines_of_largest
    left = size.pipelines - many_large
    many = [many_large] + [left // (SPACES - 1) + (place < left % (SPACES - 1)) for place in range(SPACES - 1)]
    with psycopg.connect(superuser_url, autocommit=True) as connection:
        connection.execute(
            "SET search_path = windsock, pg_temp; SET timezone = 'UTC'; SET session_replication_role = replica"
        )
        connection.execute("SET synchronous_commit = off; SET work_mem = '256MB'; SET maintenance_work_mem = '512MB'")
        connection.execute(IDS)
        (now,) = connection.execute("SELECT date_trunc('minute', now()) - interval '5 minutes'").fetchone() or (None,)
        first = 0
        for (space_id, connector_id), some in zip(spaces.ids, many, strict=True):
            names: dict[str, Any] = {
                "space_id": space_id, "connector_id": connector_id, "many": some, "first": first, "now": now,
                "days": DAYS, "runs_each": size.runs_each, "task_runs": size.task_runs, "with_tasks": size.with_tasks,
            }  # fmt: skip
            connection.execute(_in_session(PIPELINES), names)
            connection.execute(SEARCH.encode(), names)
            first += some
            ids = [
                row[0]
                for row in connection.execute(
                    "SELECT id FROM pipelines WHERE space_id = %s ORDER BY name", (space_id,)
                ).fetchall()
            ]
            for start in range(0, len(ids), AT_ONCE):
                part = names | {"ids": ids[start : start + AT_ONCE], "pipeline_ids": ids[start : start + AT_ONCE]}
                for what, statement in (
                    ("runs", RUNS),
                    ("task runs", TASK_RUNS),
                    ("daily stats", DAILY_STATS),
                    ("counts", COUNTS),
                    ("recent runs", str(REFRESH["refresh_pipelines"])),
                ):
                    at = time.monotonic()
                    connection.execute(_in_session(statement), part)
                    seconds[what] = seconds.get(what, 0.0) + time.monotonic() - at
            for statement in (HOURS_OF_SPACE, VERSION):
                connection.execute(_in_session(statement), names)
            say(f"{some} pipelines after {time.monotonic() - started:.0f} s")
        space_id, _ = spaces.ids[0]
        large, pipeline_id = _large_runs(connection, space_id)
        connection.execute("SET session_replication_role = origin")
        at = time.monotonic()
        connection.execute("VACUUM (ANALYZE)")
        connection.execute("CHECKPOINT")
        seconds["vacuum"] = time.monotonic() - at
        counts = {
            table: (connection.execute(f"SELECT count(*) FROM {table}").fetchone() or (0,))[0]  # noqa: S608 - our own names
            for table in ("pipelines", "runs", "task_runs", "pipeline_daily_stats")
        }
    seconds["all"] = time.monotonic() - started
    return Fleet(
        spaces.key, spaces.user_id, space_id, "bench-01", pipeline_id, large,
        {what: round(taken, 1) for what, taken in seconds.items()}, counts,
    )  # fmt: skip


@dataclass(slots=True)
class _Spaces:
    key: str
    user_id: UUID
    ids: list[tuple[UUID, UUID]]


async def _spaces(db: Database, secret_key: str) -> _Spaces:
    secrets, ids = Encryption([secret_key]), []
    async with db.transaction() as tx:
        user = await create_user(tx, email="bench@example.com", name="Bench", is_superadmin=False)
        key = await create_key(tx, user["id"], name="bench", expires_in_days=None)
        created = [await create_space(tx, slug=f"bench-{n:02}", name=f"Bench {n}") for n in range(1, SPACES + 1)]
    for space in created:
        async with db.tenant_transaction(space["id"]) as tx:
            await upsert_member(tx, space["id"], user["id"], "admin")
            body = ConnectorIn(
                name="production", connector_type="airflow",
                config={"base_url": "http://127.0.0.1:9"}, credentials={"auth_type": "none"},
            )  # fmt: skip
            connector = await create_connector(tx, space["id"], body, secrets)
            await tx.execute(
                Query(
                    "UPDATE sync_states SET api_version = 'v2', last_complete_at = now() WHERE space_id = %(space_id)s"
                ),
                space_id=space["id"],
            )
        ids.append((space["id"], connector["id"]))
    return _Spaces(key["full_key"], user["id"], ids)


def _large_runs(connection: psycopg.Connection, space_id: UUID) -> tuple[dict[int, UUID], UUID]:
    """Two runs of the first pipeline get many more task runs; their counts, as the product keeps them."""
    rows = connection.execute(
        "SELECT r.id, r.pipeline_id FROM runs r JOIN pipelines p ON p.space_id = r.space_id AND p.id = r.pipeline_id"
        " WHERE r.space_id = %s AND p.name = 'dag_000001' ORDER BY r.effective_start_at DESC OFFSET 5 LIMIT %s",
        (space_id, len(LARGE_RUNS)),
    ).fetchall()
    large = {many: row[0] for many, row in zip(LARGE_RUNS, rows, strict=True)}
    for many, run_id in large.items():
        connection.execute("DELETE FROM task_runs WHERE space_id = %s AND run_id = %s", (space_id, run_id))
        connection.execute(LARGE.encode(), {"space_id": space_id, "run_id": run_id, "many": many})
    names = {"space_id": space_id, "run_ids": list(large.values())}
    connection.execute(str(REFRESH["refresh_task_counts"]).encode(), names)
    return large, rows[0][1]


def _in_session(statement: str) -> bytes:
    return statement.replace("made_id(", "pg_temp.made_id(").encode()
