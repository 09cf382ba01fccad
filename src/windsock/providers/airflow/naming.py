"""Finds out which row cannot be listed: from its neighbours, from other lists, and by asking for it alone."""

import re
from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import replace
from datetime import datetime
from typing import Any, Final, Generic, TypeVar
from urllib.parse import quote, unquote

from windsock.errors import ProviderFailed
from windsock.providers.airflow.http import Params
from windsock.providers.airflow.isolation import cause_of
from windsock.providers.airflow.parsing import format_datetime
from windsock.providers.airflow.scans import Fetch, Key, Limits, Listing
from windsock.providers.base import ProviderPipeline, ProviderRun, ProviderTaskRun, SkippedRow
from windsock.providers.scopes import NOT_MAPPED

T = TypeVar("T")

_MAX_CANDIDATES: Final = 5
"""Asked for one by one; a row that fails there too is the one."""
_OF_ONE: Final = re.compile("/dags/([^/]+)/dagRuns(?:/([^/]+)/taskInstances)?$")


class Namer(Generic[T]):
    """`knows`: whether the scan has seen a row with that key. Costs at most `limits.naming_requests` in a scan."""

    def __init__(self, ask: Fetch, listing: Listing[T], limits: Limits, is_known: Callable[[Key], bool]) -> None:
        self._ask = ask
        self._listing = listing
        self._root = listing.root
        self._knows = is_known
        self._left = limits.naming_requests
        self._tasks: dict[str, list[str]] = {}

    async def name(
        self, before: T | None, after: T | None, reason: str, seen: Collection[Key], named: Collection[SkippedRow]
    ) -> SkippedRow:
        """The row between two others, with its ids where they can be found out.

        `seen`: keys of rows that the scan does not know yet. `named`: rows that were found near it.
        """
        known = {replace(row, reason="") for row in named}
        dag, run = _ids_in(self._listing.path)
        unnamed = SkippedRow(
            kind=self._listing.kind,
            reason=f"{reason} {_between(before, after)}",
            pipeline_external_id=dag,
            run_external_id=run,
        )
        tried = 0
        try:
            async for candidate in self._candidates(before, after, seen):
                if candidate in known:
                    continue
                tried += 1
                if await self._fails_alone(candidate):
                    return replace(candidate, reason=reason)
                if tried == _MAX_CANDIDATES:
                    break
        except ProviderFailed:
            pass
        return unnamed

    async def _candidates(self, before: T | None, after: T | None, seen: Collection[Key]) -> AsyncIterator[SkippedRow]:
        if self._listing.kind == "pipelines":
            found = self._pipelines(before, after)
        elif self._listing.kind == "runs":
            found = self._runs(before, after, seen)
        else:
            found = self._task_runs([row for row in (before, after) if isinstance(row, ProviderTaskRun)], seen)
        async for candidate in found:
            yield candidate

    async def _pipelines(self, before: object, after: object) -> AsyncIterator[SkippedRow]:
        """DAGs are listed by name, and the newest runs tell some."""
        runs = await self._rows(f"{self._root}/dags/~/dagRuns", "dag_runs", {"order_by": "-id"})
        lower = before.external_id if isinstance(before, ProviderPipeline) else ""
        upper = after.external_id if isinstance(after, ProviderPipeline) else None
        for dag in sorted({str(run.get("dag_id")) for run in runs}):
            if lower < dag and (upper is None or dag < upper):
                yield SkippedRow(kind="pipelines", reason="", pipeline_external_id=dag)

    async def _runs(self, before: object, after: object, seen: Collection[Key]) -> AsyncIterator[SkippedRow]:
        """Task instances tell of runs. Runs are listed in the order of their creation, mostly that of their time."""
        window = self._window(self._time(before), self._time(after))
        # Without neighbours there is but this run in the list, whose task instances have mostly changed with it.
        filters: Params = window or {name: value for name, value in self._listing.params.items() if name != "order_by"}
        tasks = await self._rows(f"{self._listing.path}/~/taskInstances", "task_instances", filters)
        for dag, run in dict.fromkeys((task.get("dag_id"), task.get("dag_run_id")) for task in tasks):
            is_new = (dag, run) not in seen and not self._knows((dag, run))
            if isinstance(dag, str) and isinstance(run, str) and is_new:
                yield SkippedRow(kind="runs", reason="", pipeline_external_id=dag, run_external_id=run)

    def _window(self, start: datetime | None, end: datetime | None) -> dict[str, str]:
        """The filter for what lies between two rows of a list, in whichever order their times are."""
        if start is not None and end is not None:
            start, end = min(start, end), max(start, end)
        field = "execution_date" if self._root.endswith("v1") else "run_after"
        bounds = {f"{field}_gte": start, f"{field}_lte": end}
        return {name: format_datetime(time) for name, time in bounds.items() if time is not None}

    def _time(self, row: object) -> datetime | None:
        """By which the API filters."""
        if not isinstance(row, ProviderRun):
            return None
        return (row.logical_date if self._root.endswith("v1") else row.run_after) or row.run_at

    async def _task_runs(self, near: list[ProviderTaskRun], seen: Collection[Key]) -> AsyncIterator[SkippedRow]:
        """Most likely an instance of a run whose others stand beside it."""
        for row in near:
            for index in (row.map_index + 1, row.map_index - 1):
                if row.map_index != NOT_MAPPED and index >= 0 and self._is_new(row, seen, map_index=index):
                    yield _task_run(row.pipeline_external_id, row.run_external_id, row.external_id, index)
        async for run in self._runs_near(near):
            async for candidate in self._tasks_of(run, near, seen):
                yield candidate

    async def _runs_near(self, near: list[ProviderTaskRun]) -> AsyncIterator[tuple[str, str]]:
        """The runs of the neighbours, and then those between them in time; of a list of one run that one."""
        dag, run = _ids_in(self._listing.path)
        if dag and run:
            yield dag, run
            return
        runs = dict.fromkeys((row.pipeline_external_id, row.run_external_id) for row in near)
        for key in runs:
            yield key
        times = sorted(row.run_at for row in near if row.run_at is not None)
        if not times:
            return
        window = self._window(times[0], times[-1] if len(near) > 1 else None)
        path = f"{self._root}/dags/{quote(dag or '~', safe='~')}/dagRuns"
        for found in await self._rows(path, "dag_runs", {"order_by": "id", **window}):
            key = (str(found.get("dag_id")), str(found.get("dag_run_id")))
            if key not in runs:
                yield key

    async def _tasks_of(
        self, run: tuple[str, str], near: list[ProviderTaskRun], seen: Collection[Key]
    ) -> AsyncIterator[SkippedRow]:
        """Return the tasks of the run's DAG that the list has not shown."""
        dag = run[0]
        if dag not in self._tasks:
            rows = await self._rows(f"{self._root}/dags/{quote(dag, safe='~')}/tasks", "tasks", {})
            self._tasks[dag] = [str(task["task_id"]) for task in rows if task.get("task_id")]
        for name in self._tasks[dag]:
            ids = {"pipeline_external_id": dag, "run_external_id": run[1], "external_id": name}
            if not near or self._is_new(near[0], seen, **ids, map_index=NOT_MAPPED):
                yield _task_run(*run, name, NOT_MAPPED)

    def _is_new(self, row: ProviderTaskRun, seen: Collection[Key], **ids: Any) -> bool:  # noqa: ANN401 - of any column
        key = self._listing.key(_as(row, **ids))
        return key not in seen and not self._knows(key)

    async def _rows(self, path: str, name: str, params: Params) -> list[dict[str, Any]]:
        self._spend()
        limit = {} if name == "tasks" else {"limit": "100"}
        body = (await self._ask(path, {**params, **limit})).body
        rows = body.get(name) if isinstance(body, dict) else None
        return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []

    async def _fails_alone(self, candidate: SkippedRow) -> bool:
        self._spend()
        path = f"{self._root}/dags/{quote(candidate.pipeline_external_id or '', safe='~')}"
        if candidate.run_external_id is not None:
            path += f"/dagRuns/{quote(candidate.run_external_id, safe='~')}"
        if candidate.task_external_id is not None:
            path += f"/taskInstances/{quote(candidate.task_external_id, safe='~')}"
            path += "" if candidate.map_index == NOT_MAPPED else f"/{candidate.map_index}"
        try:
            await self._ask(path, {})
        except ProviderFailed as failure:
            return cause_of(failure) is not None
        return False

    def _spend(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise _Spent


class _Spent(ProviderFailed):
    """All requests that a scan may spend on naming rows are spent."""

    def __init__(self) -> None:
        super().__init__(502, "No more rows are named.", is_transient=True)


def _as(row: Any, **ids: Any) -> Any:  # noqa: ANN401 - a row of any kind, as another one
    return replace(row, **ids)


def _task_run(dag: str, run: str, task: str, map_index: int) -> SkippedRow:
    return SkippedRow(
        kind="task_runs",
        reason="",
        pipeline_external_id=dag,
        run_external_id=run,
        task_external_id=task,
        map_index=map_index,
    )


def _ids_in(path: str) -> tuple[str | None, str | None]:
    """The DAG and the run to which a list belongs, where its address names them."""
    found = _OF_ONE.search(path)
    dag, run = (unquote(found[1]), unquote(found[2] or "~")) if found else ("~", "~")
    return None if dag == "~" else dag, None if run == "~" else run


def _between(before: object, after: object) -> str:
    places = [text for text in (_words("behind", before), _words("before", after)) if text]
    return f"In the list it stands {' and '.join(places)}." if places else "It is the only one in the list."


def _words(where: str, row: object) -> str:
    match row:
        case ProviderPipeline():
            return f"{where} DAG {row.external_id}"
        case ProviderRun():
            return f"{where} run {row.external_id} of DAG {row.pipeline_external_id}"
        case ProviderTaskRun():
            return f"{where} task {row.external_id} of run {row.run_external_id} of DAG {row.pipeline_external_id}"
    return ""
