"""The warnings of a sync that name the rows which the mirror lacks."""

from windsock.db.database import Transaction
from windsock.providers.base import SkippedRow
from windsock.providers.scopes import NOT_MAPPED
from windsock.sync.progress import Progress
from windsock.sync.skipped_rows import MAX_REASON_LENGTH, QUERIES, ids_of, skipped_row

MAX_NAME_LENGTH = 250
MAX_NAMED = 20
"""Warnings of one sync."""


def warning_of(row: SkippedRow) -> str:
    """Names DAG, run and task as far as they are known, and the reason."""
    dag, run = _named("DAG", row.pipeline_external_id), _named("run", row.run_external_id)
    of_dag = f" of {dag}" if row.pipeline_external_id else ""
    of_run = f" of {run}{of_dag}" if row.run_external_id else of_dag
    if row.kind == "pipelines":
        subject = dag
    elif row.kind == "runs":
        subject = f"{run}{of_dag}"
    else:
        is_mapped = row.map_index is not None and row.map_index != NOT_MAPPED
        index = f"[{row.map_index}]" if is_mapped else ""
        region_id, region_index = ids_of(row)["region_id"], ids_of(row)["region_index"]
        of_region = "" if region_index in {None, row.map_index} else f", index {region_index}"
        region = f" (region {region_id[:MAX_NAME_LENGTH]}{of_region})" if region_id else ""
        subject = f"{_named('task', row.task_external_id)}{index}{region}{of_run}"
    subject = subject[0].upper() + subject[1:]
    reason = row.reason.replace("\0", "\ufffd")[:MAX_REASON_LENGTH].rstrip(". ")
    if row.fields:
        return f"{subject} is stored without {', '.join(row.fields)}: {reason}."
    return f"{subject} is left as it was or left out: {reason}."


def _named(noun: str, external_id: str | None) -> str:
    return f"{noun} {external_id[:MAX_NAME_LENGTH]}" if external_id else f"a {noun} that Airflow does not name"


async def warn_of_skipped(tx: Transaction, progress: Progress) -> None:
    """Name the rows that the mirror lacks at the end of a sync, whichever sync met them."""
    names = {"space_id": progress.space_id, "connector_id": progress.connector_id}
    rows = await tx.fetch_all(QUERIES["summarize_skipped_rows"], **names, most=MAX_NAMED)
    progress.skipped = rows[0]["total"] if rows else 0
    for row in rows:
        progress.warn(warning_of(skipped_row(row)))
    if progress.skipped > len(rows):
        progress.warn(
            f"And {progress.skipped - len(rows)} more rows of Airflow could not be read or stored completely."
        )
