"""A provider between the sync and the double that cannot read some rows, and says so, as the contract wants it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Any

from fake_airflow.rows import RunKey, TaskKey
from sync.harness import SyncHarness
from windsock.connectors.store import AirflowConnector
from windsock.errors import ProviderHTTPError
from windsock.providers.base import Page, PipelineListing, Provider, ProviderRun, ProviderTaskRun, SkippedRow
from windsock.providers.scopes import Resume, ScanScope
from windsock.sync.runner import SyncRunner

REASON = "Airflow answers 500 wherever it is part of a page"


@dataclass
class UnreadableSet:
    """What cannot be read. `names` False: Airflow does not show which rows they are."""

    dags: set[str] = field(default_factory=set)
    runs: set[RunKey] = field(default_factory=set)
    tasks: set[TaskKey] = field(default_factory=set)
    names: bool = True

    def clear(self) -> None:
        for kind in (self.dags, self.runs, self.tasks):
            kind.clear()


class SkippingProvider:
    """The provider, without the poisoned rows."""

    def __init__(self, provider: Provider, skip_unreadable: UnreadableSet) -> None:
        self._provider, self._poison = provider, skip_unreadable

    def __getattr__(self, name: str) -> Any:
        return getattr(self._provider, name)

    async def list_pipelines(self, **more: Any) -> PipelineListing:
        listing = await self._provider.list_pipelines(**more)
        poisoned = [row.external_id for row in listing.rows if row.external_id in self._poison.dags]
        rows = [row for row in listing.rows if row.external_id not in self._poison.dags]
        return replace(listing, rows=rows, skipped=tuple(self._skipped("pipelines", dag_id) for dag_id in poisoned))

    async def runs(self, scope: ScanScope, resume: Resume | None = None) -> AsyncIterator[Page[ProviderRun]]:
        async for page in self._provider.runs(scope, resume):
            keys = [(row.pipeline_external_id, row.external_id) for row in page.rows]
            rows = [row for row, key in zip(page.rows, keys, strict=True) if key not in self._poison.runs]
            skipped = tuple(self._skipped("runs", *key) for key in keys if key in self._poison.runs)
            yield replace(page, rows=rows, skipped=skipped)

    async def task_runs(self, scope: ScanScope, resume: Resume | None = None) -> AsyncIterator[Page[ProviderTaskRun]]:
        async for page in self._provider.task_runs(scope, resume):
            keys = [
                (row.pipeline_external_id, row.run_external_id, row.external_id, row.map_index) for row in page.rows
            ]
            rows = [row for row, key in zip(page.rows, keys, strict=True) if key not in self._poison.tasks]
            skipped = tuple(self._skipped("task_runs", *key) for key in keys if key in self._poison.tasks)
            yield replace(page, rows=rows, skipped=skipped)

    async def run(self, dag_id: str, run_id: str, *more: Any) -> ProviderRun | None:
        found = await self._provider.run(dag_id, run_id, *more)
        if (dag_id, run_id) in self._poison.runs:
            raise ProviderHTTPError(500, "Airflow answered 500.", is_transient=True)
        return found

    def _skipped(self, kind: Any, dag_id: str, *ids: Any) -> SkippedRow:
        if not self._poison.names:
            return SkippedRow(kind=kind, reason=REASON)
        run_id, task_id, map_index = (*ids, None, None, None)[:3]
        return SkippedRow(
            kind=kind,
            reason=REASON,
            pipeline_external_id=dag_id,
            run_external_id=run_id,
            task_external_id=task_id,
            map_index=map_index,
        )


def skip_unreadable(harness: SyncHarness) -> UnreadableSet:
    """From now on the syncs of this Windsock read through a Poisoned provider."""
    unreadable = UnreadableSet()

    def open_provider(connector: AirflowConnector, api_version: str | None) -> Any:
        return SkippingProvider(harness._open_provider(connector, api_version), unreadable)

    harness.execution = SyncRunner(harness.process.db, harness.process.secrets, open_provider, "a poisoned worker")
    return unreadable
