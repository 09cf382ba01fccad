"""Fills the database of a real Airflow 3 with copies of what it has run: a thousand DAGs, a million task instances."""

from __future__ import annotations

import psycopg

DAGS = """
INSERT INTO dag
SELECT made.*
FROM generate_series(1, %(dags)s::int) n, (SELECT d FROM dag d WHERE dag_id = %(model)s) model,
     jsonb_populate_record(model.d, jsonb_build_object(
         'dag_id', 'bench_' || lpad(n::text, 5, '0'), 'dag_display_name', 'bench_' || lpad(n::text, 5, '0'),
         'is_paused', true, 'is_stale', true)) made
"""
RUNS = """
INSERT INTO dag_run
SELECT made.*
FROM (SELECT n, now() - interval '10 minutes'
                - (%(days)s::int * interval '1 day') * (%(runs)s::int - n)::float8 / %(runs)s::int AS at
      FROM generate_series(%(from)s::int, %(to)s::int) n) s,
     (SELECT r FROM dag_run r WHERE dag_id = %(model)s AND state = 'success' ORDER BY id LIMIT 1) model,
     jsonb_populate_record(model.r, jsonb_build_object(
         'id', %(first_id)s::int + n, 'dag_id', 'bench_' || lpad((1 + n %% %(dags)s::int)::text, 5, '0'),
         'run_id', 'bench__' || n,
         'logical_date', at, 'run_after', at, 'queued_at', at, 'start_date', at + interval '1 s',
         'end_date', at + interval '9 s', 'updated_at', at + interval '9 s', 'data_interval_start', at,
         'data_interval_end', at)) made
"""
TASKS = """
WITH model AS MATERIALIZED (
    SELECT t FROM task_instance t WHERE t.dag_id = %(model)s AND t.state = 'success' LIMIT 1
)
INSERT INTO task_instance
SELECT made.*
FROM dag_run r, generate_series(1, %(tasks)s::int) k, model,
     jsonb_populate_record(model.t, jsonb_build_object(
         'id', gen_random_uuid(), 'dag_id', r.dag_id, 'run_id', r.run_id, 'task_id', 'task_' || k,
         'start_date', r.start_date, 'end_date', r.end_date, 'updated_at', r.updated_at)) made
WHERE r.id > %(first_id)s::int + %(from)s::int - 1 AND r.id <= %(first_id)s::int + %(to)s::int
"""
BATCH = 10_000


def seed(database_url: str, model: str, *, dags: int, runs: int, tasks: int, days: int) -> None:
    """Copies of a DAG `model` that has a successful run; `tasks` for each run, spread over the last `days`."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")  # what refers to what is right by construction
        row = connection.execute("SELECT coalesce(max(id), 0) FROM dag_run").fetchone()
        first_id = row[0] if row else 0
        connection.execute(DAGS, {"dags": dags, "model": model})
        for start in range(1, runs + 1, BATCH):
            names = {
                "dags": dags,
                "runs": runs,
                "tasks": tasks,
                "days": days,
                "model": model,
                "first_id": first_id,
                "from": start,
                "to": min(start + BATCH - 1, runs),
            }
            connection.execute(RUNS, names)
            connection.execute(TASKS, names)
        connection.execute("ANALYZE")
