"""The API of incidents: filters, order, pages, and what editors do."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from conftest import RolledBackDatabase
from factories import TwoTenants
from incident_rows import INCIDENT
from validating_client import ValidatingClient

pytestmark = pytest.mark.anyio
INCIDENTS = "/spaces/finance/incidents"
ADDRESS = f"{INCIDENTS}/{INCIDENT}"


class Requests:
    """Requests of one user after another, and rows to ask about."""

    def __init__(self, client: ValidatingClient, tenants: TwoTenants, db: RolledBackDatabase) -> None:
        self.client, self.tenants, self.db = client, tenants, db

    async def __call__(
        self, method: str, path: str, body: Any = None, *, kind: str = "editor", status: int = 200
    ) -> Any:
        response = await self.client.as_(self.tenants.keys[kind], method, path, json=body)
        assert response.status_code == status, response.text
        return response.json()

    async def add(self, name: str, criticality: str, minutes: int, state: str = "open") -> None:
        finance = self.tenants.finance
        async with self.db.tenant_transaction(finance.id):
            await self.db.connection.execute(
                "WITH p AS (INSERT INTO pipelines (space_id, connector_id, external_id, name, criticality, is_paused,"
                " is_active, has_import_errors)"
                " VALUES (%(space)s, %(connector)s, %(name)s, %(name)s, %(criticality)s, false, true, false)"
                " RETURNING id)"
                " INSERT INTO incidents (space_id, connector_id, pipeline_id, kind, state, opened_at, last_failed_at,"
                " acknowledged_at, resolved_at)"
                " SELECT %(space)s, %(connector)s, id, 'failed', %(state)s, %(at)s, now(),"
                " CASE %(state)s WHEN 'acknowledged' THEN now() END,"
                " CASE %(state)s WHEN 'resolved' THEN now() END FROM p",
                {"space": finance.id, "connector": finance.connector_id, "name": name, "criticality": criticality,
                 "at": datetime.now(UTC) - timedelta(minutes=minutes), "state": state},
            )  # fmt: skip

    async def names(self, query: str = "") -> list[str]:
        return [row["pipeline"]["name"] for row in await self("GET", f"{INCIDENTS}{query}", kind="viewer")]


@pytest.fixture
async def requests(client: ValidatingClient, tenants: TwoTenants, db: RolledBackDatabase) -> Requests:
    found = Requests(client, tenants, db)
    await found.add("new_low", "low", 5)
    await found.add("old_critical", "critical", 90)
    await found.add("new_critical", "critical", 5)
    await found.add("watched_critical", "critical", 300, "acknowledged")
    await found.add("over", "critical", 5, "resolved")
    return found


async def test_list_is_sorted_by_criticality_then_open_then_age(requests: Requests) -> None:
    expected = ["old_critical", "new_critical", "watched_critical", "daily_report", "new_low"]
    assert await requests.names("?is_held_back=false") == expected
    assert (await requests.names("?is_held_back=false&sort=newest"))[-1] == "daily_report"


async def test_pages_by_cursor_are_the_whole_list(requests: Requests) -> None:
    for sort in ("urgency", "newest"):
        whole, walked, cursor = await requests.names(f"?sort={sort}"), [], ""
        while True:
            path = f"{INCIDENTS}?size=2&sort={sort}{cursor}"
            response = await requests.client.as_(requests.tenants.keys["viewer"], "GET", path)
            walked += [row["pipeline"]["name"] for row in response.json()]
            if "x-next-cursor" not in response.headers:
                break
            cursor = f"&cursor={response.headers['x-next-cursor']}"
        assert walked == whole


async def test_pages_by_cursor_skip_no_row_while_rows_move(requests: Requests) -> None:
    for minutes in range(10, 60, 10):
        await requests.add(f"critical_{minutes}", "critical", minutes)
    whole = await requests.names("?is_held_back=false")
    walked: list[str] = []
    path = f"{INCIDENTS}?is_held_back=false&size=2"
    cursor = ""
    while True:
        response = await requests.client.as_(requests.tenants.keys["viewer"], "GET", path + cursor)
        rows = response.json()
        walked += [row["pipeline"]["name"] for row in rows]
        if "x-next-cursor" not in response.headers:
            break
        cursor = f"&cursor={response.headers['x-next-cursor']}"
        verb = "resolve" if len(walked) == 4 else "acknowledge"
        for row in rows:
            if row["state"] == "open":
                await requests("POST", f"{INCIDENTS}/{row['id']}/{verb}")
    assert list(dict.fromkeys(walked)) == whole
    assert walked.count("old_critical") == 2, "acknowledged after it was read, it is at its new place too"


async def test_total_is_that_of_all_pages_also_behind_the_last_one(requests: Requests) -> None:
    key = requests.tenants.keys["viewer"]
    for query, total in (("", 6), ("?size=2&page=2", 6), ("?size=6&page=9", 6), ("?q=zebra", 0), ("?sort=newest", 6)):
        response = await requests.client.as_(key, "GET", f"{INCIDENTS}{query}")
        assert response.headers["x-total-count"] == str(total), query
    last = await requests.client.as_(key, "GET", f"{INCIDENTS}?size=6")
    behind = await requests.client.as_(key, "GET", f"{INCIDENTS}?cursor={last.headers['x-next-cursor']}")
    assert (behind.json(), behind.headers["x-total-count"]) == ([], "6")


async def test_page_behind_a_deleted_incident_is_not_empty(requests: Requests) -> None:
    whole = await requests.names("?is_held_back=false")
    path = f"{INCIDENTS}?is_held_back=false&size=2"
    response = await requests.client.as_(requests.tenants.keys["viewer"], "GET", path)
    async with requests.db.tenant_transaction(requests.tenants.finance.id):
        await requests.db.connection.execute("DELETE FROM incidents WHERE id = %s", (UUID(response.json()[-1]["id"]),))
    assert await requests.names(f"?is_held_back=false&cursor={response.headers['x-next-cursor']}") == whole[2:]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("?state=resolved", {"over"}),
        ("?state=acknowledged", {"watched_critical"}),
        ("?kind=sync", set()),
        ("?criticality=low", {"new_low"}),
        ("?q=critical new", {"new_critical"}),
        ("?q=no rows", {"daily_report"}),
        ("?is_held_back=true", {"hourly_load"}),
        (f"?held_back_by_id={INCIDENT}", {"hourly_load"}),
        ("?mine=true", {"daily_report"}),
    ],
)
async def test_filters(requests: Requests, query: str, expected: set[str]) -> None:
    assert set(await requests.names(query)) == expected


async def test_timeline_names_who_did_what(requests: Requests) -> None:
    until = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    acknowledged = await requests("POST", f"{ADDRESS}/acknowledge", {"reason": "disk full", "until": until})
    assert (acknowledged["state"], acknowledged["acknowledged_by"]["name"]) == ("acknowledged", "Editor")
    await requests("POST", f"{ADDRESS}/snooze", {"until": until})
    member = str(requests.tenants.users["viewer"])
    assigned = await requests("POST", f"{ADDRESS}/assign", {"user_id": member})
    assert (assigned["state"], assigned["assignee"]["id"]) == ("snoozed", member)
    assert (assigned["acknowledged_by"], assigned["acknowledged_until"]) == (None, None)
    resolved = await requests("POST", f"{ADDRESS}/resolve", {"reason": "more space"})
    assert (resolved["state"], resolved["resolved_by"]["name"]) == ("resolved", "Editor")
    kinds = [event["kind"] for event in resolved["timeline"]]
    assert kinds == ["opened", "acknowledged", "snoozed", "assigned", "resolved"]
    assert resolved["timeline"][-1]["details"] == {"reason": "more space"}
    await requests("POST", f"{ADDRESS}/acknowledge", status=409)
    await requests("POST", f"{ADDRESS}/snooze", {"until": until}, status=409)


async def test_bulk_acknowledge_leaves_resolved_ones_and_needs_all_of_them(requests: Requests) -> None:
    rows = await requests("GET", f"{INCIDENTS}?state=open&state=resolved")
    ids = [row["id"] for row in rows]
    done = await requests("POST", f"{INCIDENTS}/acknowledge", {"ids": ids})
    assert done == {"acknowledged": len(ids) - 1}
    other = str(requests.tenants.marketing.incident_id)
    await requests("POST", f"{INCIDENTS}/acknowledge", {"ids": [*ids, other]}, status=404)


@pytest.mark.parametrize(
    ("verb", "body", "status"),
    [
        ("acknowledge", {"until": "2020-01-01T00:00:00Z"}, 422),
        ("acknowledge", {"reason": " "}, 422),
        ("snooze", {"until": "2020-01-01T00:00:00Z"}, 422),
        ("snooze", {"until": "9999-12-31T23:59:59-14:00"}, 422),
        ("snooze", {}, 422),
        ("assign", {"user_id": str(INCIDENT)}, 404),
        ("assign", {"team_id": str(INCIDENT)}, 404),
        ("assign", {"user_id": str(INCIDENT), "team_id": str(INCIDENT)}, 422),
    ],
)
async def test_invalid_changes_are_refused(requests: Requests, verb: str, body: Any, status: int) -> None:
    await requests("POST", f"{ADDRESS}/{verb}", body, status=status)
    assert (await requests("GET", ADDRESS))["state"] == "open"


async def test_incident_of_a_condition_is_not_resolved_by_hand(requests: Requests) -> None:
    async with requests.db.tenant_transaction(requests.tenants.finance.id):
        await requests.db.connection.execute("UPDATE incidents SET kind = 'import_error'")
    refused = await requests("POST", f"{ADDRESS}/resolve", status=409)
    assert "Acknowledge or snooze" in str(refused)
