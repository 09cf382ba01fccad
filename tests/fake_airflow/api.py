"""Answers requests of both APIs from a model: filters, orders, page caps, cursors, errors, tokens."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Literal
from urllib.parse import unquote

from fake_airflow import changes, serializers
from fake_airflow.logs import TaskLogs, find_task
from fake_airflow.model import Model
from fake_airflow.oddities import POISONED, Oddities
from fake_airflow.regions import added
from fake_airflow.responses import NO_ROUTE, NoRoute, Params, Refused, Reply, fits, problem, read_cursor, write_cursor
from fake_airflow.rows import Run, RunKey, Task, TaskKey, tries_of

Cursors = Literal["none", "uncounted", "capped"]
KNOWN_TO_V1 = {"limit", "offset", "order_by", "only_active", "updated_at_gte", "updated_at_lte", "execution_date_gte"}
KNOWN_TO_V1 |= {"execution_date_lte", "dag_id", "state", "excluded_events", "included_events", "after", "before"}
KNOWN_TO_V1 |= {"map_index", "token", "full_content", "update_mask"}


class Api:
    """`answer` takes the path as it is sent and decodes it before it routes, as both servers do (%2F is a slash then).

    `cap`: the server's maximum_page_limit. `cursors`: of 3.0 ("none"), 3.2.2 ("uncounted"), 3.3.2 ("capped").

    `visible`: the DAGs that the account may read, None for all; lists leave the others out without a word.
    """

    def __init__(self, model: Model, *, cap: int = 100, cursors: Cursors = "capped") -> None:
        self.model, self.cap, self.cursors = model, cap, cursors
        self.visible: set[str] | None = None
        self.oddities = Oddities()
        self.is_scoped = False
        """The account has rights on single DAGs: lists over all of them answer 403."""
        self.refused: set[str] = set()
        """DAGs that it sees in the list, and whose runs it may not read."""
        self.broken_files: list[str] = []
        """DAG files that Airflow could not import."""
        self.refuses_import_errors = False
        self.shows_events = self.shows_heartbeats = True
        self.approvals: dict[TaskKey, dict[str, Any]] = {}
        """What tasks ask people, in the fields of the API."""
        self.is_viewer = False
        """The account may change nothing."""
        self.version = {"v1": "2.11.2", "v2": "3.4.0b2" if model.has_regions else "3.3.2"}[model.api]
        self.epoch = 0
        self.counted_up_to = 50_000
        self.logs = TaskLogs()
        self._turn = 0

    def handle(self, method: str, path: str, params: Params, headers: Mapping[str, str], body: bytes = b"") -> Reply:
        self.model.settle()
        self._turn += 1
        try:
            return self._handle(method, unquote(path), params, headers, body)
        except NoRoute:
            detail = NO_ROUTE[self.model.api]
            return Reply({"error": detail}, 404) if self.model.api == "v2" else problem(404, detail, "Not Found")
        except Refused as refused:
            if self.model.api == "v2":
                return Reply({"detail": refused.detail}, refused.status)
            return problem(refused.status, refused.detail, "Refused")

    def _handle(self, method: str, path: str, params: Params, headers: Mapping[str, str], body: bytes) -> Reply:
        api = self.model.api
        if path == "/auth/token" and api == "v2":
            return Reply({"access_token": f"token.{self.epoch}"}, 201)
        root = f"/api/{api}"
        if not path.startswith(root + "/"):
            if api == "v2" and path.startswith("/api/v1"):
                raise Refused(404, "/api/v1 has been removed in Airflow 3, please use its upgraded version /api/v2")
            return Reply(b"<!doctype html><title>404</title>", 404, "text/html")
        path = path.removeprefix(root)
        if path == "/version":
            return Reply({"version": self.version, "git_version": ""})
        self._authorize(headers)
        if api == "v1" and (unknown := set(params) - KNOWN_TO_V1):
            raise Refused(400, f"Extra query parameter(s) {', '.join(sorted(unknown))} not in spec")
        parts = path.removeprefix("/").split("/")
        if parts[2:3] == ["dagRuns"]:
            self._check_rights(parts[1])
        if method != "GET":
            if self.is_viewer:
                raise Refused(403, "Forbidden")
            return changes.change(self, method, parts, params, json.loads(body))
        match parts:
            case ["dags", dag_id, "dagRuns", run_id, "taskInstances", task_id, "logs", number]:
                task = find_task(self.model, (dag_id, run_id, task_id), params.get("map_index", -1), params)
                return self.logs.respond(api, task, int(number), params, headers.get("accept", "*/*"))
        return self._get(parts, params)

    def _authorize(self, headers: Mapping[str, str]) -> None:
        authorization = headers.get("authorization", "")
        if self.model.api == "v1":
            if not authorization.startswith("Basic "):
                raise Refused(403, "Forbidden")
        elif authorization != f"Bearer token.{self.epoch}":
            raise Refused(401, "Token Expired" if authorization.startswith("Bearer token.") else "Not authenticated")

    def _get(self, parts: list[str], params: Params) -> Reply:  # noqa: PLR0911 - a table of paths
        match parts:
            case ["dags"]:
                return self._dags(params)
            case ["importErrors"] if self.refuses_import_errors:
                raise Refused(403, "Forbidden")
            case ["importErrors"]:
                errors = [
                    serializers.import_error(self.model.api, number, name)
                    for number, name in enumerate(self.broken_files)
                ]
                return Reply({"import_errors": errors, "total_entries": len(errors)})
            case ["eventLogs"]:
                return self._events(params)
            case ["monitor", "health"] | ["health"]:
                return self._health()
            case ["dags", dag_id]:
                return Reply(self._shape("dag")(self._dag(dag_id), self._turn))
            case ["dags", dag_id, "tasks"]:
                tasks = self._dag(dag_id).tasks.items()
                rows = [{"task_id": name, "downstream_task_ids": behind} for name, behind in tasks]
                return Reply({"tasks": rows, "total_entries": len(rows)})
            case ["dags", dag_id, "dagRuns"]:
                return self._runs(dag_id, params)
            case ["dags", dag_id, "dagRuns", run_id, *rest]:
                return self._get_of_run(dag_id, run_id, rest, params)
        raise NoRoute

    def _get_of_run(self, dag_id: str, run_id: str, parts: list[str], params: Params) -> Reply:
        match parts:
            case []:
                return Reply(self._shape("run")(self._run((dag_id, run_id))))
            case ["taskInstances"]:
                return self._tasks(dag_id, run_id, params)
            case ["hitlDetails"] | ["taskInstances", _, _, "hitlDetails"] if self.model.api == "v2":
                return changes.list_approvals(self, dag_id, run_id, parts, params)
            case ["taskInstances", task_id, *index, "tries"]:
                run = self._run((dag_id, run_id))
                task = find_task(self.model, (dag_id, run_id, task_id), index[0] if index else -1, params)
                if task is None:
                    raise Refused(404, f"The Task Instance with task_id: `{task_id}` was not found")
                tries = [self._shape("task")(item, run) for item in tries_of(task)]
                return Reply({"task_instances": tries, "total_entries": len(tries)})
            case ["taskInstances", task_id, *index]:
                run = self._run((dag_id, run_id))
                task = find_task(self.model, (dag_id, run_id, task_id), index[0] if index else -1, {})
                if task is None:
                    names = f"dag_id: `{dag_id}`, run_id: `{run_id}` and task_id: `{task_id}`"
                    is_v1 = self.model.api == "v1"
                    raise Refused(
                        404, "Task instance not found" if is_v1 else f"The Task Instance with {names} was not found"
                    )
                return Reply(self._shape("task")(task, run))
        raise NoRoute

    def _health(self) -> Reply:
        scheduler: dict[str, Any] = {"status": "healthy"}
        if self.shows_heartbeats:
            scheduler["latest_scheduler_heartbeat"] = self.model.heartbeat.isoformat()
        return Reply({"scheduler": scheduler, "metadatabase": {"status": "healthy"}})

    def _shape(self, kind: str) -> Callable[..., dict[str, Any]]:
        """The JSON of a row; a poisoned one breaks the answer."""
        shape = self.oddities.dressed(getattr(serializers, f"{kind}_{self.model.api}"))

        def shaped(row: Any, *more: Any) -> dict[str, Any]:
            if self.oddities.poisons([row]):
                raise Refused(500, POISONED)
            found: dict[str, Any] = shape(row, *more)
            return found | added(kind, row) if self.model.has_regions else found

        return shaped

    def _check_rights(self, dag_id: str) -> None:
        if dag_id in self.refused or (dag_id == "~" and (self.is_scoped or self.refused)):
            raise Refused(403, "Forbidden")

    def may_see(self, dag_id: str) -> bool:
        return self.visible is None or dag_id in self.visible

    def show(self, visible: set[str] | None) -> None:
        """Change what the account may read."""
        hidden = {dag_id for dag_id in self.model.dags if not self.may_see(dag_id)}
        self.visible = visible
        self.model.appeared |= {dag_id: self.model.now() for dag_id in hidden if self.may_see(dag_id)}

    def _dag(self, dag_id: str) -> Any:
        dag = self.model.dags.get(dag_id)
        if dag is None or not self.may_see(dag_id):
            detail = (
                "The Dag with ID: `{}` was not found"
                if self.model.api == "v2"
                else "The DAG with dag_id: {} was not found"
            )
            raise Refused(404, detail.format(dag_id))
        return dag

    def _run(self, key: RunKey) -> Run:
        run = self.model.runs.get(key)
        if run is None or not self.may_see(key[0]):
            detail = {
                "v1": "DAGRun with DAG ID: '{}' and DagRun ID: '{}' not found",
                "v2": "The DagRun with dag_id: `{}` and run_id: `{}` was not found",
            }
            raise Refused(404, detail[self.model.api].format(*key))
        return run

    # --- Lists -----------------------------------------------------------------------------------------------------

    def _dags(self, params: Params) -> Reply:
        shows_all = params.get("exclude_stale") == "false" or params.get("only_active") == "false"
        rows = [dag for dag in self.model.dags.values() if self.may_see(dag.dag_id) and (shows_all or not dag.is_stale)]
        rows.sort(key=lambda dag: dag.dag_id)
        page = self._slice(self.oddities.listed(rows), params)
        return Reply({"dags": [self._shape("dag")(dag, self._turn) for dag in page], "total_entries": len(rows)})

    def _runs(self, dag_id: str, params: Params) -> Reply:
        if dag_id != "~" and self.model.api == "v2":
            self._dag(dag_id)
        rows = [
            run
            for run in self.model.runs.values()
            if dag_id in {"~", run.dag_id} and self.may_see(run.dag_id) and fits(run.updated_at, "updated_at", params)
            and fits(run.run_after, "run_after", params) and fits(run.logical_date, "execution_date", params)
            and ("state" not in params or run.state in params["state"].split(","))
        ]  # fmt: skip
        return self._page("dag_runs", sorted(rows, key=lambda run: run.id), self._shape("run"), params)

    def _tasks(self, dag_id: str, run_id: str, params: Params) -> Reply:
        if run_id != "~":
            if dag_id == "~":
                raise Refused(400, "dag_id is required")
            if self.model.api == "v2":  # 2.x gives an empty list
                self._run((dag_id, run_id))
        elif dag_id != "~" and self.model.api == "v2":
            self._dag(dag_id)
        runs = self.model.runs
        rows = [
            task
            for task in self.model.tasks.values()
            if dag_id in {"~", task.dag_id} and run_id in {"~", task.run_id} and self.may_see(task.dag_id)
            and (task.dag_id, task.run_id) in runs
            and fits(task.updated_at, "updated_at", params)
            and fits(runs[task.dag_id, task.run_id].run_after, "run_after", params)
            and fits(runs[task.dag_id, task.run_id].logical_date, "execution_date", params)
        ]  # fmt: skip

        def shape(task: Task) -> dict[str, Any]:
            return self._shape("task")(task, runs[task.dag_id, task.run_id])

        if self.model.api == "v1":  # no order, no cap
            limit, offset = int(params.get("limit", 100)) or 100, int(params.get("offset", 0))
            shown = [
                shape(task) for task in self.oddities.unordered(self.oddities.listed(rows))[offset : offset + limit]
            ]
            return Reply({"task_instances": shown, "total_entries": len(rows)})
        return self._page("task_instances", sorted(rows, key=lambda task: task.id), shape, params)

    def _events(self, params: Params) -> Reply:
        if not self.shows_events:
            raise Refused(403, "Forbidden")
        rows = [entry for entry in self.model.events if entry["dag_id"] is None or self.may_see(entry["dag_id"])]
        if (after := params.get("after")) is not None:
            rows = [entry for entry in rows if entry["when"] > datetime.fromisoformat(after)]
        if params.get("order_by", "").startswith("-"):
            rows.reverse()
        page = self._slice(rows, params)
        if self.oddities.poisons(page):
            raise Refused(500, POISONED)
        shown = [serializers.event(entry, self.model) for entry in page]
        return Reply({"event_logs": shown, "total_entries": len(rows)})

    def _slice(self, rows: list[Any], params: Params) -> list[Any]:
        limit, offset = int(params.get("limit", 50)), int(params.get("offset", 0))
        if self.model.api == "v1" and limit == 0:
            limit = 100
        return rows[offset : offset + min(limit, self.cap)]

    def _page(self, name: str, rows: list[Any], shape: Callable[[Any], dict[str, Any]], params: Params) -> Reply:
        """By cursor where one is asked for and known; an API that knows none ignores it and gives the first page."""
        if self.model.api == "v1" or self.cursors == "none" or "cursor" not in params:
            page = self._slice(self.oddities.listed(rows), params)
            body: dict[str, Any] = {name: [shape(row) for row in page], "total_entries": len(rows)}
            if self.model.api == "v2" and self.cursors != "none":
                body |= {"next_cursor": None, "previous_cursor": None, "total_entries_limit": None}
            return Reply(body)
        after = read_cursor(params["cursor"])
        left = [row for row in self.oddities.listed(rows) if row.id > after]
        page = left[: min(int(params.get("limit", 50)), self.cap)]
        next_cursor = write_cursor(page[-1].id) if len(left) > len(page) else None
        body = {name: [shape(row) for row in page], "next_cursor": next_cursor, "previous_cursor": None}
        if self.cursors == "uncounted":
            return Reply(body | {"total_entries": None})
        total = min(len(rows), self.counted_up_to)
        return Reply(body | {"total_entries": total, "total_entries_limit": self.counted_up_to})
