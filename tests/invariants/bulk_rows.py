"""More rows of everything in finance, as alike as they may be: of one moment, of one name."""

from conftest import RolledBackDatabase
from factories import TwoTenants

MORE = 16
"""At least twice what the world has of any list, so that there is three times as much afterwards."""

OUTSIDE = [
    """
    INSERT INTO users (email, name) SELECT 'more' || n || '@example.com', 'More' FROM generate_series(1, %(more)s) n
    """,
    """
    INSERT INTO spaces (slug, name) SELECT 'more-' || n, 'More' FROM generate_series(1, %(more)s) n
    """,
    """
    INSERT INTO api_keys (user_id, name, key_prefix, key_hash)
    SELECT %(superadmin)s, 'more', 'wsk_more', sha256(n::text::bytea) FROM generate_series(1, %(more)s) n
    """,
]
INSIDE = [
    """
    INSERT INTO memberships (space_id, user_id, role) SELECT %(space_id)s, id, 'viewer' FROM users WHERE name = 'More'
    """,
    """
    INSERT INTO connectors (space_id, name, connector_type)
    SELECT %(space_id)s, 'more ' || n, 'salesforce' FROM generate_series(1, %(more)s) n
    """,
    """
    INSERT INTO sync_runs (space_id, connector_id, status, trigger, warnings)
    SELECT %(space_id)s, %(connector_id)s, 'complete', 'schedule', '["slow"]' FROM generate_series(1, %(more)s)
    """,
    """
    INSERT INTO pipelines (space_id, connector_id, external_id, name, description, is_paused, is_active,
                           has_import_errors)
    SELECT %(space_id)s, %(connector_id)s, 'more_' || n, 'more', 'déjà vu & 100%% = +', false, true, false
    FROM generate_series(1, %(more)s) n
    """,
    """
    INSERT INTO runs (space_id, pipeline_id, external_id, status, run_type, run_at, ended_at)
    SELECT %(space_id)s, p.id, 'more_' || n, 'success', 'manual', now(), now()
    FROM pipelines p, generate_series(1, %(more)s) n
    WHERE p.name IN ('more', 'daily_report')
    """,
    """
    INSERT INTO task_runs (space_id, run_id, external_id, name, status, try_number, max_tries)
    SELECT %(space_id)s, %(run_id)s, 'more_' || n, 'more', 'success', 1, 0 FROM generate_series(1, %(more)s) n
    """,
    """
    INSERT INTO comments (space_id, run_id, author_id, content)
    SELECT %(space_id)s, %(run_id)s, %(superadmin)s, 'more' FROM generate_series(1, %(more)s)
    """,
    """
    INSERT INTO comments (space_id, run_id, task_run_id, author_id, content)
    SELECT %(space_id)s, %(run_id)s, %(task_run_id)s, %(superadmin)s, 'more' FROM generate_series(1, %(more)s)
    """,
    """
    INSERT INTO actions (space_id, kind, pipeline_id, run_id, user_id, body_hash, lease_until, outcome)
    SELECT %(space_id)s, 'clear', r.pipeline_id, r.id, %(superadmin)s, '', now(), 'done'
    FROM runs r, generate_series(1, %(more)s)
    WHERE r.id = %(run_id)s
    """,
    """
    INSERT INTO channels (space_id, name, kind, config)
    SELECT %(space_id)s, 'more ' || n, 'email', '{"to": []}' FROM generate_series(1, %(more)s) n
    """,
    """
    INSERT INTO notification_rules (space_id, name)
    SELECT %(space_id)s, 'more ' || n FROM generate_series(1, %(more)s) n
    """,
    """
    INSERT INTO messages (space_id, channel_id, event, dedup_key, reason)
    SELECT %(space_id)s, c.id, 'test', n::text, 'more'
    FROM channels c, generate_series(1, %(more)s) n WHERE c.name = 'more 1'
    """,
    """
    INSERT INTO import_errors (space_id, connector_id, filename, stack_trace, since)
    SELECT %(space_id)s, %(connector_id)s, 'more_' || n || '.py', 'KeyError', now() FROM generate_series(1, %(more)s) n
    """,
    """
    INSERT INTO saved_views (space_id, user_id, name, query)
    SELECT %(space_id)s, %(superadmin)s, 'more ' || n, '' FROM generate_series(1, %(more)s) n
    """,
    """
    INSERT INTO fingerprints (space_id, pipeline_id, hash, algorithm_version, title, grouped_by, first_seen_at,
                              last_seen_at)
    SELECT %(space_id)s, p.id, sha256(n::text::bytea), 1, 'more', 'more', now(), now()
    FROM pipelines p, generate_series(1, %(more)s) n
    WHERE p.name = 'daily_report'
    """,
    """
    INSERT INTO task_failures (space_id, run_id, task_run_id, try_number, failed_at, summary, excerpt,
                               algorithm_version, fingerprint_id, computed_fingerprint_id, message_hash)
    SELECT %(space_id)s, %(run_id)s, %(task_run_id)s, 100 + n, now(), 'more', 'more', 1, g.id, g.id, sha256('more')
    FROM (SELECT id FROM fingerprints WHERE title = 'ValueError: no rows' ORDER BY occurrences DESC, id LIMIT 1) g,
         generate_series(1, %(more)s) n
    """,
    """
    INSERT INTO bulk_clear_runs (space_id, bulk_clear_id, run_id, place, task_run_count, task_ids)
    SELECT %(space_id)s, b.id, r.id, 1, 1, '{load}'
    FROM bulk_clears b, runs r
    WHERE r.external_id LIKE 'more%%'
    """,
    """
    INSERT INTO incidents (space_id, connector_id, pipeline_id, kind, opened_at, last_failed_at)
    SELECT %(space_id)s, %(connector_id)s, p.id, 'failed', now(), now() FROM pipelines p WHERE p.name = 'more'
    """,
    """
    INSERT INTO incident_events (space_id, incident_id, kind)
    SELECT %(space_id)s, i.id, 'failed_again'
    FROM incidents i JOIN pipelines p ON p.id = i.pipeline_id, generate_series(1, %(more)s)
    WHERE p.name = 'daily_report'
    """,
    """
    INSERT INTO teams (space_id, name) SELECT %(space_id)s, 'more ' || n FROM generate_series(1, %(more)s) n
    """,
]


async def grow(db: RolledBackDatabase, tenants: TwoTenants) -> None:
    """Three times as much of everything that a superadmin can list in finance; a new kind of thing is added above."""
    values = {
        "more": MORE,
        "space_id": tenants.finance.id,
        "connector_id": tenants.finance.connector_id,
        "run_id": tenants.finance.run_id,
        "task_run_id": tenants.finance.task_run_id,
        "superadmin": tenants.users["superadmin"],
    }
    async with db.transaction():
        for statement in OUTSIDE:
            await db.connection.execute(statement.encode(), values)
    async with db.tenant_transaction(tenants.finance.id):
        for statement in INSIDE:
            await db.connection.execute(statement.encode(), values)
