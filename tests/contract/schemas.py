"""The shapes of the published contract, word for word; the keys are read from the text."""

import re

TEXT = """
Pipeline   id space_id provider("airflow") external_id(dag_id) name description
           connector_id connector{id,name} owner(raw provider string) owners[] tags[]
           schedule schedule_description next_run_at is_next_run_due is_paused is_active has_import_errors
           status criticality team_id team{id,name}|null is_watched
           last_run RunSummary|null   recent_runs [RunSummary] (the newest 14, oldest first)
           summary {days total_runs success_count failed_count running_count success_rate
                    avg_duration_seconds p50_duration_seconds p95_duration_seconds}
           provider_url last_synced_at created_at updated_at
           provider_metadata{} (only when one pipeline is fetched)
RunSummary   id external_id status run_type started_at ended_at duration_seconds
Run        RunSummary + pipeline_id pipeline{id,name} space_id provider queued_at run_after logical_date
           data_interval_start data_interval_end conf{} note
           triggered_by(provider's user) triggered_by_user{id,name}|null (ours)
           task_counts{status: n} comment_count provider_url last_synced_at created_at updated_at
           provider_metadata{} and task_runs[TaskRun] (only when one run is fetched)
TaskRun    id run_id external_id(task_id) name map_index(null if not mapped) operator status
           try_number max_tries queued_at started_at ended_at duration_seconds pool queue hostname note
           comment_count provider_url provider_metadata{}
Comment    id content resource_type("pipeline_run"|"task_run") resource_id author_id author{id,name}
           parent_id is_edited created_at updated_at
SyncRun    id connector_id status trigger("manual"|"schedule") is_full queued_at started_at finished_at
           pipelines{created,updated,unchanged,removed} runs{...} task_runs{...}
           provider_requests coverage{expected,read,skipped} warnings[] error
Connector  id name connector_type config{} is_active source_system_id product_count(= pipelines) last_sync
           last_sync_status created_at updated_at        (credentials are write-only, never returned)
"""
"""As in the contract."""

ONLY_OF_ONE = {"provider_metadata", "task_runs"}
"""What the contract gives only when one pipeline or run is fetched."""


def _keys(text: str) -> set[str]:
    text = re.sub(r"\([^)]*\)", " ", text)  # remarks
    text = re.sub(r"(\w+)\s*(\{[^}]*\}|\[[^\]]*\])", r" \1 ", text)  # what is inside is looked at elsewhere
    words = re.findall(r"\b[a-z_]\w*", re.sub(r"\|\s*null", " ", text))
    return set(words) - {"and", "null"}


def _shapes() -> dict[str, set[str]]:
    named: dict[str, str] = {}
    for line in TEXT.strip("\n").splitlines():
        if not line.startswith(" "):
            name, _, line = line.partition(" ")  # noqa: PLW2901 - the rest of the line
            named[name] = ""
        named[name] += f" {line}"
    shapes = {name: _keys(text) for name, text in named.items()}
    shapes["Run"] |= shapes["RunSummary"]
    return shapes


SHAPES = _shapes()
