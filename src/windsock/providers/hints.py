"""Hints from the provider's event log."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Hints:
    """Actions of people in the provider's log, for what no listing of changes shows: notes, deletions, pauses.

    A hint proves nothing by itself; the thing is read again. `runs` are (pipeline, run), the newest first.
    `deleted_pipelines` and `touches_pipelines` come from entries about a pipeline. `seen` and `once` are ids of
    entries, to be handed over the next time: done with, and too young to be. `seen` is None when the account may not
    read the log. `is_whole`: nothing was left out.
    """

    runs: list[tuple[str, str]]
    deleted_pipelines: set[str]
    touches_pipelines: bool
    seen: list[int] | None
    once: list[int]
    is_whole: bool
