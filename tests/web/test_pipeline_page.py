"""The page of one pipeline: graph of tasks, grid of tasks by runs, calendar, charts with values, team."""

import re
from datetime import UTC, date, datetime, timedelta
from html import unescape
from itertools import pairwise
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from conftest import RolledBackDatabase
from factories import TwoTenants
from validating_client import ValidatingClient
from web.conftest import Browser
from windsock.pipelines import task_history
from windsock.pipelines.task_history import TaskHistory, TaskState
from windsock.sync.task_graphs import longest_path_depths
from windsock.web.run_calendar import build_calendar
from windsock.web.task_graph import MAX_TASKS, lay_out, task_graph_svg
from windsock.web.task_grid import MAX_TASKS as MAX_GRID_TASKS
from windsock.web.task_grid import build_task_grid

GRAPH = {"extract": ["check"], "check": ["load"], "load": ["report<b>"], "report<b>": []}


def pipeline_path(tenants: TwoTenants, name: str = "daily_report") -> str:
    return f"/spaces/finance/pipelines/{tenants.finance.pipelines[name]}"


async def store_graph(db: RolledBackDatabase, tenants: TwoTenants, graph: dict[str, list[str]]) -> None:
    async with db.tenant_transaction(tenants.finance.id):
        await db.connection.execute(
            "UPDATE pipelines SET task_successors = %s, task_depths = %s WHERE name = 'daily_report'",
            (Jsonb(graph), Jsonb(longest_path_depths(graph))),
        )


@pytest.mark.anyio
async def test_graph_shows_states_of_newest_run(viewer: Browser, tenants: TwoTenants, db: RolledBackDatabase) -> None:
    await store_graph(db, tenants, GRAPH)
    async with db.tenant_transaction(tenants.finance.id):
        await db.connection.execute("DELETE FROM runs WHERE external_id = 'r2'")
    text = (await viewer.open(pipeline_path(tenants))).text
    assert 'aria-label="Graph of 4 tasks"' in text
    assert "<title>load: failed</title>" in text
    assert "<title>check: success \N{MULTIPLICATION SIGN}3</title>" in text
    assert "<title>report&lt;b&gt;: not in the newest run</title>" in text
    assert text.count('class="edge"') == 3


@pytest.mark.anyio
async def test_unknown_graph_falls_back_to_list(viewer: Browser, tenants: TwoTenants, db: RolledBackDatabase) -> None:
    async with db.tenant_transaction(tenants.finance.id):
        await db.connection.execute("DELETE FROM runs WHERE external_id = 'r2'")
    text = (await viewer.open(pipeline_path(tenants))).text
    assert '<svg class="graph"' not in text
    tasks = text[text.index('<ol class="task-list">') :]
    tasks = tasks[: tasks.index("</ol>")]
    assert re.findall(r'<span dir="auto">(\w+)</span> <span class="state (\w+)">', tasks) == [
        ("check", "success"), ("extract", "success"), ("load", "failed"),
    ]  # fmt: skip


@pytest.mark.anyio
async def test_grid_shows_failed_tasks_by_run(
    viewer: Browser, tenants: TwoTenants, db: RolledBackDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store_graph(db, tenants, GRAPH)
    text = (await viewer.open(pipeline_path(tenants))).text
    grid = text[text.index('<table class="task-grid">') :]
    grid = grid[: grid.index("</table>")]
    rows = re.findall(r'<th scope="row"[^>]*>([^<]+)</th><td class="number[^"]*">(\d*)</td>(.*?)</tr>', grid)
    found = [(unescape(name), failed, re.findall(r'class="cell (\w+)"', cells)) for name, failed, cells in rows]
    assert found == [
        ("extract", "", ["success"]), ("check", "", ["success"]), ("load", "1", ["failed"]), ("report<b>", "", []),
    ]  # fmt: skip
    assert f'href="/spaces/finance/runs/{tenants.finance.run_id}"' in grid
    assert "1 of the newest 2 runs are not shown" in text
    monkeypatch.setattr(task_history, "MAX_TASK_RUNS", 0)
    assert 'class="task-grid"' not in (await viewer.open(pipeline_path(tenants))).text


def history_of(tasks: int, runs: int) -> TaskHistory:
    rows: list[dict[str, Any]] = [{"id": uuid4()} for _ in range(runs)]
    states = {
        row["id"]: {
            f"task {number}": TaskState("failed" if number == tasks - 1 and place == 1 else "success", 1)
            for number in range(tasks)
        }
        for place, row in enumerate(rows)
    }
    return TaskHistory(rows, states, {}, {})


def test_grid_of_many_tasks_keeps_those_that_failed() -> None:
    grid = build_task_grid(history_of(MAX_GRID_TASKS + 50, 3))
    assert (len(grid.rows), grid.hidden, len(grid.runs)) == (MAX_GRID_TASKS, 50, 3)
    assert [(row.name, row.failed) for row in grid.rows if row.failed] == [(f"task {MAX_GRID_TASKS + 49}", 1)]


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=120))
def test_layout_keeps_distance_and_direction(edges: list[tuple[int, int]]) -> None:
    graph: dict[str, list[str]] = {f"t{number}": [] for number in range(31)}
    for source, target in edges:
        if source < target:
            graph[f"t{source}"].append(f"t{target}")
    layout = lay_out(graph, longest_path_depths(graph))
    assert layout
    assert all(target[1] == source[1] + 1 for source, target in layout.edges), "edges go one layer to the right"
    assert {name for layer in layout.layers for name, _ in layer if "\0" not in name} == graph.keys()
    for layer in layout.layers:
        rows = sorted(layout.row[node] for node in layer)
        assert all(below - above > 0.999 for above, below in pairwise(rows)), "no two overlap"


def test_graph_without_depths_or_with_too_many_tasks_is_not_drawn() -> None:
    many: dict[str, list[str]] = {f"t{number}": [] for number in range(MAX_TASKS + 1)}
    long_edges = {f"t{number}": [f"t{other}" for other in range(number + 1, 60)] for number in range(60)}
    for graph in ({}, many, long_edges):
        history = TaskHistory([], {}, graph, longest_path_depths(graph))
        assert task_graph_svg(history) is None


def test_calendar_counts_runs_and_failures_by_day() -> None:
    today = date(2026, 11, 30)
    stats = [
        {"day": "2026-11-30", "total": 4, "failed": 4}, {"day": "2026-11-29", "total": 24, "failed": 1},
        {"day": "2026-09-02", "total": 2, "failed": 0}, {"day": "2026-09-01", "total": 7, "failed": 7},
    ]  # fmt: skip
    calendar = build_calendar(stats, today)
    days = {cell.day: cell.kind for row in calendar.rows for cell in row if cell}
    assert len(days) == 90
    assert (days[today], days[date(2026, 11, 29)], days[date(2026, 9, 2)]) == ("all-bad", "bad", "ok")
    assert days[date(2026, 11, 28)] == "none"
    assert (calendar.total, calendar.failed) == (30, 5), "1 September is 91 days ago"
    assert [name for name, _ in calendar.months] == ["Sep", "Oct", "Nov"]
    assert sum(weeks for _, weeks in calendar.months) == len(calendar.rows[0])
    assert all(cell.day.weekday() == 0 for cell in calendar.rows[0] if cell)


@pytest.mark.anyio
async def test_calendar_links_days_to_their_failed_runs(viewer: Browser, tenants: TwoTenants) -> None:
    text = (await viewer.open(pipeline_path(tenants))).text
    links = re.findall(r'<td class="all-bad"[^>]*><a href="([^"]+)#runs">', text)
    assert len(links) == 1
    listed = (await viewer.open(unescape(links[0]))).text
    assert re.findall(r'<a class="open"[^>]*>(.*?)</a>', listed) == ["r1"]
    assert "any time</a>" in listed


@pytest.mark.anyio
async def test_charts_have_axes_with_units_and_values_as_table(
    viewer: Browser, client: ValidatingClient, tenants: TwoTenants
) -> None:
    text = (await viewer.open(f"{pipeline_path(tenants)}?days=7")).text
    values = re.findall(r'<svg class="values".*?</svg>', text)
    assert re.findall(r">([^<>]+)</text>", values[0]) == ["0", "5 min", "10 min", "15 min", "20 min"]
    assert re.findall(r">([^<>]+)</text>", values[1]) == ["0", "1"]
    today = datetime.now(UTC).date()
    shown = {f"{day.day} {day:%b}" for day in (today - timedelta(days=ago) for ago in range(8))}
    dates = re.findall(r'<text x="[\d.]+%" y="\d+" [^>]*>(\d+ \w{3})</text>', text)
    assert len(dates) >= 6
    assert set(dates) <= shown
    table = text[text.index('aria-label="Values by day"') :]
    rows = re.findall(r"<th scope=\"row\">(\S+)</th>(.*?)</tr>", table[: table.index("</table>")])
    cells = [re.findall(r">([^<]+)</td>", row) for _, row in rows]
    assert sum(int(runs) for runs, *_ in cells) == 2
    assert sum(int(failed) for _, failed, *_ in cells) == 1
    assert {median for _, _, median, _ in cells} == {"10 min", "20 min"} or len(cells) == 1
    assert (await client.as_(tenants.keys["viewer"], "GET", "/spaces/finance/orchestration/pipelines")).is_success


@pytest.mark.anyio
async def test_times_of_charts_are_in_the_zone_of_the_viewer_which_is_named(
    viewer: Browser, tenants: TwoTenants
) -> None:
    utc = (await viewer.open(pipeline_path(tenants))).text
    viewer.cookies.set("windsock_zone", "Asia%2FKolkata")
    text = (await viewer.open(pipeline_path(tenants))).text
    ended = re.findall(r"ended (\d{4}-\d\d-\d\d \d\d:\d\d) (\S+): ", text)
    assert {zone for _, zone in ended} == {"Asia/Kolkata"}
    in_utc = re.findall(r"ended (\d{4}-\d\d-\d\d \d\d:\d\d) UTC: ", utc)
    moved = [datetime.fromisoformat(time) + timedelta(hours=5, minutes=30) for time in in_utc]
    assert [datetime.fromisoformat(time) for time, _ in ended] == moved
    assert "times in Asia/Kolkata" in text
    assert text.count("days in UTC, which begin at 05:30 in Asia/Kolkata") == 2
    assert 'data-rendered-zone="Asia/Kolkata"' in text
    shown = (await viewer.open(f"{pipeline_path(tenants)}?ended_from=2026-11-29T00:00:00Z")).text
    assert "Ended from 2026-11-29 05:30 Asia/Kolkata" in shown


@pytest.mark.anyio
async def test_team_is_shown_with_members_and_form_is_closed(editor: Browser, tenants: TwoTenants) -> None:
    text = (await editor.open(pipeline_path(tenants, "hourly_load"))).text
    assert f'<a href="/spaces/finance/teams/{tenants.finance.team_id}">ingestion</a>' in text
    assert "1 member</summary>" in text
    assert 'href="mailto:viewer@example.com"' in text
    form = text[: text.index('action="/spaces/finance/pipelines/govern"')]
    assert form.rindex('<details class="edit">') > form.rindex("</details>")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("contact", "shown"),
    [
        ("load@example.com", '<a href="mailto:load@example.com" dir="auto">load@example.com</a>'),
        ("https://chat.example/load", '<a href="https://chat.example/load" dir="auto" rel="noreferrer">'),
        ("javascript:alert(1)", '<span dir="auto">javascript:alert(1)</span>'),
        (None, '<span class="quiet">no contact</span>'),
    ],
)
async def test_contact_of_team_is_beside_its_name(
    viewer: Browser, tenants: TwoTenants, db: RolledBackDatabase, contact: str | None, shown: str
) -> None:
    async with db.tenant_transaction(tenants.finance.id):
        await db.connection.execute("UPDATE teams SET contact = %s", (contact,))
    text = (await viewer.open(pipeline_path(tenants, "hourly_load"))).text
    team = text[text.index("<dt>Team</dt>") :]
    assert shown in team[: team.index("</dd></div>")]


@pytest.mark.anyio
async def test_long_team_name_wraps(viewer: Browser, tenants: TwoTenants, db: RolledBackDatabase) -> None:
    async with db.tenant_transaction(tenants.finance.id):
        await db.connection.execute("UPDATE teams SET name = %s", ("x" * 195,))
    assert "x" * 195 in (await viewer.open(pipeline_path(tenants, "hourly_load"))).text


@pytest.mark.anyio
async def test_pipeline_page_of_other_space_is_not_found(viewer: Browser, tenants: TwoTenants) -> None:
    theirs: UUID = tenants.marketing.pipelines["daily_report"]
    assert (await viewer.open(f"/spaces/finance/pipelines/{theirs}")).status_code == 404
