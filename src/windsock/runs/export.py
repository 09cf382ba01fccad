"""Columns of runs as CSV."""

from operator import itemgetter

import orjson

from windsock.http.csv_export import Columns

COLUMNS: Columns = {
    "id": itemgetter("id"),
    "pipeline_id": itemgetter("pipeline_id"),
    "pipeline": lambda row: orjson.loads(row["pipeline"])["name"],
    **{
        name: itemgetter(name)
        for name in (
            "external_id", "status", "run_type", "queued_at", "started_at", "ended_at", "duration_seconds", "run_after",
            "logical_date", "triggered_by",
        )
    },
    "triggered_by_user": lambda row: row["triggered_by_user"] and orjson.loads(row["triggered_by_user"])["name"],
    **{name: itemgetter(name) for name in ("note", "comment_count", "provider_url", "removed_at", "last_synced_at")},
}  # fmt: skip
