"""Fills the database of a real Airflow 3 with copies of what it has run: a thousand DAGs, a million task instances."""

from __future__ import annotations

import psycopg

DAGS = """
INSERT INTO dag
SELECT (jsonb_populate_record(NULL::dag, to_jsonb(d) || jsonb_build_object(
    'dag_id', 'bench_' || lpad(n::text, 5, '0'), 'dag_display_name', 'bench_' || lpad(n::text, 5, '0'),
    'is_paused', true, 'is_stale', true))).*
FROM generate_series(1, %(dags)s::int) n, (SELECT * FROM dag WHERE dag_id = %(model)s) d
"""
RUNS = """
INSERT INTO dag_run
SELECT (jsonb_populate_record(NULL::dag_run, to_jsonb(r) || jsonb_build_object(
    'id', %(first_id)s::int + n, 'dag_id', 'bench_' || lpad((1 + n %% %(dags)s::int)::text, 5, '0'),
    'run_id', 'bench__' || n,
    'logical_date', at, 'run_after', at, 'queued_at', at, 'start_date', at + interval '1 s',
    'end_date', at + interval '9 s', 'updated_at', at + interval '9 s', 'data_interval_start', at,
    'data_interval_end', at))).*
FROM (SELECT n, now() - interval '10 minutes'
                - (%(days)s::int * interval '1 day') * (%(runs)s::int - n)::float8 / %(runs)s::int AS at
      FROM generate_series(%(from)s::int, %(to)s::int) n) s,
     (SELECT * FROM dag_run WHERE dag_id = %(model)s AND state = 'success' ORDER BY id LIMIT 1) r
"""
TASKS = """
INSERT INTO task_instance
SELECT (jsonb_populate_record(NULL::task_instance, to_jsonb(t) || jsonb_build_object(
    'id', gen_random_uuid(), 'dag_id', r.dag_id, 'run_id', r.run_id, 'task_id', 'task_' || k,
    'start_date', r.start_date, 'end_date', r.end_date, 'updated_at', r.updated_at))).*
FROM dag_run r, generate_series(1, %(tasks)s::int) k,
     (SELECT t.* FROM task_instance t JOIN dag_run o ON o.dag_id = t.dag_id AND o.run_id = t.run_id
      WHERE t.dag_id = %(model)s AND t.state = 'success' LIMIT 1) t
WHERE r.id > %(first_id)s::int + %(from)s::int - 1 AND r.id <= %(first_id)s::int + %(to)s::int
"""
BATCH = 10_000


def seed(database_url: str, model: str, *, dags: int, runs: int, tasks: int, days: int) -> None:
    """Copies of a DAG `model` that has a successful run; `tasks` for each run, spread over the last `days`."""
    with psycopg.connect(database_url, autocommit=True) as connection:
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
