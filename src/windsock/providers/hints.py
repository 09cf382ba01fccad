"""Hints from the provider's event log."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class EventLogHints:
    """Actions of people in the provider's log, for what no listing of changes shows: notes, deletions, pauses.

    A hint proves nothing by itself; the thing is read again. `runs` are (pipeline, run), the newest first.
    `deleted_pipelines` and `pipelines_changed` come from entries about a pipeline. `processed_ids` and
    `recheck_ids` are ids of entries, to be handed over the next time: done with, and too young to be.
    `processed_ids` is None when the account may not read the log. `is_complete`: nothing was left out.
    """

    runs: list[tuple[str, str]]
    deleted_pipelines: set[str]
    pipelines_changed: bool
    processed_ids: list[int] | None
    recheck_ids: list[int]
    is_complete: bool
