"""Quarantine: mass deletions, and another Airflow at the same address, wait for confirmation.

Airflow's lists silently hold only what the account may read, so a lost permission looks like a mass deletion.
"""

from datetime import datetime, timedelta
from typing import Final

from windsock.db.database import Row
from windsock.errors import ProviderHTTPError, ProviderInconclusive, WindsockError
from windsock.sync.lease import QUERIES
from windsock.sync.session import SyncSession
from windsock.sync.state_records import IdentitySample, Quarantine

MASS_LOSS: Final = "mass_loss"
OTHER_AIRFLOW: Final = "other_airflow"
FEW_PIPELINES, MANY_PIPELINES, FEW_RUNS = 2, 50, 50
FEW_EMPTIED_RUNS = 5
SUSPICIOUS_SHARE = 0.2
MIN_SAMPLES = 3
SAMPLED_DAYS = timedelta(days=30)


class SourceMismatch(WindsockError):
    """Another Airflow answers than the one that this connector mirrors."""

    status = 409


async def verify_source_identity(session: SyncSession, address: str) -> None:
    """Raise SourceMismatch when runs that this connector's Airflow had are unknown, or began at another moment.

    One witness that agrees is enough; without at least three that disagree, of different pipelines where there are so
    many, nothing is said. DAGs and run ids alone prove nothing: staging often has the same ones.
    """
    disagree = 0
    for sample in session.state.identity_samples:
        agrees = await _sample_matches(session, sample)
        if agrees:
            await _release(session, OTHER_AIRFLOW)
            return
        disagree += agrees is False
    if disagree < MIN_SAMPLES:
        return
    reason = (
        f"Another Airflow seems to answer at {address}: of {disagree} runs that were mirrored from "
        f"{session.state.identity_base_url or 'this connector'}, it has none. Nothing was read. Put base_url right, "
        "make a connector of its own for it, or accept it if this Airflow was set up anew."
    )
    await _quarantine(session, Quarantine(OTHER_AIRFLOW, reason))
    async with session.transaction() as tx:
        await session.state_writer.rewind(tx)
    raise SourceMismatch(reason)


async def _sample_matches(session: SyncSession, sample: IdentitySample) -> bool | None:
    """None where it cannot be told."""
    position = await session.position_of(sample.dag_id, sample.run_id)
    try:
        run = await session.provider.run(sample.dag_id, sample.run_id, position)
    except ProviderInconclusive:
        return None
    except ProviderHTTPError as refusal:
        if refusal.status in {401, 403, 500}:  # 500: of a run that cannot be read, perhaps only now
            return None
        raise
    if run is None:
        return False
    if run.started_at == sample.started_at:
        return True
    # Who clears a run lets it begin again, later than it was seen; another Airflow ran it at about the same time.
    was_cleared = run.started_at is None or (sample.seen_at is not None and run.started_at > sample.seen_at)
    return None if was_cleared else False


async def select_identity_samples(session: SyncSession, watermark: datetime) -> list[IdentitySample]:
    """Return new samples if the pass listed the pipelines or there are none yet, else the previous ones."""
    known = session.state.identity_samples
    if not session.source_verified or (known and not session.has_listed):
        return known
    async with session.transaction() as tx:
        rows = await session.gone.identity_samples(tx, watermark - SAMPLED_DAYS)
    now = session.provider.server_time or watermark  # the watermark may be hours behind what the pass has stored
    return [IdentitySample(**row, seen_at=max(now, row["started_at"])) for row in rows]


async def apply_or_quarantine(session: SyncSession) -> dict[str, int]:
    """At the end of a complete pass: take away what is gone, unless it is suspiciously much. How many of each."""
    deletions, progress, held = session.gone, session.progress, session.state.quarantine_of(MASS_LOSS)
    async with session.transaction() as tx:
        found = await tx.fetch_one(QUERIES["has_pending_deletions"], space_id=progress.space_id)
        if not (found and found["found"]):
            pending = None
        else:
            await deletions.archive(tx)
            pending = await deletions.pending_deletions(tx, (held and held.since) or progress.started_at)
    if pending is None:
        await _release(session, MASS_LOSS)
        return {}
    async with session.transaction() as tx:
        young = await deletions.count_recent_runs(tx) if pending["runs"] >= FEW_RUNS else 0
        reason = _mass_deletion_reason(pending, young)
        if reason is None:
            removed = await deletions.tombstone(tx)
            await progress.save(tx)
    if reason is None:
        await _release(session, MASS_LOSS)
        return removed
    progress.warn(reason)
    counts = {kind: pending[kind] for kind in ("pipelines", "runs", "task_runs")}
    await _quarantine(session, Quarantine(MASS_LOSS, reason, counts, pending["examples"] or []))
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


async def _quarantine(session: SyncSession, quarantine: Quarantine) -> None:
    async with session.transaction() as tx:
        await session.progress.save(tx)
        await session.state_writer.save_quarantine(tx, quarantine)


async def _release(session: SyncSession, kind: str) -> None:
    if session.state.quarantine_of(kind):
        async with session.transaction() as tx:
            await session.progress.save(tx)
            await session.state_writer.save_quarantine(tx, None)
