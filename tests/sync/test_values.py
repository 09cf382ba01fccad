"""What a provider may give of a task run, and the mirror cannot keep, is refused; nothing is stored changed."""

from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from factories import TwoTenants, make_run, make_task_run
from windsock.db.queries import Query
from windsock.sync.writer import MirrorWriter

if TYPE_CHECKING:
    from conftest import RolledBackDatabase

pytestmark = pytest.mark.anyio
STORED = Query("SELECT external_id, map_index, try_number, max_tries FROM task_runs WHERE external_id LIKE 'task %%'")


@pytest.mark.parametrize(
    "refused",
    [
        {"try_number": 2**31},
        {"try_number": -(2**40)},
        {"max_tries": 2**32 + 1},
        {"map_index": 2**33},
        {"note": "a\x00b"},
        {"provider_metadata": {"a": "\x00"}},
    ],
)
async def test_page_with_unstorable_task_run_is_rejected_as_a_whole(
    tenants: TwoTenants, db: "RolledBackDatabase", refused: dict[str, Any]
) -> None:
    space = tenants.finance
    mirror = MirrorWriter(space.id, space.connector_id)
    most = 2**31 - 1
    fits = make_task_run("never_run", "run", "task 1", "success", map_index=most, try_number=most, max_tries=-most - 1)
    async with db.tenant_transaction(space.id) as tx:
        await mirror.store_runs(tx, [make_run("never_run", "run", "success")], space.pipelines)

    async def store() -> None:
        async with db.tenant_transaction(space.id) as tx:
            other = make_task_run("never_run", "run", "task 2", "success", **refused)
            await mirror.store_task_runs(tx, [fits, other], space.pipelines)

    with pytest.raises(psycopg.DataError):
        await store()
    async with db.tenant_transaction(space.id) as tx:
        assert await tx.fetch_all(STORED) == []
        for _ in range(2):  # also one page after another in one transaction
            stored = await mirror.store_task_runs(tx, [fits], space.pipelines)
            assert len(stored.ids) == 1
        (row,) = await tx.fetch_all(STORED)
    assert tuple(row.values()) == ("task 1", most, most, -most - 1)
