"""Columns of pipelines as CSV."""

from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any

import orjson

from windsock.http.csv_export import Columns

SUMMARY = (
    "days", "total_runs", "success_count", "failed_count", "running_count", "success_rate", "avg_duration_seconds",
    "p50_duration_seconds", "p95_duration_seconds",
)  # fmt: skip


def _nested(name: str, key: str) -> Callable[[Mapping[str, Any]], object]:
    return lambda row: row[name] and row[name][key]


def _last_run(key: str) -> Callable[[Mapping[str, Any]], object]:
    return lambda row: row["last_run"] and orjson.loads(row["last_run"])[key]


COLUMNS: Columns = {
    **{name: itemgetter(name) for name in ("id", "name", "external_id")},
    "connector": _nested("connector", "name"),
    "team": _nested("team", "name"),
    **{
        name: itemgetter(name)
        for name in (
            "owner", "tags", "criticality", "status", "is_paused", "is_draining", "is_active", "has_import_errors",
            "schedule", "next_run_at",
        )
    },
    **{f"last_run_{key}": _last_run(key) for key in ("status", "started_at", "ended_at", "duration_seconds")},
    **{name: _nested("summary", name) for name in SUMMARY},
    **{name: itemgetter(name) for name in ("provider_url", "last_synced_at")},
}  # fmt: skip
