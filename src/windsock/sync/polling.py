"""Chooses how an Airflow is polled, from several answers and its size, and remembers what the large mode has read.

Neither API has an index on updated_at, so on millions of task instances the query for all changes takes seconds.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from statistics import median
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer

from windsock.errors import ProviderFailed, ProviderRejectedCredentials, ProviderUnreachable
from windsock.providers.base import PipelineListing, Provider, ProviderRun
from windsock.providers.scopes import RunRange

SLOW_SECONDS, QUICK_SECONDS = 2.0, 1.0
"""A median poll above the first is a reason for the large mode, one below the second ends it."""
MIN_POLLS, RECORDED_POLLS = 3, 5
LARGE_TASK_RUNS = 100_000
"""An Airflow with fewer task instances is not large, however slow: asking it otherwise would not be cheaper. Half of
that ends the large mode."""
COUNT_LIFETIME = timedelta(days=1)
BEFORE_ALL = datetime(1970, 1, 1, tzinfo=UTC)
MAX_RECORDED_RUNS = 1_000
MAX_LISTING_REQUESTS, MAX_LISTING_SECONDS = 5, 5.0
"""A list of DAGs that costs no more is read by each sync, a longer one every five minutes. 5 requests are 500 DAGs."""

RunKey = tuple[str, str]
RunRevisions = Annotated[
    dict[RunKey, str],
    BeforeValidator(lambda rows: {(dag_id, run_id): revision for dag_id, run_id, revision in rows}),
    PlainSerializer(lambda runs: [[*key, revision] for key, revision in [*runs.items()][-MAX_RECORDED_RUNS:]]),
]
"""In JSON a list, since the keys of an object are strings."""


@dataclass(frozen=True, slots=True)
class ListingCost:
    """Requests, seconds and digest of the last complete list of DAGs."""

    requests: int
    seconds: float
    digest: str

    @property
    def is_cheap(self) -> bool:
        """Each sync may read the list."""
        return self.requests <= MAX_LISTING_REQUESTS and self.seconds <= MAX_LISTING_SECONDS


@dataclass(slots=True)
class Polling:
    """State that a complete pass leaves for the next one.

    `seconds`: how long Airflow took for the query for changed task instances, the newest last. `total`: all its task
    instances, None while unknown. `tasks_from`: by the clock of Airflow, where the next quick query for task instances
    begins. `read_runs`: revisions of the runs whose task instances have been read since they changed.
    """

    seconds: list[float] = field(default_factory=list)
    total: int | None = None
    counted_at: datetime | None = None
    tasks_from: datetime | None = None
    read_runs: RunRevisions = field(default_factory=dict)

    def add(self, seconds: float) -> None:
        self.seconds = [*self.seconds, round(seconds, 6)][-RECORDED_POLLS:]

    @property
    def median(self) -> float | None:
        return median(self.seconds) if self.seconds else None

    def needs_count(self, mode: str) -> bool:
        """Whether the choice depends on the number of task instances, and that is unknown or a day old."""
        is_old = self.counted_at is None or datetime.now(UTC) - self.counted_at >= COUNT_LIFETIME
        return is_old and (mode == "large" or self._is_slow)

    async def choose_mode(self, provider: Provider, mode: str) -> str:
        """The mode of the next sync, which may first take one request for the number of task instances."""
        if self.needs_count(mode):
            self.counted_at = datetime.now(UTC)
            try:
                self.total = await provider.count_task_runs(RunRange(BEFORE_ALL, None))
            except (ProviderUnreachable, ProviderRejectedCredentials):
                raise
            except ProviderFailed:
                self.total = None
        return self.choose(mode)

    def choose(self, mode: str) -> str:
        """The mode of the next sync. Between the limits, and while there are too few answers, it stays as it is."""
        if mode == "small":
            return "large" if self._is_slow and self.total is not None and self.total >= LARGE_TASK_RUNS else mode
        is_quick = len(self.seconds) >= MIN_POLLS and (self.median or 0) < QUICK_SECONDS
        is_small = self.total is not None and self.total < LARGE_TASK_RUNS / 2
        return "small" if is_quick or is_small else mode

    @property
    def _is_slow(self) -> bool:
        return len(self.seconds) >= MIN_POLLS and (self.median or 0) > SLOW_SECONDS

    def unread(self, changed: dict[RunKey, str]) -> set[RunKey]:
        """The runs that have changed since their task instances were read."""
        return {key for key, revision in changed.items() if self.read_runs.get(key) != revision}


def note_revisions(revisions: dict[RunKey, str], runs: Iterable[ProviderRun]) -> None:
    """Keep the revisions of the first thousand runs: the others count as changed each time."""
    if len(revisions) < MAX_RECORDED_RUNS:
        revisions |= {(run.pipeline_external_id, run.external_id): revision_of(run) for run in runs}


def revision_of(run: ProviderRun) -> str:
    """Differs after each change of the run, and while the scheduler looks at it: its task instances may have changed.

    `updated_at` itself is in no answer.
    """
    parts = (run.status, run.queued_at, run.started_at, run.ended_at, run.last_decision)
    return blake2b("\n".join(map(str, parts)).encode(), digest_size=8).hexdigest()


def digest_of(listing: PipelineListing) -> str:
    """Equal for equal lists of DAGs, those included that could not be read."""
    digest = blake2b(digest_size=16)
    skipped = sorted(listing.skipped, key=lambda row: (row.pipeline_external_id or "", row.reason))
    for row in sorted(listing.rows, key=lambda row: row.external_id):
        values = {name: getattr(row, name) for name in row.__slots__}
        digest.update(json.dumps(values, sort_keys=True, default=str).encode())
    digest.update(repr(skipped).encode())
    return digest.hexdigest()
