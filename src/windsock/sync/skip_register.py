"""The register of rows that the provider has and the mirror lacks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from uuid import UUID

from windsock.db.database import Transaction
from windsock.providers.scopes import RunRange
from windsock.sync.isolation import Kind
from windsock.sync.skipped_rows import QUERIES, Entry, Key, key_of_run, unlisted_rows


class SkipRegister:
    """The recorded rows of one connector."""

    def __init__(self, space_id: UUID, connector_id: UUID) -> None:
        self._names = {"space_id": space_id, "connector_id": connector_id}
        self.known: dict[UUID, Entry] = {}
        self._by_key: dict[Key, UUID] = {}

    def has_run(self, dag_id: str, run_id: str) -> bool:
        """It is recorded, as a whole or with some of its fields."""
        return key_of_run(dag_id, run_id) in self._by_key

    @property
    def pipelines(self) -> set[str]:
        """DAGs whose own row cannot be read, so that listing the DAGs again does not help."""
        return {
            entry.row.pipeline_external_id
            for entry in self.known.values()
            if entry.row.kind == "pipelines" and entry.is_whole and entry.row.pipeline_external_id
        }

    @property
    def hides_pipelines(self) -> bool:
        """DAGs are left out whose runs are in the provider's totals."""
        return any(
            entry.row.kind == "pipelines" and entry.is_whole and not entry.is_mirrored for entry in self.known.values()
        )

    @property
    def unlisted(self) -> Mapping[str, int]:
        """By kind, how many rows of runs the provider counts and never lists."""
        return unlisted_rows(self.known.values())

    def counted(self, kind: Kind, window: RunRange) -> int:
        """Rows of the window that are in the provider's totals and not in the mirror."""
        return sum(entry.counted(kind, window) for entry in self.known.values())

    async def touch(self, tx: Transaction, entries: Iterable[Entry]) -> None:
        """They are read again now, with whatever outcome: others are due before them the next time."""
        await tx.execute(QUERIES["touch_skipped_rows"], **self._names, identities=[entry.identity for entry in entries])

    async def delete(self, tx: Transaction, identities: list[UUID]) -> list[Entry]:
        await tx.execute(QUERIES["forget_skipped_rows"], **self._names, identities=identities)
        deleted = [self.known.pop(identity) for identity in identities]
        for entry in deleted:
            self._by_key.pop(entry.key, None)
        return deleted

    async def save_without_changes(self, tx: Transaction, entries: Iterable[Entry]) -> list[Entry]:
        cleared = [replace(entry, changes=None) for entry in entries]
        self.known |= {entry.identity: entry for entry in cleared}
        names = {**self._names, "identities": [entry.identity for entry in cleared]}
        await tx.execute(QUERIES["clear_changes_of_skipped_rows"], **names)
        return cleared

    def _keep(self, entry: Entry) -> None:
        self.known[entry.identity] = entry
        if entry.is_named:
            self._by_key[entry.key] = entry.identity
