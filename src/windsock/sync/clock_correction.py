"""Corrects where a pass begins to read by the measured difference of clocks, and stores what was measured."""

from psycopg.types.json import Jsonb

from windsock.sync.progress import QUERIES
from windsock.sync.reading import Reading


async def measure_clocks(reading: Reading) -> None:
    """Before anything is read. A corrected watermark makes a checkpoint among changes worthless."""
    clocks, state = reading.clocks, reading.state
    await clocks.measure()
    watermark = clocks.apply(state["watermark"])
    if watermark != state["watermark"]:
        state["watermark"], state["quick_from"] = watermark, state["quick_from"] and watermark
        if (state["checkpoint"] or {}).get("kind") == "changes":
            state["checkpoint"] = None
    await save_clocks(reading)
    if clocks.measured.sentence:
        reading.progress.warn(clocks.measured.sentence)


async def save_clocks(reading: Reading) -> None:
    """With the watermark, so that what was corrected stays so if this pass breaks off."""
    clocks = reading.clocks.take_changed()
    if clocks is not None:
        places = {name: reading.state[name] for name in ("watermark", "quick_from")}
        async with reading.db.in_space(reading.progress.space_id) as tx:
            await tx.run(QUERIES["save_clocks"], **reading.names, **places, clocks=Jsonb(clocks))
