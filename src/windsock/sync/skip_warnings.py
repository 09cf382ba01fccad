"""Warnings of the rows that the mirror lacks, at the end of each sync."""

from windsock.db.database import Transaction
from windsock.sync.progress import Progress
from windsock.sync.skipped_rows import skipped_row, warning_of
from windsock.sync.skips import QUERIES

MAX_NAMED = 20
"""Warnings of one sync."""


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
