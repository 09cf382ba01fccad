"""Lists that lack rows of their total, remembered from pass to pass, to tell hidden rows from lost ones."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

ENOUGH_PASSES: Final = 3
MAX_LISTS: Final = 50
"""Remembered per connector, the newest."""
Miscount = tuple[str, int, int]
"""Key of a list, rows that it lacks, passes in a row that met this."""


class Miscounts:
    """Differences that earlier passes and this one have met. A list is named by `key`, the same in each pass.

    A total that counts a few rows more may be wrong for a moment (a lagging replica, a proxy). It is believed when so
    many passes in a row that read the list met the same difference: then the rows are hidden from the account.
    `hidden`: by kind, how many are known to be so. As many may be lacking in lists of other rows, too: those of changes
    hold such a row for minutes only, and windows of time have other bounds each time.
    """

    def __init__(self, recorded: Iterable[Miscount] = (), hidden: Mapping[str, int] | None = None) -> None:
        self._before: dict[str, tuple[int, int]] = {key: (missing, passes) for key, missing, passes in recorded}
        self._now = dict(self._before)
        self._lacking: set[str] = set()
        self._whole: set[str] = set()
        self._hidden: Counter[str] = Counter(hidden or {})

    def believe(self, kind: str, key: str, missing: int) -> bool:
        """Note that the list was read to its end and lacks so many rows; whether they are hidden from the account."""
        if missing <= self._hidden[kind]:
            return True
        was_missing, passes = self._before.get(key, (missing, 0))
        passes = min(passes + 1, ENOUGH_PASSES) if was_missing == missing else 1
        self._lacking.add(key)
        self._now.pop(key, None)
        self._now[key] = (missing, passes)
        if passes == ENOUGH_PASSES:
            self._hidden[kind] = missing
        return passes == ENOUGH_PASSES

    def note_whole(self, key: str) -> None:
        """The list, or a window of it, adds up: what it lacked is forgotten, unless another window lacks something."""
        self._whole.add(key)

    def must_restart(self, key: str) -> bool:
        """Whether the list is to be read from its start, so that what it lacked for a moment is found."""
        return self._now.get(key, (0, ENOUGH_PASSES))[1] < ENOUGH_PASSES

    def expected(self, key: str) -> int:
        """How many rows the list has lacked for so long that it is believed at once."""
        missing, passes = self._before.get(key, (0, 0))
        return missing if passes == ENOUGH_PASSES and key not in self._whole else 0

    def recorded(self) -> list[Miscount]:
        """Return the differences to record for the next pass."""
        keys = (key for key in self._now if key in self._lacking or key not in self._whole)
        return [(key, *self._now[key]) for key in keys][-MAX_LISTS:]
