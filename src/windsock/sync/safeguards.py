"""Quarantine: mass deletions, and another Airflow at the same address, wait for confirmation.

Airflow's lists silently hold only what the account may read, so a lost permission looks like a mass deletion.
"""

from datetime import datetime, timedelta
from typing import Any

from psycopg.types.json import Jsonb

from windsock.db.database import Row
from windsock.errors import ProviderCannotTell, ProviderHTTPError, WindsockError
from windsock.sync.progress import QUERIES
from windsock.sync.session import SyncSession
from windsock.sync.times import iso, time

MASS_LOSS, OTHER_AIRFLOW = "mass_loss", "other_airflow"
FEW_PIPELINES, MANY_PIPELINES, FEW_RUNS = 2, 50, 50
FEW_EMPTIED_RUNS = 5
SUSPICIOUS_SHARE = 0.2
MIN_SAMPLES = 3
SAMPLED_DAYS = timedelta(days=30)

Quarantine = dict[str, Any]


class SourceMismatch(WindsockError):
    """Another Airflow answers than the one that this connector mirrors."""

    status = 409


async def verify_source_identity(reading: SyncSession, address: str) -> None:
    """Raise SourceMismatch when runs that this connector's Airflow had are unknown, or began at another moment.

    One witness that agrees is enough; without at least three that disagree, of different pipelines where there are so
    many, nothing is said. DAGs and run ids alone prove nothing: staging often has the same ones.
    """
    disagree = 0
    for sample in reading.state["witnesses"]:
        agrees = await _sample_matches(reading, sample)
        if agrees:
            await _release(reading, OTHER_AIRFLOW)
            return
        disagree += agrees is False
    if disagree < MIN_SAMPLES:
        return
    reason = (
        f"Another Airflow seems to answer at {address}: of {disagree} runs that were mirrored from "
        f"{reading.state['address'] or 'this connector'}, it has none. Nothing was read. Put base_url right, make a "
        "connector of its own for it, or accept it if this Airflow was set up anew."
    )
    await _quarantine(reading, {"kind": OTHER_AIRFLOW, "reason": reason})
    async with reading.db.tenant_transaction(reading.progress.space_id) as tx:
        await tx.execute(QUERIES["rewind_to_verified_watermark"], **reading.names)
    raise SourceMismatch(reason)


async def _sample_matches(reading: SyncSession, sample: Row) -> bool | None:
    """None where it cannot be told."""
    position = await reading.position_of(sample["dag_id"], sample["run_id"])
    try:
        run = await reading.provider.run(sample["dag_id"], sample["run_id"], position)
    except ProviderCannotTell:
        return None
    except ProviderHTTPError as refusal:
        if refusal.status in {401, 403, 500}:  # 500: of a run that cannot be read, perhaps only now
            return None
        raise
    if run is None:
        return False
    if run.started_at == datetime.fromisoformat(sample["started_at"]):
        return True
    # Who clears a run lets it begin again, later than it was seen; another Airflow ran it at about the same time.
    seen_at = time(sample.get("seen_at"))
    was_cleared = run.started_at is None or (seen_at is not None and run.started_at > seen_at)
    return None if was_cleared else False


async def select_identity_samples(reading: SyncSession, watermark: datetime) -> list[dict[str, str]]:
    """Return new samples if the pass listed the pipelines or there are none yet, else the previous ones."""
    known: list[dict[str, str]] = reading.state["witnesses"]
    if not reading.is_vouched_for or (known and not reading.has_listed):
        return known
    async with reading.db.tenant_transaction(reading.progress.space_id) as tx:
        rows = await reading.gone.identity_samples(tx, watermark - SAMPLED_DAYS)
    now = reading.provider.server_time or watermark  # the watermark may be hours behind what the pass has stored
    return [{**row, "started_at": iso(row["started_at"]), "seen_at": iso(max(now, row["started_at"]))} for row in rows]


async def apply_or_quarantine(reading: SyncSession) -> dict[str, int]:
    """At the end of a complete pass: take away what is gone, unless it is suspiciously much. How many of each."""
    deletions, progress, held = reading.gone, reading.progress, reading.state["held"] or {}
    since = time(held.get("since")) if held.get("kind") == MASS_LOSS else None
    async with reading.db.tenant_transaction(progress.space_id) as tx:
        found = await tx.fetch_one(QUERIES["has_pending_deletions"], space_id=progress.space_id)
        if not (found and found["found"]):
            pending = None
        else:
            await deletions.archive(tx)
            pending = await deletions.pending_deletions(tx, since or progress.started_at)
    if pending is None:
        await _release(reading, MASS_LOSS)
        return {}
    async with reading.db.tenant_transaction(progress.space_id) as tx:
        young = await deletions.count_recent_runs(tx) if pending["runs"] >= FEW_RUNS else 0
        reason = _mass_deletion_reason(pending, young)
        if reason is None:
            removed = await deletions.tombstone(tx)
            await progress.save(tx)
    if reason is None:
        await _release(reading, MASS_LOSS)
        return removed
    progress.warn(reason)
    counts = {kind: pending[kind] for kind in ("pipelines", "runs", "task_runs")}
    await _quarantine(
        reading, {"kind": MASS_LOSS, "reason": reason, "missing": counts, "examples": pending["examples"] or []}
    )
    return {}


def _mass_deletion_reason(pending: Row, recent_runs: int) -> str | None:
    """Why this is held back, in words."""
    ending = "Held back until somebody accepts it: a permission that was lost looks the same."
    lost, known = pending["pipelines"], pending["known_pipelines"]
    is_much = lost >= FEW_PIPELINES and lost >= min(MANY_PIPELINES, known * SUSPICIOUS_SHARE)
    if is_much or (lost and lost == known):
        return f"{lost} of {known} pipelines are not in Airflow's list any more. {ending}"
    if pending["runs"] >= max(FEW_RUNS, recent_runs * SUSPICIOUS_SHARE):
        return f"{pending['runs']} of {recent_runs} runs of the last 7 days are gone from Airflow. {ending}"
    if pending["emptied_runs"] >= FEW_EMPTIED_RUNS and pending["task_runs"] >= FEW_RUNS:
        return f"{pending['emptied_runs']} runs have lost all of their {pending['task_runs']} task runs. {ending}"
    return None


async def _quarantine(reading: SyncSession, quarantine: Quarantine) -> None:
    async with reading.db.tenant_transaction(reading.progress.space_id) as tx:
        await reading.progress.save(tx)
        await tx.execute(QUERIES["save_quarantine"], **reading.names, held=Jsonb(quarantine))


async def _release(reading: SyncSession, kind: str) -> None:
    if (reading.state["held"] or {}).get("kind") == kind:
        async with reading.db.tenant_transaction(reading.progress.space_id) as tx:
            await reading.progress.save(tx)
            await tx.execute(QUERIES["save_quarantine"], **reading.names, held=None)
