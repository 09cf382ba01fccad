"""Which failures are read, when, and with how many requests."""

import asyncio

import pytest

from failures.faults import DAGS, Frame, Raised, failed, line, log, own
from failures.harness import OLD, FailureHarness
from windsock.errors import ProviderHTTPError, ProviderUnreachable
from windsock.providers.task_logs import TaskLog

pytestmark = pytest.mark.anyio

NO_ACCOUNT = own("no account")(3)


async def test_failed_run_is_recorded_with_the_run_and_read_after_the_sync(harness: FailureHarness) -> None:
    harness.fake.logs = {"load": NO_ACCOUNT}
    await harness.fail("f1")
    assert await harness.states() == ["pending"]
    assert await harness.read_due() == 0, "its task runs may still be missing"
    await harness.end_sync()
    assert await harness.read_due() == 1
    assert harness.fake.requests == [("f1", "load", 1)]
    assert harness.fake.is_closed
    (failure,) = await harness.failures()
    assert (failure["summary"], failure["place"]) == ("PaymentError: no account", 0)
    assert failure["excerpt"].startswith("PaymentError: no account\n  at pay.py:")
    assert failure["own_frame"].endswith("in load")
    (group,) = await harness.rows("SELECT * FROM fingerprints")
    assert (group["title"], group["occurrences"]) == ("PaymentError: no account", 1)
    assert group["last_seen_at"] == failure["failed_at"]
    assert await harness.states() == ["read"]


async def test_idle_connector_and_read_failures_cost_no_request(harness: FailureHarness) -> None:
    harness.fake.logs = {"load": NO_ACCOUNT}
    await harness.end_sync()
    assert await harness.read_due() == 0
    await harness.fail("f1")
    await harness.end_sync()
    await harness.read_due()
    for _ in range(3):
        await harness.fail("f1")  # unchanged
        await harness.end_sync()
        await harness.let_time_pass()
        await harness.read_due()
    assert len(harness.fake.requests) == 1


async def test_failure_waits_while_another_log_of_the_airflow_is_read(
    harness: FailureHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was sent, so that no request is used up."""
    monkeypatch.setattr("windsock.failures.policy.WAIT_SECONDS", 0.05)
    harness.fake.logs = {"load": NO_ACCOUNT}
    await harness.fail("f1")
    await harness.end_sync()
    async with harness.reader.limit.acquire(harness.tenant.connector_id):
        await harness.read_due()
    assert await harness.rows("SELECT state, requests FROM failure_reads") == [{"state": "pending", "requests": 0}]
    await harness.let_time_pass()
    await harness.read_due()
    assert (len(harness.fake.requests), await harness.states()) == (1, ["read"])


@pytest.mark.parametrize(("run_id", "status", "minutes_ago"), [("old", "failed", 25 * 60), ("fine", "success", 5)])
async def test_old_failures_and_successes_are_not_recorded(
    harness: FailureHarness, run_id: str, status: str, minutes_ago: float
) -> None:
    await harness.store_run(run_id, status, minutes_ago=minutes_ago)
    assert await harness.states() == []


async def test_first_three_root_failures_are_read_and_upstream_failures_are_not(harness: FailureHarness) -> None:
    names = ("b", "a", "d", "c")
    harness.fake.logs = {name: own(name)(3) for name in names}
    await harness.fail("f1", names)
    await harness.end_sync()
    await harness.read_due()
    assert [task_id for _, task_id, _ in harness.fake.requests] == ["b", "a", "d"]
    assert [(row["task_id"], row["place"]) for row in await harness.failures()] == [("b", 0), ("a", 1), ("d", 2)]


async def test_unreadable_log_is_recorded_with_its_reason_and_requested_three_times(harness: FailureHarness) -> None:
    harness.fake.logs = {"load": ProviderHTTPError(403, "Airflow refuses: no permission", is_transient=False)}
    await harness.fail("f1")
    await harness.end_sync()
    for _ in range(6):
        await harness.read_due()
        await harness.let_time_pass()
    assert len(harness.fake.requests) == 3
    (failure,) = await harness.failures()
    assert (failure["summary"], failure["log_error"]) == (None, "Airflow refuses: no permission")
    assert await harness.states() == ["unreadable"]
    assert await harness.rows("SELECT id FROM fingerprints") == []


async def test_late_log_is_read_at_the_second_request(harness: FailureHarness) -> None:
    empty = TaskLog(lines=(), has_more_before=False, is_finished=True, limit="The log is empty.")
    harness.fake.logs = {"load": empty}
    await harness.fail("f1")
    await harness.end_sync()
    await harness.read_due()
    assert [row["log_error"] for row in await harness.failures()] == ["The log is empty."]
    assert await harness.states() == ["pending"]
    harness.fake.logs = {"load": NO_ACCOUNT}
    await harness.let_time_pass()
    await harness.read_due()
    (failure,) = await harness.failures()
    assert (failure["summary"], failure["log_error"]) == ("PaymentError: no account", None)


async def test_one_readable_log_of_two_is_enough_to_be_read(harness: FailureHarness) -> None:
    harness.fake.logs = {"a": ProviderUnreachable("nobody answers"), "b": NO_ACCOUNT}
    await harness.fail("f1", ("a", "b"))
    await harness.end_sync()
    for _ in range(3):
        await harness.read_due()
        await harness.let_time_pass()
    assert [task_id for _, task_id, _ in harness.fake.requests] == ["a", "b", "a"]
    assert await harness.states() == ["read"]


async def test_run_that_fails_again_is_read_again_and_its_earlier_failure_is_replaced(harness: FailureHarness) -> None:
    harness.fake.logs = {"load": NO_ACCOUNT}
    await harness.fail("f1")
    await harness.end_sync()
    await harness.read_due()
    await harness.store_run("f1", "running", minutes_ago=20)
    await harness.fail("f1", minutes_ago=10, try_number=2)
    await harness.end_sync()
    await harness.read_due()
    assert [try_number for *_, try_number in harness.fake.requests] == [1, 2]
    assert {row["try_number"]: row["place"] for row in await harness.failures()} == {1: None, 2: 0}
    (group,) = await harness.rows("SELECT occurrences FROM fingerprints")
    assert group["occurrences"] == 1, "one run"


async def test_run_that_has_succeeded_meanwhile_is_not_read(harness: FailureHarness) -> None:
    await harness.fail("f1")
    await harness.store_run("f1", "success", minutes_ago=5)
    await harness.end_sync()
    await harness.read_due()
    assert (harness.fake.requests, await harness.states()) == ([], ["read"])


async def test_run_without_failed_task_waits_for_its_task_runs(harness: FailureHarness) -> None:
    await harness.store_run("f1")
    await harness.end_sync()
    await harness.read_due()
    assert await harness.states() == ["pending"]
    await harness.execute("UPDATE failure_reads SET noticed_at = now() - interval '1 hour', next_attempt_at = now()")
    await harness.read_due()
    assert (harness.fake.requests, await harness.states()) == ([], ["read"])


async def test_older_airflow_is_read_on_demand_only(harness: FailureHarness) -> None:
    harness.fake.logs = {"load": NO_ACCOUNT}
    run_id = await harness.fail("f1")
    await harness.end_sync(OLD)
    await harness.read_due()
    assert (harness.fake.requests, await harness.states()) == ([], ["on_demand"])
    await harness.request(run_id)
    await harness.read_due()
    assert (len(harness.fake.requests), await harness.states()) == (1, ["read"])


async def test_connector_with_read_logs_off_is_never_read(
    harness: FailureHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("windsock.failures.policy.read_logs_setting", lambda *_: "off")
    run_id = await harness.fail("f1")
    await harness.end_sync()
    await harness.read_due()
    await harness.request(run_id)
    await harness.read_due()
    assert (harness.fake.requests, await harness.states()) == ([], ["on_demand"])


async def test_inactive_connector_is_not_read(harness: FailureHarness) -> None:
    await harness.fail("f1")
    await harness.end_sync()
    await harness.execute("UPDATE connectors SET is_active = false")
    assert await harness.read_due() == 0


async def test_one_log_at_a_time_is_read_of_a_connector(harness: FailureHarness) -> None:
    await harness.fail("f1")
    run_id = await harness.fail("f2")
    await harness.end_sync()
    await harness.execute(
        "UPDATE failure_reads SET state = 'reading', lease_until = now() + interval '1 minute'"
        " WHERE run_id <> %(run_id)s",
        run_id=run_id,
    )
    assert await harness.read_due() == 0
    await harness.reader.read(harness.tenant.id, run_id)
    assert (harness.fake.requests, sorted(await harness.states())) == ([], ["pending", "reading"])


async def test_failure_that_a_killed_worker_left_is_read_within_its_requests(harness: FailureHarness) -> None:
    harness.fake.logs = {"load": NO_ACCOUNT}
    await harness.fail("f1")
    await harness.end_sync()
    for _ in range(2):  # dies after it counted a request
        await harness.execute(
            "UPDATE failure_reads SET state = 'reading', requests = requests + 1, lease_id = uuid7(),"
            " lease_until = now() - interval '1 second'"
        )
    await harness.read_due()
    (read,) = await harness.rows("SELECT state, requests FROM failure_reads")
    assert read == {"state": "read", "requests": 3}
    assert len(harness.fake.requests) == 1


async def test_worker_without_its_lease_stores_nothing(
    harness: FailureHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = await harness.fail("f1")
    await harness.end_sync()

    async def read_late(*_: object) -> TaskLog:
        await harness.execute("UPDATE failure_reads SET lease_id = uuid7()")
        return NO_ACCOUNT

    monkeypatch.setattr(harness.fake, "read_log", read_late)
    await harness.reader.read(harness.tenant.id, run_id)
    assert (await harness.failures(), await harness.states()) == ([], ["reading"])


async def test_log_that_never_comes_ends_in_time(harness: FailureHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("windsock.failures.reader.READ_SECONDS", 0.01)
    monkeypatch.setattr(harness.fake, "read_log", lambda *_: asyncio.sleep(60))
    await harness.fail("f1")
    await harness.end_sync()
    await harness.read_due()
    (failure,) = await harness.failures()
    assert "did not deliver the log" in failure["log_error"]


async def test_connector_with_undecryptable_credentials_is_tried_once(harness: FailureHarness) -> None:
    await harness.fail("f1")
    await harness.end_sync()
    await harness.execute("UPDATE connectors SET credentials = 'x' WHERE connector_type = 'airflow'")
    assert await harness.read_due() == 1
    assert (harness.fake.requests, await harness.states()) == ([], ["unreadable"])


async def test_fault_of_our_own_is_not_repeated_for_ever(
    harness: FailureHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("windsock.failures.reader.make_excerpt", lambda *_: 1 / 0)
    harness.fake.logs = {"load": NO_ACCOUNT}
    await harness.fail("f1")
    await harness.end_sync()
    assert await harness.read_due() == 1
    assert (len(harness.fake.requests), await harness.states()) == (1, ["unreadable"])


async def test_failures_of_one_fault_share_a_fingerprint_and_others_do_not(harness: FailureHarness) -> None:
    for run_id, message in (("f1", "no account"), ("f2", "no account"), ("f3", "other")):
        function = "load" if message == "no account" else "check"
        raised = Raised("PaymentError", message, (Frame(f"{DAGS}/pay.py", function),))
        harness.fake.logs = {"load": failed(3, raised)}
        await harness.fail(run_id)
        await harness.end_sync()
        await harness.read_due()
    groups = await harness.rows("SELECT title, occurrences FROM fingerprints ORDER BY title")
    assert [(row["title"], row["occurrences"]) for row in groups] == [
        ("PaymentError: no account", 2), ("PaymentError: other", 1),
    ]  # fmt: skip


async def test_reason_of_the_state_is_used_where_the_log_has_no_error(harness: FailureHarness) -> None:
    harness.fake.logs = {"load": log(line("Starting"), line("Task exited with return code 0"))}
    await harness.fail("f1", provider_metadata={"state_reason": "Retry policy: the quota is used up"})
    await harness.end_sync()
    await harness.read_due()
    assert [row["summary"] for row in await harness.failures()] == ["Retry policy: the quota is used up"]


async def test_dispatcher_reads_what_is_due(harness: FailureHarness) -> None:
    harness.fake.logs = {"load": NO_ACCOUNT}
    await harness.fail("f1")
    await harness.end_sync()
    async with harness.jobs.run_worker():
        for _ in range(200):
            await asyncio.sleep(0.02)
            if await harness.states() == ["read"]:
                break
    assert await harness.states() == ["read"]
