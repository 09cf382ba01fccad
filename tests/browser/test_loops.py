"""Iterations of a loop in the grid of a run, in a real browser."""

import psycopg
from playwright.sync_api import expect

from browser.conftest import Visitor
from windsock.db.database import CONNECTION_OPTIONS

ITERATIONS = """
INSERT INTO task_runs (space_id, run_id, external_id, name, status, try_number, max_tries, map_index, region_id,
                       region_index, loop_id, loop_iteration, provider_metadata, started_at, ended_at)
SELECT r.space_id, r.id, 'refine.guess', 'guess', 'success', 1, 0, m.index, 'a-' || i.iteration, m.index, 'refine',
       i.iteration, jsonb_build_object('rendered_map_index', 'shelf ' || m.index), r.run_at,
       r.run_at + i.iteration * interval '5 s'
FROM runs r, generate_series(0, 2) AS i (iteration), generate_series(0, 1) AS m (index)
WHERE r.id = %(run_id)s
"""


def test_task_in_grid_expands_to_loop_iterations(visitor: Visitor) -> None:
    finance, page = visitor.live.tenants.finance, visitor.page
    names = {"run_id": finance.run_id}
    with psycopg.connect(visitor.live.database_url, options=CONNECTION_OPTIONS, autocommit=True) as connection:
        connection.execute("SELECT set_config('windsock.space_id', %s, false)", (str(finance.id),))
        connection.execute(ITERATIONS, names)
        try:
            visitor.sign_in()
            page.goto(f"{visitor.live.url}/spaces/finance/runs/{finance.run_id}")
            task = page.get_by_role("button", name="guess")
            expect(page.locator("#grid .line", has=task).locator(".state.success")).to_have_text("6")
            task.click()
            expected = [f"iteration {item} [{index}] shelf {index}" for item in range(3) for index in range(2)]
            expect(page.locator("#grid .line a.open").filter(has_text="iteration")).to_have_text(expected)
        finally:
            connection.execute("DELETE FROM task_runs WHERE run_id = %(run_id)s AND loop_id IS NOT NULL", names)
