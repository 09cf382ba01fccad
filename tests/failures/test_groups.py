"""Fingerprints in the API: lists, details, and what editors do with groups; the algorithm never undoes that."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from factories import TwoTenants
from failures.faults import own
from failures.harness import FailureHarness
from validating_client import ValidatingClient

pytestmark = pytest.mark.anyio

BASE = "/spaces/finance/orchestration"
FINGERPRINTS = f"{BASE}/fingerprints"


class Api:
    """Requests of an editor, and failures that are read."""

    def __init__(self, client: ValidatingClient, harness: FailureHarness, tenants: TwoTenants) -> None:
        self.client, self.harness, self.tenants = client, harness, tenants

    async def send(self, method: str, path: str, *, status: int = 200, caller: str = "editor", **sent: Any) -> Any:
        response = await self.client.as_(self.tenants.keys[caller], method, path, **sent)
        assert response.status_code == status, response.text
        return response.json() if response.content else None

    async def groups(self, **params: Any) -> list[Any]:
        found: list[Any] = await self.send("GET", FINGERPRINTS, params=params)
        return found

    async def fail(self, run_id: str, message: str = "no account", function: str = "load", **more: Any) -> UUID:
        """A failed run whose log is read."""
        self.harness.fake.logs = {"load": own(message, function)(3)}
        found = await self.harness.fail(run_id, **more)
        await self.harness.end_sync()
        await self.harness.read_due()
        return found

    async def comment(self, run_id: UUID, content: str) -> Any:
        return await self.send("POST", f"{BASE}/runs/{run_id}/comments", status=201, json={"content": content})

    async def run(self, run_id: UUID) -> Any:
        return await self.send("GET", f"{BASE}/runs/{run_id}")


@pytest.fixture
def api(client: ValidatingClient, harness: FailureHarness, tenants: TwoTenants) -> Api:
    return Api(client, harness, tenants)


async def test_run_and_task_run_have_their_failure(api: Api) -> None:
    run_id = await api.fail("f1")
    run = await api.run(run_id)
    failure = run["failure"]
    assert failure["summary"] == "PaymentError: no account"
    assert failure["excerpt"].startswith("PaymentError: no account\n  at pay.py:")
    assert (failure["task_id"], failure["map_index"], failure["try_number"]) == ("load", None, 1)
    assert failure["own_frame"].startswith("pay.py:")
    assert failure["exception_type"] == "PaymentError"
    assert (failure["log_error"], run["other_failures"]) == (None, [])
    (task,) = [task for task in run["task_runs"] if task["status"] == "failed"]
    same = ("summary", "excerpt", "own_frame", "fingerprint_id", "log_error")
    assert task["failure"] == {name: failure[name] for name in same}
    assert [task["failure"] for task in run["task_runs"] if task["status"] != "failed"] == [None]
    listed = await api.send("GET", f"{BASE}/runs", params={"status": "failed"})
    assert listed[0]["failure"] == {"summary": "PaymentError: no account"}


async def test_run_has_no_failure_before_its_log_is_read_and_after_it_succeeds(api: Api) -> None:
    run_id = await api.harness.fail("f1")
    assert (await api.run(run_id))["failure"] is None
    await api.harness.store_run("f1", "success", minutes_ago=5)
    assert (await api.run(run_id))["failure"] is None


async def test_run_with_unreadable_log_has_its_reason(api: Api) -> None:
    run_id = await api.harness.fail("f1")
    await api.harness.execute(
        "INSERT INTO task_failures (space_id, run_id, task_run_id, try_number, place, failed_at, log_error)"
        " SELECT space_id, run_id, id, 1, 0, ended_at, 'Airflow refuses' FROM task_runs"
        " WHERE run_id = %(run_id)s AND external_id = 'load'",
        run_id=run_id,
    )
    failure = (await api.run(run_id))["failure"]
    assert (failure["summary"], failure["log_error"], failure["recurrence"]) == (None, "Airflow refuses", None)
    listed = await api.send("GET", f"{BASE}/runs", params={"status": "failed"})
    assert listed[0]["failure"] is None


async def test_run_has_count_last_comment_and_runbook_of_its_error(api: Api) -> None:
    first = await api.fail("f1", minutes_ago=300)
    second = await api.fail("f2", minutes_ago=200)
    await api.comment(first, "look at the source")
    last = await api.comment(second, "restart the proxy")
    runbook = await api.comment(first, "How to restart: …")
    third = await api.fail("f3", minutes_ago=100)
    await api.comment(third, "of this run itself")
    group_id = (await api.run(third))["failure"]["fingerprint_id"]
    await api.send("PUT", f"{FINGERPRINTS}/{group_id}/runbook", json={"comment_id": runbook["id"]})
    await api.harness.execute(
        "UPDATE comments SET created_at = now() - interval '1 day' WHERE id <> %(id)s", id=last["id"]
    )
    recurrence = (await api.run(third))["failure"]["recurrence"]
    assert recurrence["count_30_days"] == 3
    assert recurrence["last_comment"]["content"] == "restart the proxy"
    assert recurrence["last_comment"]["author"]["name"] == "Editor"
    assert recurrence["last_comment"]["run_id"] == str(second)
    assert recurrence["runbook"]["content"] == "How to restart: …"
    assert (await api.run(first))["failure"]["recurrence"]["count_30_days"] == 1, "as of then"


async def test_comment_on_another_task_of_an_earlier_run_is_not_about_its_error(api: Api) -> None:
    first = await api.fail("f1", minutes_ago=200)
    (other,) = [task for task in (await api.run(first))["task_runs"] if task["status"] != "failed"]
    path = f"{BASE}/task-runs/{other['id']}/comments"
    await api.send("POST", path, status=201, json={"content": "of another task"})
    second = await api.fail("f2", minutes_ago=100)
    assert (await api.run(second))["failure"]["recurrence"]["last_comment"] is None


async def test_list_filters_by_pipeline_team_and_words(api: Api) -> None:
    await api.fail("f1")
    await api.fail("f2", "other", "check", pipeline="daily_report")
    pipelines = api.tenants.finance.pipelines
    cases: list[tuple[dict[str, Any], list[str]]] = [
        ({}, ["other", "no account"]),
        ({"pipeline_id": str(pipelines["hourly_load"])}, ["no account"]),
        ({"team_id": str(api.tenants.finance.team_id)}, ["no account"]),
        ({"q": "PAYMENTerror other"}, ["other"]),
        ({"q": "daily"}, ["other"]),
        ({"q": "100%"}, []),
        ({"q": " "}, ["other", "no account"]),
    ]
    await api.harness.execute("UPDATE fingerprints SET last_seen_at = now() WHERE title LIKE %(title)s", title="%other")
    for params, expected in cases:
        titles = [group["title"].removeprefix("PaymentError: ") for group in await api.groups(**params)]
        assert titles == expected, params


async def test_detail_has_failures_comments_and_trend(api: Api) -> None:
    first, second = await api.fail("f1", minutes_ago=60 * 20), await api.fail("f2", minutes_ago=10)
    await api.comment(first, "older")
    (group,) = await api.groups()
    detail = await api.send("GET", f"{FINGERPRINTS}/{group['id']}", caller="viewer")
    assert [failure["run_id"] for failure in detail["failures"]] == [str(second), str(first)]
    assert [comment["content"] for comment in detail["comments"]] == ["older"]
    assert (detail["occurrences"], detail["count_30_days"]) == (2, 2)
    assert len(detail["trend"]) == 30
    today = datetime.now(UTC).date()
    assert detail["trend"][-1]["day"] == today.isoformat()
    assert detail["trend"][0]["day"] == (today - timedelta(days=29)).isoformat()
    assert sum(day["count"] for day in detail["trend"]) == 2
    assert detail["merged"] == []


async def test_merge_moves_failures_and_later_ones_with_its_hash(api: Api) -> None:
    await api.fail("f1")
    await api.fail("f2", "other", "check")
    first, second = sorted(await api.groups(), key=lambda group: str(group["title"]))
    await api.send("PATCH", f"{FINGERPRINTS}/{first['id']}", json={"name": "Accounts"})
    merged = await api.send("POST", f"{FINGERPRINTS}/{first['id']}/merge", json={"into": second["id"]})
    assert (merged["id"], merged["name"], merged["occurrences"]) == (second["id"], "Accounts", 2)
    assert [row["id"] for row in merged["merged"]] == [first["id"]]
    await api.fail("f3")
    (group,) = await api.groups()
    assert (group["id"], group["occurrences"]) == (second["id"], 3)
    assert (await api.send("GET", f"{FINGERPRINTS}/{first['id']}"))["id"] == second["id"]


async def test_merge_of_merged_groups_has_one_level(api: Api) -> None:
    for place, function in enumerate(("a", "b", "c")):
        await api.fail(f"f{place}", function, function)
    a, b, c = (group["id"] for group in sorted(await api.groups(), key=lambda group: str(group["title"])))
    await api.send("POST", f"{FINGERPRINTS}/{a}/merge", json={"into": b})
    merged = await api.send("POST", f"{FINGERPRINTS}/{b}/merge", json={"into": c})
    assert ({row["id"] for row in merged["merged"]}, merged["occurrences"]) == ({a, b}, 3)
    again = await api.send("POST", f"{FINGERPRINTS}/{c}/merge", json={"into": a}, status=422)
    assert again["detail"][0]["loc"] == ["body", "into"]
    await api.send("POST", f"{FINGERPRINTS}/{a}/merge", json={"into": c}, status=409)


async def test_merge_refuses_other_pipelines_unknown_groups_and_itself(api: Api) -> None:
    await api.fail("f1")
    await api.fail("f2", pipeline="daily_report")
    first, second = (group["id"] for group in await api.groups())
    path = f"{FINGERPRINTS}/{first}/merge"
    await api.send("POST", path, json={"into": second}, status=409)
    await api.send("POST", path, json={"into": first}, status=422)
    await api.send("POST", path, json={"into": str(uuid4())}, status=404)


async def test_split_of_a_merged_group_makes_it_separate_again(api: Api) -> None:
    await api.fail("f1")
    run_id = await api.fail("f2", "other", "check")
    first, second = sorted(await api.groups(), key=lambda group: str(group["title"]))
    await api.send("POST", f"{FINGERPRINTS}/{second['id']}/merge", json={"into": first["id"]})
    path = f"{FINGERPRINTS}/{first['id']}/split"
    split = await api.send("POST", path, status=201, json={"run_ids": [str(run_id)]})
    assert (split["id"], split["occurrences"]) == (second["id"], 1)
    await api.fail("f3", "other", "check")
    assert {group["id"]: group["occurrences"] for group in await api.groups()} == {first["id"]: 1, second["id"]: 2}


async def test_split_by_message_keeps_later_failures_apart(api: Api) -> None:
    """The same exception of the same function, which a person knows to be two faults."""
    await api.fail("f1")
    await api.fail("f2", "no amount")
    (group,) = await api.groups()
    detail = await api.send("GET", f"{FINGERPRINTS}/{group['id']}")
    (chosen,) = [failure["id"] for failure in detail["failures"] if failure["summary"].endswith("amount")]
    path = f"{FINGERPRINTS}/{group['id']}/split"
    split = await api.send("POST", path, status=201, json={"task_failure_ids": [chosen]})
    assert (split["title"], split["grouped_by"]) == ("PaymentError: no amount", "split off by a user")
    await api.fail("f3", "no amount")
    await api.fail("f4")
    await api.fail("f5", "a third message")
    assert {row["id"]: row["occurrences"] for row in await api.groups()} == {group["id"]: 3, split["id"]: 2}


async def test_split_that_was_merged_back_takes_no_later_failures(api: Api) -> None:
    await api.fail("f1")
    run_id = await api.fail("f2", "no amount")
    (group,) = await api.groups()
    path = f"{FINGERPRINTS}/{group['id']}/split"
    split = await api.send("POST", path, status=201, json={"run_ids": [str(run_id)]})
    await api.send("POST", f"{FINGERPRINTS}/{split['id']}/merge", json={"into": group["id"]})
    await api.fail("f3", "no amount")
    assert [(row["id"], row["occurrences"]) for row in await api.groups()] == [(group["id"], 3)]


async def test_split_of_all_no_or_foreign_failures_is_refused(api: Api) -> None:
    run_id = await api.fail("f1")
    other_id = await api.fail("f2", "other", "check")
    (group,) = await api.groups(q="account")
    path = f"{FINGERPRINTS}/{group['id']}/split"
    for body, status in (
        ({"run_ids": [str(run_id)]}, 422),
        ({}, 422),
        ({"run_ids": [str(other_id)]}, 404),
        ({"task_failure_ids": [str(uuid4())]}, 404),
        ({"run_ids": [str(uuid4())] * 1_001}, 422),
    ):
        await api.send("POST", path, json=body, status=status)


async def test_deleted_comment_is_no_runbook(api: Api) -> None:
    run_id = await api.fail("f1")
    (group,) = await api.groups()
    comment = await api.comment(run_id, "restart it")
    path = f"{FINGERPRINTS}/{group['id']}/runbook"
    pinned = await api.send("PUT", path, json={"comment_id": comment["id"]})
    assert pinned["runbook"]["content"] == "restart it"
    await api.send("DELETE", f"{BASE}/comments/{comment['id']}", status=204)
    assert (await api.send("GET", f"{FINGERPRINTS}/{group['id']}"))["runbook"] is None
    await api.send("PUT", path, json={"comment_id": comment["id"]}, status=404)


async def test_name_can_be_set_and_cleared_and_is_not_blank(api: Api) -> None:
    await api.fail("f1")
    (group,) = await api.groups()
    path = f"{FINGERPRINTS}/{group['id']}"
    assert (await api.send("PATCH", path, json={"name": " Accounts "}))["name"] == "Accounts"
    assert (await api.send("PATCH", path, json={"name": None}))["name"] is None
    for name in ("", "  ", "x" * 201, 7):
        await api.send("PATCH", path, json={"name": name}, status=422)
    await api.send("PATCH", path, json={}, status=422)


async def test_viewer_may_not_change_groups(api: Api) -> None:
    await api.fail("f1")
    (group,) = await api.groups()
    refused = await api.send("PATCH", f"{FINGERPRINTS}/{group['id']}", json={"name": "x"}, status=403, caller="viewer")
    assert "merge and split" in refused["detail"]
