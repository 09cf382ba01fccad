"""How three clocks differ: of the host that answers for Airflow (Date), of the one that stamps its rows, and ours.

What changed is asked for since a time; where the clock that tells it is ahead of the one that stamps, changes would be
missed for ever. The scheduler's heartbeat and the newest stamps of rows are of the clock that stamps.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from windsock.errors import ProviderFailed
from windsock.formatting import format_duration
from windsock.providers.base import Provider
from windsock.sync.state_records import ClockDifference

MEASURED_EVERY = timedelta(minutes=5)
AGREE_SECONDS = 30.0
"""A scheduler beats every 5 s, less often when it is busy."""
MISSED_SECONDS = 120.0
"""As the overlap: what is stamped that late is not missed."""
SHOWN_SECONDS = 5.0
MOST_SECONDS = 86_400.0
"""Of rows: one that was out of sight for longer is no witness of a clock."""


class Clocks:
    """Measures the clocks; `measured` is the connector's state of them."""

    def __init__(self, provider: Provider, measured: ClockDifference) -> None:
        self._provider = provider
        self._agreed_at: datetime | None = None
        self.measured = measured
        self._saved = replace(measured)

    async def measure(self) -> None:
        """One request, at times two, when it is due; where the provider does not tell, what was known before stays."""
        measured, now = self.measured, datetime.now(UTC)
        at = measured.measured_at
        if at is not None and now - at < MEASURED_EVERY and not measured.is_pending:
            return
        try:
            beat, server_time = await self._heartbeat()
        except ProviderFailed:  # the requests that follow say what is wrong
            return
        if server_time is None and measured.is_pending and measured.ahead_of_ours is not None:
            return  # a single response without a Date, of a server that gives one: the next sync looks again
        measured.measured_at = now
        measured.ahead_of_ours = self._provider.ahead_of_ours
        self._judge(beat, server_time)

    async def _heartbeat(self) -> tuple[datetime | None, datetime | None]:
        """The newest heartbeat and the server time; where that has jumped against ours, the later of two responses."""
        provider = self._provider
        beat, server_time = await provider.heartbeat(), provider.server_time_received_at
        if abs((provider.ahead_of_ours or 0.0) - (self.measured.ahead_of_ours or 0.0)) >= AGREE_SECONDS:
            first, beat = server_time, await provider.heartbeat()
            server_time = max(filter(None, (first, provider.server_time_received_at)), default=None)
        return beat, server_time

    def _judge(self, beat: datetime | None, server_time: datetime | None) -> None:
        measured = self.measured
        if beat is None or server_time is None:
            measured.behind, measured.is_pending = None, False
            return
        late, before = (server_time - beat).total_seconds(), measured.beat
        measured.beat = beat
        if late < AGREE_SECONDS or (before is not None and beat > before):
            measured.behind = late if abs(late) >= AGREE_SECONDS else 0.0
            measured.is_pending, measured.rows_behind = False, 0.0
        elif before is None:
            measured.is_pending = True
        else:  # it stands still, and nothing is stamped
            measured.is_pending = False
        if not measured.is_pending and measured.behind is not None:
            self._agreed_at = server_time - timedelta(seconds=max(0.0, measured.behind))
        elif measured.sure_until is None:
            measured.sure_until = server_time

    def apply(self, watermark: datetime | None) -> datetime | None:
        """Correct the provider's clock; the watermark, as far back as changes may have been missed."""
        measured = self.measured
        behind = measured.rows_behind if measured.behind is None else max(0.0, measured.behind)
        self._provider.set_clock(behind=timedelta(seconds=behind), is_confirmed=measured.behind is not None)
        if watermark is not None and behind > measured.applied:
            sure = measured.sure_until
            missed_from = watermark if sure is None else min(watermark, sure)
            watermark = missed_from - timedelta(seconds=behind - measured.applied)
        measured.applied = behind
        if self._agreed_at is not None:
            measured.sure_until = self._agreed_at
        measured.sentence = _sentence(measured.ahead_of_ours, measured.behind, measured.rows_behind)
        return watermark

    def note_missed_stamp(self, stamp: datetime | None) -> None:
        """A row has changed without being among the changes: its stamp is how late the stamps are at most.

        Where there are heartbeats, they tell better: the row may have been out of sight.
        """
        server_time = self._provider.server_time_received_at
        if self.measured.behind is None and stamp is not None and server_time is not None:
            late = (server_time - stamp).total_seconds()
            if MISSED_SECONDS < late < MOST_SECONDS:
                self.measured.rows_behind = max(self.measured.rows_behind, late)

    def note_newest_stamp(self, stamp: datetime | None) -> None:
        """No stamp is of the future, so that the stamps are not later than the newest."""
        server_time = self._provider.server_time_received_at
        if stamp is not None and server_time is not None and self.measured.rows_behind:
            late = max(0.0, (server_time - stamp).total_seconds())
            self.measured.rows_behind = min(self.measured.rows_behind, late) if late > AGREE_SECONDS else 0.0

    def take_changed(self) -> bool:
        """Whether the state has changed since the last call."""
        was, self._saved = self._saved, replace(self.measured)
        return self.measured != was


def _sentence(ahead: float | None, behind: float | None, rows_behind: float) -> str | None:
    """Describe the clock differences, None if the clocks agree."""
    parts = []
    if ahead is not None and abs(ahead) >= SHOWN_SECONDS:
        parts.append(
            f"The clock of the host that answers for Airflow is {format_duration(abs(ahead))} "
            f"{'ahead of' if ahead > 0 else 'behind'} Windsock's."
        )
    late = rows_behind if behind is None else behind
    if abs(late) >= AGREE_SECONDS:
        parts.append(
            f"The clock by which Airflow stamps its rows (the scheduler's) is {format_duration(abs(late))} "
            f"{'behind' if late > 0 else 'ahead of'} that of the host that answers. Windsock allows for it; "
            "synchronize the hosts' clocks."
        )
    return " ".join(parts) or None
