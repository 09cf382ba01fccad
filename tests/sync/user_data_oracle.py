"""What people add in a life: comments, teams, watches, criticality; and that all of it is there after each sync."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from hypothesis.stateful import precondition, rule

from sync.airflow_rules import NUMBERS, StateMachineBase
from windsock.db.database import Row
from windsock.spaces.store import create_user
from windsock.sync.retention import purge_expired

ADDED = {
    "criticality": "UPDATE pipelines SET criticality = 'critical' WHERE space_id = %(space_id)s AND id = %(id)s",
    "team": "UPDATE pipelines SET team_id = %(team)s WHERE space_id = %(space_id)s AND id = %(id)s",
    "watch": "INSERT INTO watches (space_id, pipeline_id, user_id) VALUES (%(space_id)s, %(id)s, %(user)s)"
    " ON CONFLICT DO NOTHING",
}
STILL = {
    "criticality": "SELECT id FROM pipelines WHERE criticality = 'critical'",
    "team": "SELECT id FROM pipelines WHERE team_id = %(team)s",
    "watch": "SELECT pipeline_id AS id FROM watches WHERE user_id = %(user)s",
}
COMMENT = (
    "INSERT INTO comments (space_id, run_id, task_run_id, content) VALUES (%(space_id)s, %(run)s, %(task)s, %(text)s)"
)
COMMENTS = (
    "SELECT m.content, m.run_id, t.external_id, t.map_index,"
    " EXISTS (SELECT FROM task_runs o WHERE o.run_id = t.run_id AND o.external_id = t.external_id"
    "         AND o.map_index = -1 AND o.id <> t.id) AS has_placeholder"
    " FROM comments m LEFT JOIN task_runs t ON t.run_id = m.run_id AND t.id = m.task_run_id"
)


class UserDataRules(StateMachineBase):
    """`said`: each comment with its run, task and map_index; `added`: the pipelines with each of the rest."""

    def prepare_people(self) -> None:
        self.comments: dict[str, tuple[UUID, str | None, int | None]] = {}
        self.added: dict[str, set[UUID]] = {name: set() for name in ADDED}
        self.names: dict[str, Any] = {}

    async def _names(self) -> dict[str, Any]:
        if not self.names:
            async with self.harness.db.transaction() as tx:
                user = await create_user(tx, email=f"{uuid4().hex}@example.com", name="Ada", is_superadmin=False)
            await self.harness.execute("INSERT INTO teams (space_id, name) VALUES (%(space_id)s, 'owners')")
            (team,) = await self.harness.rows("SELECT id FROM teams")
            self.names = {"user": user["id"], "team": team["id"]}
        return self.names

    @rule(number=NUMBERS)
    def add_user_data(self, number: int) -> None:
        self.do(self._add(number))

    async def _add(self, number: int) -> None:
        names = await self._names()
        runs = await self.harness.rows("SELECT id, pipeline_id FROM runs ORDER BY id")
        if not runs:
            return
        run = runs[number % len(runs)]
        await self._say(run["id"], None)
        what = sorted(ADDED)[number % len(ADDED)]
        await self.harness.execute(ADDED[what], {**names, "id": run["pipeline_id"]})
        self.added[what].add(run["pipeline_id"])

    @rule(number=NUMBERS)
    def comment_on_a_task(self, number: int) -> None:
        """Of a mapped one that has not been expanded yet, where there is such a one."""
        self.do(self._say_about_a_task(number))

    async def _say_about_a_task(self, number: int) -> None:
        tasks = await self.harness.rows(
            "SELECT t.*, p.external_id AS dag_id, r.external_id AS dag_run_id FROM task_runs t"
            " JOIN runs r ON r.id = t.run_id JOIN pipelines p ON p.id = r.pipeline_id"
            " ORDER BY p.external_id = 'mapped' AND t.external_id = 'load' AND t.map_index = -1"
            "          AND t.removed_at IS NULL DESC, t.id"
        )
        if tasks:
            task = tasks[number % len(tasks) if number % 2 else 0]
            await self._say(task["run_id"], task)
            for _ in range(number % 3 * 4):  # on to where it is expanded
                self.model.step((task["dag_id"], task["dag_run_id"]))

    async def _say(self, run_id: UUID, task: Row | None) -> None:
        text = f"comment {len(self.comments)}"
        await self.harness.execute(COMMENT, {"run": run_id, "task": task and task["id"], "text": text})
        self.comments[text] = (run_id, task["external_id"] if task else None, task["map_index"] if task else None)

    @precondition(lambda self: self.config.retention_days)
    @rule()
    def what_is_too_old_is_deleted(self) -> None:
        if self.config.retention_days is not None:
            self.do(self._purge(timedelta(days=self.config.retention_days)))

    async def _purge(self, age: timedelta) -> None:
        query = "SELECT id FROM runs WHERE run_at < %(before)s AND status NOT IN ('queued', 'running')"
        old = {row["id"] for row in await self.harness.rows(query, {"before": datetime.now(UTC) - age})}
        await purge_expired(self.harness.db)
        self.comments = {text: about for text, about in self.comments.items() if about[0] not in old}
        assert not old & {row["id"] for row in await self.harness.rows("SELECT id FROM runs")}

    async def assert_overlay(self) -> None:
        """(c) All of it, on the same things; what was said about a placeholder is said about its first instance."""
        if not self.names and not self.comments:
            return
        rows = {row["content"]: row for row in await self.harness.rows(COMMENTS)}
        for text, (run_id, task, map_index) in self.comments.items():
            assert text in rows, "(c) a comment was lost"
            row = rows[text]
            about = (row["run_id"], row["external_id"], row["map_index"])
            moved = (run_id, task, 0 if map_index == -1 else map_index)
            assert about in {(run_id, task, map_index), moved}, f"(c) {text} is about {about}"
        for what, pipelines in self.added.items() if self.names else ():
            still = {row["id"] for row in await self.harness.rows(STILL[what], self.names)}
            assert still >= pipelines, f"(c) a {what} was lost"
