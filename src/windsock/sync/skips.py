"""Records rows that the provider has and the mirror lacks with their page, and forgets them when they are readable."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from psycopg.types.json import Jsonb

from windsock.db.database import Transaction
from windsock.providers.base import ProviderTaskRun, SkippedRow
from windsock.providers.scopes import ScanScope, UpdatedSince
from windsock.sync.isolation import Kind
from windsock.sync.skip_register import SkipRegister
from windsock.sync.skipped_rows import (
    QUERIES,
    Entry,
    Key,
    Place,
    Span,
    columns_of,
    entry_of,
    hull,
    ids_of,
    is_named,
    is_nameless,
    key_of,
    key_of_run,
    narrowest,
    place_of,
    recorded,
    recorded_span,
    span_of,
    within,
)
from windsock.sync.writer import TimeWindow

MAX_ROWS = 1_000
"""Recorded per connector. What is beyond that is protected by the reading that meets it, but not named."""


class Skips(SkipRegister):
    """The skipped rows of one connector, as one pass meets them."""

    def __init__(self, space_id: UUID, connector_id: UUID, sync_id: UUID) -> None:
        super().__init__(space_id, connector_id)
        self._sync_id = sync_id
        self.is_per_dag = False
        self._pending: list[tuple[SkippedRow, Place]] = []
        self._scopes: dict[Kind, ScanScope | None] = {}
        self._in_scan: dict[Kind, list[SkippedRow]] = {"pipelines": [], "runs": [], "task_runs": []}
        self._nameless: dict[Kind, set[UUID]] = {"pipelines": set(), "runs": set(), "task_runs": set()}
        self._taken: dict[Kind, set[UUID]] = {"pipelines": set(), "runs": set(), "task_runs": set()}
        self._numbers: dict[Kind, Counter[tuple[Key, Place]]] = {
            "pipelines": Counter(), "runs": Counter(), "task_runs": Counter()
        }  # fmt: skip
        self._orphans: Counter[tuple[str, str]] = Counter()
        self._met: set[UUID] = set()

    async def load(self, tx: Transaction) -> None:
        for row in await tx.fetch_all(QUERIES["skipped_rows"], **self._names, most=MAX_ROWS):
            self._keep(recorded(row))

    def begin_scan(self, kind: Kind, scope: ScanScope | None) -> None:
        self._scopes[kind], self._in_scan[kind], self._nameless[kind] = scope, [], set()
        self._taken[kind], self._numbers[kind] = set(), Counter()
        if kind == "task_runs":
            self._orphans.clear()

    def meet(self, rows: Iterable[SkippedRow], *, is_listed: bool = True, now: datetime | None = None) -> None:
        """Rows that the next `write` records; where `is_listed`, of the newest scan of their kind."""
        for row in rows:
            scope = self._scopes.get(row.kind) if is_listed else None
            found = within(row, scope)
            self._in_scan[row.kind].append(found)
            self._pending.append((found, place_of(found, scope, now)))

    def meet_run(self, dag_id: str, run_id: str, reason: str, position: datetime | None = None) -> None:
        """Record a single run that cannot be read: possibly one that its list could not name. `position`: its time."""
        scanned = self._in_scan["runs"]
        nameless = next((row for row in scanned if not row.fields and not row.run_external_id), None)
        found = SkippedRow(kind="runs", reason=reason, pipeline_external_id=dag_id, run_external_id=run_id)
        if nameless is None or key_of(found) in self._by_key:
            self._pending.append((found, Place((position, position) if position else None, None)))
            return
        scanned[scanned.index(nameless)] = found
        span = span_of(self._scopes.get("runs"))
        place = next((place for row, place in self._pending if row is nameless), Place(span, None))
        self._pending = [(row, at) for row, at in self._pending if row is not nameless] + [(found, place)]

    def count_task_runs(self, rows: Iterable[ProviderTaskRun]) -> None:
        """Count task runs without a mirrored run, because their run cannot be read."""
        if self.has_met:
            keys = ((task.pipeline_external_id, task.run_external_id) for task in rows)
            self._orphans.update(key for key in keys if self.skips_run(*key))

    def unseen_pipelines(self, known: Mapping[str, UUID]) -> set[str]:
        """Return the known DAGs that the list may have skipped."""
        skipped = [row for row in self._in_scan["pipelines"] if not row.fields]
        if any(not is_named(row) for row in skipped):
            return set(known)
        return {dag_id for row in skipped if (dag_id := row.pipeline_external_id) is not None and dag_id in known}

    @property
    def has_pending(self) -> bool:
        return bool(self._pending)

    @property
    def has_met(self) -> bool:
        """In the newest scans of runs and task runs, or before."""
        return bool(self.known or self._pending or self._in_scan["runs"] or self._in_scan["task_runs"])

    def skips_run(self, dag_id: str, run_id: str) -> bool:
        identity = self._by_key.get(key_of_run(dag_id, run_id))
        if identity is not None:
            return self.known[identity].is_whole
        return any(
            row.kind == "runs"
            and not row.fields
            and (row.pipeline_external_id, row.run_external_id) == (dag_id, run_id)
            for row, _ in self._pending
        )

    def due(self, most: int) -> list[Entry]:
        """Rows that this pass has not met, those first that were not met for longest."""
        waiting = (entry for identity, entry in self.known.items() if identity not in self._met)
        return list(itertools.islice(waiting, most))

    async def write(self, tx: Transaction, stored: Iterable[Key] = ()) -> None:
        """Record what was met since the last call; forget those of `stored`, rows that a listing gave whole."""
        pending, self._pending = self._pending, []
        skipped = {key_of(row) for row, _ in pending}
        await self.forget(tx, [self._by_key[key] for key in stored if key in self._by_key and key not in skipped])
        met, extended = self._entries(pending)
        new = [identity for identity in met if identity not in self.known]
        for identity in new[max(0, MAX_ROWS - len(self.known)) :]:
            del met[identity]
        if met:
            rows = await tx.fetch_all(
                QUERIES["save_skipped_rows"],
                **self._names,
                sync_id=self._sync_id,
                rows=Jsonb([columns_of(entry) for entry in met.values()]),
            )
            known_before = set(self.known)
            for saved in rows:
                entry = met[saved["identity"]]
                self._keep(replace(entry, is_mirrored=saved["is_mirrored"], span=recorded_span(saved)))
                if entry.identity not in extended:
                    self._met.add(entry.identity)
                    if not entry.is_named and (entry.span is not None or not is_nameless(entry.row)):
                        self._nameless[entry.row.kind].add(entry.identity)
            await self.forget(tx, self._known_better(known_before, met.keys() - known_before))

    def _entries(self, pending: list[tuple[SkippedRow, Place]]) -> tuple[dict[UUID, Entry], set[UUID]]:
        """Return the entries to record, and the identities of those that stand for a row without a name."""
        met: dict[UUID, Entry] = {}
        extended: set[UUID] = set()
        for row, place in pending:
            taken, numbers = self._taken[row.kind], self._numbers[row.kind]
            number = numbers[key_of(row), place]
            numbers[key_of(row), place] += 1
            if place.span is None and is_nameless(row):
                number = len(taken)
                if like := self._recorded(row, place.changes):
                    taken.add(like.identity)
                    if like.changes != (changes := hull(like.changes, place.changes)):
                        met[like.identity] = replace(met.get(like.identity, like), changes=changes)
                        extended.add(like.identity)
                    continue
            entry = entry_of(row, place, number)
            if place.span is None and is_nameless(row):
                taken.add(entry.identity)
            if before := met.get(entry.identity) or self.known.get(entry.identity):
                changes = hull(place.changes, before.changes)
                entry = replace(entry, span=narrowest(place.span, before.span), changes=changes)
            met[entry.identity] = entry
        return met, extended

    def _recorded(self, row: SkippedRow, changes: Span | None) -> Entry | None:
        """The recorded row that one without a name is taken for, as listings of changes have them."""
        met = {key_of(other) for other in self._in_scan[row.kind] if is_named(other)}
        candidates = (
            entry
            for identity, entry in self.known.items()
            if identity not in self._taken[row.kind] and entry.key not in met and entry.may_lack(row, changes)
        )
        return min(candidates, key=lambda entry: (not entry.is_named, entry.changes is None), default=None)

    def _known_better(self, before: Iterable[UUID], new: Iterable[UUID]) -> set[UUID]:
        """Rows without a name that a reading has met again and knows better now: one for each of `new`."""
        nameless = [self.known[identity] for identity in before if not self.known[identity].is_named]
        known_better: set[UUID] = set()
        for entry in (self.known[identity] for identity in new):
            wider = (
                entry_without_name.identity
                for entry_without_name in nameless
                if entry_without_name.identity not in known_better and entry_without_name.may_be(entry)
            )
            known_better.update(itertools.islice(wider, 1))
        return known_better

    async def forget(self, tx: Transaction, identities: Iterable[UUID]) -> None:
        """Forget entries; a range of changes stays recorded until it is read again, since it may hold another row."""
        wanted = [identity for identity in identities if identity in self.known]
        if not wanted:
            return
        for entry in await self.delete(tx, wanted):
            if entry.changes is not None:
                row, dag_id = entry.row, entry.row.pipeline_external_id if self.is_per_dag else None
                unknown = SkippedRow(kind=row.kind, reason=row.reason, pipeline_external_id=dag_id)
                self._pending.append((unknown, Place(None, entry.changes)))
        await self.write(tx)

    async def settle(self, tx: Transaction, kind: Kind) -> None:
        """After the scan of `kind` was read to its end: what it did not meet of its scope is readable, or gone."""
        await self.write(tx)
        scope, met = self._scopes.get(kind), {key_of(row) for row in self._in_scan[kind] if is_named(row)}
        new = [identity for identity in self._nameless[kind] if identity in self.known]
        others = [e for e in self.known.values() if e.row.kind == kind and e.identity not in self._nameless[kind]]
        unmet = [entry for entry in others if entry.is_within(scope) and entry.key not in met]
        unmet.sort(key=lambda entry: not entry.is_named)
        # Each row without a name may be one of which more is known, and that was not met by its name. Windows of
        # another pass have other bounds.
        beside = [entry for entry in others if entry not in unmet and entry.overlaps(scope)]
        better = [*unmet, *(entry for entry in beside if entry.is_named and entry.key not in met)]
        self._met.update(entry.identity for entry in better[: len(new)])
        span = span_of(scope)
        self._pending += [
            (e.row, Place(span, None)) for e in better[: len(new)] if e.is_named and narrowest(span, e.span) != e.span
        ]
        readable = {entry.identity for entry in unmet[len(new) :]} | set(new[: len(better)])
        wider = [e.identity for e in beside if not e.is_named and e.identity not in self._met]
        await self.forget(tx, readable | set(wider[: max(0, len(new) - len(better))]))
        await self.write(tx)
        if kind == "task_runs":
            await self._save_orphans(tx)

    async def settle_changes(self, tx: Transaction, kind: Kind, scope: UpdatedSince) -> None:
        """After a range of changes was read again to its end: what was not met in it is readable, or has changed."""
        await self.write(tx)
        others = [entry for identity, entry in self.known.items() if identity not in self._taken[kind]]
        await self.clear_changes(tx, [entry for entry in others if entry.row.kind == kind and entry.is_among(scope)])

    async def clear_changes(self, tx: Transaction, entries: Iterable[Entry]) -> None:
        cleared = await self.save_without_changes(tx, entries)
        await self.forget(tx, [entry.identity for entry in cleared if is_nameless(entry.row) and entry.span is None])

    async def forget_placeless(self, tx: Transaction) -> None:
        """After everything was compared or read: of rows without a name and a place nothing more can be found out."""
        placeless = (
            entry for entry in self.known.values() if not entry.is_named and entry.span is entry.changes is None
        )
        await self.forget(tx, [entry.identity for entry in placeless if entry.row.kind != "pipelines"])

    async def _save_orphans(self, tx: Transaction) -> None:
        changed = []
        for (dag_id, run_id), total in self._orphans.items():
            identity = self._by_key.get(key_of_run(dag_id, run_id))
            if identity is not None and self.known[identity].task_runs != total:
                self.known[identity] = replace(self.known[identity], task_runs=total)
                changed.append({"identity": identity, "task_runs": total})
        if changed:
            await tx.execute(QUERIES["save_task_runs_of_skipped_rows"], **self._names, rows=Jsonb(changed))

    async def spared(self, tx: Transaction, kind: Kind, window: TimeWindow | None = None) -> set[UUID]:
        """Mirrored rows that may be among those which the newest scan of `kind` skipped: they are not missing."""
        skipped = [row for row in self._in_scan[kind] if not row.fields]
        if not skipped:
            return set()
        rows = await tx.fetch_all(
            QUERIES[f"skipped_{kind}"],
            **self._names,
            rows=Jsonb([ids_of(row) for row in skipped]),
            start=window.start if window else None,
            end=window.end if window else None,
        )
        return {row["id"] for row in rows}
