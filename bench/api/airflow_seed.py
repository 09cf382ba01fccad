"""A space that Windsock holds, in the database of a real Airflow 3: what that has run, with the space's values.

So both are asked about the same DAGs, runs and task instances, and can be compared row by row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

STAGED = {
    "staged_dags": """
        SELECT external_id AS dag_id, name, description, owner, tags, is_paused
        FROM windsock.pipelines WHERE space_id = {space_id}""",
    "staged_runs": """
        SELECT p.external_id AS dag_id, r.external_id AS run_id, r.status AS state, r.run_type, r.queued_at,
               r.started_at, r.ended_at, r.run_after, r.logical_date, r.data_interval_start, r.data_interval_end
        FROM windsock.runs r JOIN windsock.pipelines p ON p.space_id = r.space_id AND p.id = r.pipeline_id
        WHERE r.space_id = {space_id}""",
    "staged_tasks": """
        SELECT p.external_id AS dag_id, r.external_id AS run_id, t.external_id AS task_id, t.map_index, t.operator,
               t.status AS state, t.try_number, t.max_tries, t.queued_at, t.started_at, t.ended_at, t.pool, t.queue,
               t.hostname
        FROM windsock.task_runs t
        JOIN windsock.runs r ON r.space_id = t.space_id AND r.id = t.run_id
        JOIN windsock.pipelines p ON p.space_id = r.space_id AND p.id = r.pipeline_id
        WHERE t.space_id = {space_id}""",
}
COLUMNS = {
    "staged_dags": "dag_id text, name text, description text, owner text, tags text[], is_paused boolean",
    "staged_runs": """
        dag_id text, run_id text, state text, run_type text, queued_at timestamptz, started_at timestamptz,
        ended_at timestamptz, run_after timestamptz, logical_date timestamptz, begin_at timestamptz,
        end_at timestamptz""",
    "staged_tasks": """
        dag_id text, run_id text, task_id text, map_index integer, operator text, state text, try_number integer,
        max_tries integer, queued_at timestamptz, started_at timestamptz, ended_at timestamptz, pool text, queue text,
        hostname text""",
}
DAGS = """
INSERT INTO dag
SELECT made.*
FROM staged_dags s, (SELECT d FROM dag d WHERE dag_id = %(model)s) model,
     jsonb_populate_record(model.d, jsonb_build_object(
         'dag_id', s.dag_id, 'dag_display_name', s.name, 'description', s.description, 'owners', s.owner,
         'is_paused', s.is_paused, 'is_stale', false)) made
"""
TAGS = "INSERT INTO dag_tag (name, dag_id) SELECT unnest(tags), dag_id FROM staged_dags"
PARSED = """
WITH version AS (
    INSERT INTO dag_version
    SELECT made.*
    FROM staged_dags s,
         (SELECT v FROM dag_version v WHERE dag_id = %(model)s ORDER BY version_number DESC LIMIT 1) model,
         jsonb_populate_record(model.v, jsonb_build_object('id', gen_random_uuid(), 'dag_id', s.dag_id)) made
    RETURNING id, dag_id
)
INSERT INTO serialized_dag
SELECT made.*
FROM version, (SELECT s FROM serialized_dag s WHERE dag_id = %(model)s ORDER BY created_at DESC LIMIT 1) model,
     jsonb_populate_record(model.s, jsonb_build_object(
         'id', gen_random_uuid(), 'dag_id', version.dag_id, 'dag_version_id', version.id,
         'data', jsonb_set((model.s).data::jsonb, '{dag,dag_id}', to_jsonb(version.dag_id)))) made
"""
"""Airflow answers for the runs of a DAG only where it has read its file."""
RUNS = """
INSERT INTO dag_run
SELECT made.*
FROM (SELECT s.*, row_number() OVER (ORDER BY run_after, dag_id) AS n FROM staged_runs s) s,
     (SELECT r FROM dag_run r WHERE dag_id = %(model)s AND state = 'success' ORDER BY id LIMIT 1) model,
     (SELECT max(id) AS id FROM dag_run) last,
     jsonb_populate_record(model.r, jsonb_build_object(
         'id', last.id + s.n, 'dag_id', s.dag_id, 'run_id', s.run_id, 'state', s.state, 'run_type', s.run_type,
         'logical_date', s.logical_date, 'run_after', s.run_after, 'queued_at', s.queued_at,
         'start_date', s.started_at, 'end_date', s.ended_at, 'updated_at', coalesce(s.ended_at, s.started_at),
         'data_interval_start', s.begin_at, 'data_interval_end', s.end_at)) made
"""
TASKS = """
WITH model AS MATERIALIZED (
    SELECT t FROM task_instance t WHERE t.dag_id = %(model)s AND t.state = 'success' LIMIT 1
)
INSERT INTO task_instance
SELECT made.*
FROM staged_tasks s, model,
     jsonb_populate_record(model.t, jsonb_build_object(
         'id', gen_random_uuid(), 'dag_id', s.dag_id, 'run_id', s.run_id, 'task_id', s.task_id,
         'task_display_name', s.task_id, 'map_index', s.map_index, 'operator', s.operator, 'state', s.state,
         'try_number', s.try_number, 'max_tries', s.max_tries, 'queued_dttm', s.queued_at,
         'start_date', s.started_at, 'end_date', s.ended_at,
         'duration', extract(epoch FROM s.ended_at - s.started_at), 'updated_at', s.ended_at, 'pool', s.pool,
         'queue', s.queue, 'hostname', s.hostname)) made
"""


def copy_space(windsock_url: str, airflow_url: str, space_id: UUID, model: str, say: Callable[[str], None]) -> None:
    """`model`: a DAG of that Airflow which has a successful run. Nothing of what the Airflow has is changed."""
    with psycopg.connect(windsock_url) as ours, psycopg.connect(airflow_url, autocommit=True) as theirs:
        # What refers to what is right by construction.
        theirs.execute("SET session_replication_role = replica; SET jit = off")
        for table, wanted in STAGED.items():
            theirs.execute(f"CREATE UNLOGGED TABLE {table} ({COLUMNS[table]})".encode())
            selected = sql.SQL(wanted).format(space_id=sql.Literal(space_id))
            out = sql.SQL("COPY ({}) TO STDOUT (FORMAT binary)").format(selected)
            into = sql.SQL("COPY {} FROM STDIN (FORMAT binary)").format(sql.Identifier(table))
            with ours.cursor().copy(out) as reading, theirs.cursor().copy(into) as writing:
                for some in reading:
                    writing.write(some)
        for what, statement in (
            ("DAGs", DAGS), ("tags", TAGS), ("DAGs parsed", PARSED), ("runs", RUNS), ("task instances", TASKS)
        ):  # fmt: skip
            names = {"model": model} if "%(model)s" in statement else None
            say(f"{theirs.execute(statement.encode(), names).rowcount:,} {what} copied to Airflow")
        theirs.execute(f"DROP TABLE {', '.join(STAGED)}".encode())
        theirs.execute("VACUUM (ANALYZE)")
