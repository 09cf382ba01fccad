"""Corrects where a pass begins to read by the measured difference of clocks, and stores what was measured."""

from dataclasses import replace
from datetime import datetime

from windsock.sync.per_dag import QUERIES as PER_DAG
from windsock.sync.session import SyncSession
from windsock.sync.state_records import ChangesCheckpoint


async def measure_clocks(session: SyncSession) -> None:
    """Before anything is read. A corrected watermark makes a checkpoint among changes worthless.

    What an interrupted first sync read is as of its beginning, and is corrected as a watermark is.
    """
    clocks, state = session.clocks, session.state
    await clocks.measure()
    begun = state.backfill if state.watermark is None else None
    read_from = begun.as_of if begun else state.watermark
    corrected = clocks.apply(read_from)
    if corrected == read_from:
        corrected = None
    elif begun and corrected:
        state.backfill = replace(begun, as_of=corrected)
    else:
        state.watermark, state.recent_watermark = corrected, state.recent_watermark and corrected
    if corrected and isinstance(state.checkpoint, ChangesCheckpoint):
        state.checkpoint = None
    await save_clocks(session, corrected)
    if clocks.measured.sentence:
        session.progress.warn(clocks.measured.sentence)


async def save_clocks(session: SyncSession, corrected: datetime | None = None) -> None:
    """With the watermark, so that what was corrected stays so if this pass breaks off.

    `corrected`: the watermark after a correction. No pipeline that is read by itself has a later one then.
    """
    if session.clocks.take_changed():
        async with session.transaction() as tx:
            await session.state_writer.save_clocks(tx, session.state)
            if corrected and session.state.watermark is None and session.state.backfill:
                await session.state_writer.save_backfill(tx, session.state.backfill)
            if corrected and session.state.is_per_dag:
                await tx.execute(PER_DAG["correct_reads"], **session.names, watermark=corrected)
