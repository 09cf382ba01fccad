"""Corrects where a pass begins to read by the measured difference of clocks, and stores what was measured."""

from windsock.sync.per_dag import QUERIES as PER_DAG
from windsock.sync.session import SyncSession
from windsock.sync.state_records import ChangesCheckpoint


async def measure_clocks(session: SyncSession) -> None:
    """Before anything is read. A corrected watermark makes a checkpoint among changes worthless."""
    clocks, state = session.clocks, session.state
    await clocks.measure()
    watermark = clocks.apply(state.watermark)
    is_corrected = watermark != state.watermark
    if is_corrected:
        state.watermark, state.recent_watermark = watermark, state.recent_watermark and watermark
        if isinstance(state.checkpoint, ChangesCheckpoint):
            state.checkpoint = None
    await save_clocks(session, is_corrected=is_corrected)
    if clocks.measured.sentence:
        session.progress.warn(clocks.measured.sentence)


async def save_clocks(session: SyncSession, *, is_corrected: bool = False) -> None:
    """With the watermark, so that what was corrected stays so if this pass breaks off.

    `is_corrected`: the watermark was. Then no pipeline that is read by itself is read from a later moment on.
    """
    if session.clocks.take_changed():
        async with session.transaction() as tx:
            await session.state_writer.save_clocks(tx, session.state)
            if is_corrected and session.state.is_per_dag:
                await tx.execute(PER_DAG["correct_reads"], **session.names, watermark=session.state.watermark)
