"""What a sync does not do until a person says so: take a mass loss for deletions, or another Airflow for this one.

Airflow's lists silently hold only what the account may read, so a lost permission looks like a mass deletion.
"""

from datetime import datetime, timedelta
from typing import Any

from psycopg.types.json import Jsonb

from windsock.db import Row
from windsock.errors import ProviderCannotTell, ProviderRefused, WindsockError
from windsock.sync.progress import QUERIES
from windsock.sync.reading import Reading
from windsock.sync.times import iso, time

MASS_LOSS, OTHER_AIRFLOW = "mass_loss", "other_airflow"
FEW_PIPELINES, MANY_PIPELINES, FEW_RUNS = 2, 50, 50
FEW_EMPTIED_RUNS = 5
SUSPICIOUS_SHARE = 0.2
ENOUGH_WITNESSES = 3
WITNESSED_DAYS = timedelta(days=30)

Held = dict[str, Any]


class OtherAirflow(WindsockError):
    """Another Airflow answers than the one that this connector mirrors."""

    status = 409


async def refuse_another_airflow(reading: Reading, address: str) -> None:
    """Raise OtherAirflow when runs that this connector's Airflow had are unknown, or began at another moment.

    One witness that agrees is enough; without at least three that disagree, of different pipelines where there are so
    many, nothing is said. DAGs and run ids alone prove nothing: staging often has the same ones.
    """
    disagree = 0
    for witness in reading.state["witnesses"]:
        agrees = await _agrees(reading, witness)
        if agrees:
            await _forget(reading, OTHER_AIRFLOW)
            return
        disagree += agrees is False
    if disagree < ENOUGH_WITNESSES:
        return
    reason = (
        f"Another Airflow seems to answer at {address}: of {disagree} runs that were mirrored from "
        f"{reading.state['address'] or 'this connector'}, it has none. Nothing was read. Put base_url right, make a "
        "connector of its own for it, or accept it if this Airflow was set up anew."
    )
    await _hold(reading, {"kind": OTHER_AIRFLOW, "reason": reason})
    async with reading.db.in_space(reading.progress.space_id) as tx:
        await tx.run(QUERIES["forget_what_nobody_vouched_for"], **reading.names)
    raise OtherAirflow(reason)


async def _agrees(reading: Reading, witness: Row) -> bool | None:
    """None where it cannot be told."""
    position = await reading.position_of(witness["dag_id"], witness["run_id"])
    try:
        run = await reading.provider.run(witness["dag_id"], witness["run_id"], position)
    except ProviderCannotTell:
        return None
    except ProviderRefused as refusal:
        if refusal.status in {401, 403, 500}:  # 500: of a run that cannot be read, perhaps only now
            return None
        raise
    if run is None:
        return False
    if run.started_at == datetime.fromisoformat(witness["started_at"]):
        return True
    # Who clears a run lets it begin again, later than it was seen; another Airflow ran it at about the same time.
    seen_at = time(witness.get("seen_at"))
    was_cleared = run.started_at is None or (seen_at is not None and run.started_at > seen_at)
    return None if was_cleared else False


async def witnesses_of(reading: Reading, watermark: datetime) -> list[dict[str, str]]:
    """Those of before, but for a pass that has listed the pipelines or has the first ones to name."""
    known: list[dict[str, str]] = reading.state["witnesses"]
    if not reading.is_vouched_for or (known and not reading.has_listed):
        return known
    async with reading.db.in_space(reading.progress.space_id) as tx:
        rows = await reading.gone.witnesses(tx, watermark - WITNESSED_DAYS)
    now = reading.provider.as_of or watermark  # the watermark may be hours behind what the pass has stored
    return [{**row, "started_at": iso(row["started_at"]), "seen_at": iso(max(now, row["started_at"]))} for row in rows]


async def remove_or_hold(reading: Reading) -> dict[str, int]:
    """At the end of a complete pass: take away what is gone, unless it is suspiciously much. How many of each."""
    gone, progress, held = reading.gone, reading.progress, reading.state["held"] or {}
    since = time(held.get("since")) if held.get("kind") == MASS_LOSS else None
    async with reading.db.in_space(progress.space_id) as tx:
        found = await tx.row(QUERIES["has_gone"], space_id=progress.space_id)
        if not (found and found["found"]):
            losses = None
        else:
            await gone.archive(tx)
            losses = await gone.losses(tx, since or progress.started_at)
    if losses is None:
        await _forget(reading, MASS_LOSS)
        return {}
    async with reading.db.in_space(progress.space_id) as tx:
        young = await gone.young_runs(tx) if losses["runs"] >= FEW_RUNS else 0
        reason = _suspicion(losses, young)
        if reason is None:
            removed = await gone.remove(tx)
            await progress.save(tx)
    if reason is None:
        await _forget(reading, MASS_LOSS)
        return removed
    progress.warn(reason)
    counts = {kind: losses[kind] for kind in ("pipelines", "runs", "task_runs")}
    await _hold(reading, {"kind": MASS_LOSS, "reason": reason, "missing": counts, "examples": losses["examples"] or []})
    return {}


def _suspicion(losses: Row, young_runs: int) -> str | None:
    """Why this is held back, in words."""
    ending = "Held back until somebody accepts it: a permission that was lost looks the same."
    lost, known = losses["pipelines"], losses["known_pipelines"]
    is_much = lost >= FEW_PIPELINES and lost >= min(MANY_PIPELINES, known * SUSPICIOUS_SHARE)
    if is_much or (lost and lost == known):
        return f"{lost} of {known} pipelines are not in Airflow's list any more. {ending}"
    if losses["runs"] >= max(FEW_RUNS, young_runs * SUSPICIOUS_SHARE):
        return f"{losses['runs']} of {young_runs} runs of the last 7 days are gone from Airflow. {ending}"
    if losses["emptied_runs"] >= FEW_EMPTIED_RUNS and losses["task_runs"] >= FEW_RUNS:
        return f"{losses['emptied_runs']} runs have lost all of their {losses['task_runs']} task runs. {ending}"
    return None


async def _hold(reading: Reading, held: Held) -> None:
    async with reading.db.in_space(reading.progress.space_id) as tx:
        await reading.progress.save(tx)
        await tx.run(QUERIES["save_held"], **reading.names, held=Jsonb(held))


async def _forget(reading: Reading, kind: str) -> None:
    if (reading.state["held"] or {}).get("kind") == kind:
        async with reading.db.in_space(reading.progress.space_id) as tx:
            await reading.progress.save(tx)
            await tx.run(QUERIES["save_held"], **reading.names, held=None)
