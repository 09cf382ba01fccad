"""What the list compares with earlier: p50 with the previous window, and the last success."""

from typing import Any
from uuid import UUID

import pytest

from conftest import RolledBackDatabase
from factories import TwoTenants, make_run
from statements import count_statements
from windsock.auth.authenticator import Caller, Space
from windsock.pipelines.stats import StatsWindow
from windsock.pipelines.trends import MAX_VALUES, Trend, TrendQuery, list_values
from windsock.sync.writer import MirrorWriter

pytestmark = pytest.mark.anyio

DAY = 24


@pytest.fixture
def space(db: RolledBackDatabase, tenants: TwoTenants) -> Space:
    caller = Caller(tenants.users["viewer"], "viewer@example.com", "Viewer", False, None, None, db)
    return Space(tenants.finance.id, "finance", "viewer", 1, caller)


async def store(db: RolledBackDatabase, tenants: TwoTenants, runs: list[Any]) -> None:
    finance = tenants.finance
    async with db.tenant_transaction(finance.id) as tx:
        await MirrorWriter(finance.id, finance.connector_id).store_runs(tx, runs, finance.pipelines)


async def list_trends(space: Space, pipelines: list[dict[str, Any]], window: StatsWindow) -> list[Trend]:
    query = TrendQuery.of(space, pipelines, window)
    return query.trends(*await space.fetch_batch(*query.statements))


def row(pipeline_id: UUID, *, p50: float | None, total: int, recent: list[Any] | None = None) -> dict[str, Any]:
    return {
        "id": pipeline_id,
        "recent_runs": recent or [],
        "summary": {"p50_duration_seconds": p50, "total_runs": total},
    }


def runs_before(days: int, count: int, minutes: float) -> list[Any]:
    """Runs in the previous window of seven days."""
    return [
        make_run("never_run", f"old {n}", "success", hours_ago=days * DAY + n, minutes=minutes) for n in range(count)
    ]


@pytest.mark.parametrize(
    ("previous", "total", "change"), [(6, 6, 0.5), (5, 5, 0.5), (4, 6, None), (6, 4, None), (0, 6, None)]
)
async def test_p50_is_compared_only_with_enough_runs_in_both_windows(
    space: Space, db: RolledBackDatabase, tenants: TwoTenants, previous: int, total: int, change: float | None
) -> None:
    await store(db, tenants, runs_before(10, previous, 10))
    pipeline_id = tenants.finance.pipelines["never_run"]
    (trend,) = await list_trends(space, [row(pipeline_id, p50=900, total=total)], StatsWindow.ending_now(7))
    assert trend.p50_change == (None if change is None else pytest.approx(change, abs=0.03))


async def test_windows_do_not_overlap_and_long_ones_are_not_compared(
    space: Space, db: RolledBackDatabase, tenants: TwoTenants
) -> None:
    pipeline_id = tenants.finance.pipelines["never_run"]
    await store(db, tenants, runs_before(2, 6, 10) + runs_before(20, 6, 10))
    pipelines = [row(pipeline_id, p50=600, total=6)]
    assert (await list_trends(space, pipelines, StatsWindow.ending_now(7)))[0].p50_change is None
    assert (await list_trends(space, pipelines, StatsWindow.ending_now(15)))[0].p50_change is not None
    assert (await list_trends(space, pipelines, StatsWindow.ending_now(365)))[0].p50_change is None


async def test_last_success_is_found_behind_a_long_series_of_failures(
    space: Space, db: RolledBackDatabase, tenants: TwoTenants
) -> None:
    pipeline_id = tenants.finance.pipelines["never_run"]
    success = make_run("never_run", "good", "success", hours_ago=30 * DAY)
    failures = [make_run("never_run", f"bad {n}", "failed", hours_ago=n + 1) for n in range(20)]
    await store(db, tenants, [*failures, success])
    failed = [{"status": "failed", "ended_at": "2026-11-29T00:00:00Z"}] * 14
    window = StatsWindow.ending_now(7)
    (trend,) = await list_trends(space, [row(pipeline_id, p50=None, total=0, recent=failed)], window)
    assert trend.last_success_at == success.ended_at
    recent = [{"status": "success", "ended_at": "2026-11-28T00:00:00Z"}, *failed[1:]]
    (trend,) = await list_trends(space, [row(pipeline_id, p50=None, total=0, recent=recent)], window)
    assert trend.last_success_at is not None
    assert trend.last_success_at.isoformat() == "2026-11-28T00:00:00+00:00"
    (trend,) = await list_trends(space, [row(pipeline_id, p50=None, total=0, recent=failed[:3])], window)
    assert trend == Trend(None, None), "all of its runs are among the recent ones"


async def test_trends_are_read_in_one_round_trip(space: Space, db: RolledBackDatabase, tenants: TwoTenants) -> None:
    executed = count_statements(db)
    pipelines = [row(pipeline_id, p50=1, total=9) for pipeline_id in tenants.finance.pipelines.values()]
    await list_trends(space, pipelines, StatsWindow.ending_now(7))
    assert len([statement for statement in executed if "set_config" not in statement]) == 2
    assert await list_trends(space, [], StatsWindow.ending_now(7)) == []


async def test_values_are_those_of_the_space(space: Space, tenants: TwoTenants, db: RolledBackDatabase) -> None:
    assert await list_values(space, space, "owner") == ["airflow", "alice", "bob"]
    assert await list_values(space, space, "tag") == ["100%", "raw", "tier-1"]
    async with db.tenant_transaction(tenants.marketing.id):
        await db.connection.execute(
            "UPDATE pipelines SET tags = ARRAY(SELECT 'theirs ' || n FROM generate_series(1, 600) n)"
        )
    assert await list_values(space, space, "tag") == ["100%", "raw", "tier-1"]
    async with db.tenant_transaction(tenants.finance.id):
        await db.connection.execute(
            "UPDATE pipelines SET tags = ARRAY(SELECT 'ours ' || n FROM generate_series(1, 600) n)"
        )
    assert len(await list_values(space, space, "tag")) == MAX_VALUES
