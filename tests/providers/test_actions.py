"""Each action is carried out once where it was accepted, and never where it was not, whatever becomes of its answer."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from fake_airflow.api import Api
from fake_airflow.changes import request_approval
from fake_airflow.faults import FakeAirflow, Faults
from fake_airflow.model import Model
from fake_airflow.rows import Run
from windsock import egress
from windsock.errors import ProviderFailed, ProviderHTTPError
from windsock.providers.actions import ApprovalResponse, ClearRequest
from windsock.providers.airflow import Airflow, AirflowConfig, TokenCache
from windsock.providers.airflow.config import PasswordCredentials
from windsock.providers.scopes import SingleRun, TaskRunId

TIMES = 50
KINDS = ("2.11.2", "3.0.6", "3.3.2", "3.4.0b2")
CUTS = ("drop", "drop after", "drop during", "cut", "503")


def make_fake(kind: str) -> FakeAirflow:
    model = Model("v1" if kind[0] == "2" else "v2", has_regions=kind.startswith("3.4"))
    model.add_dag("bills", {"extract": ["load"], "load": ["send"], "send": []}, mapped=frozenset({"load"}))
    fake = FakeAirflow(Api(model), Faults(only_changes=True))
    fake.api.version = kind
    return fake


def start_failed_run(fake: FakeAirflow) -> Run:
    """extract succeeded, of the instances of load the first failed, send did not run."""
    model = fake.model
    run = model.start_run("bills")
    key = (run.dag_id, run.run_id)
    for _ in range(4):
        model.step(key)
    while not any(task.map_index > 0 for task in model.tasks_of(key)):
        model.step(key)
    for task in list(model.tasks_of(key)):
        states = {"extract": "success", "load": "success" if task.map_index else "failed", "send": "upstream_failed"}
        task.state, task.started_at, task.ended_at = states[task.task_id], model.now(), model.now()
        task.try_number = 0 if task.task_id == "send" else 1
        model.touch(task)
    run.state, run.ended_at = "failed", model.now()
    model.touch(run)
    return run


def use(fake: FakeAirflow, what: Callable[[Airflow], Awaitable[Any]]) -> Any:
    async def let_pass(seconds: float) -> None:
        fake.model.let_pass(seconds)

    async def run() -> Any:
        airflow = Airflow(
            AirflowConfig(base_url="http://double"),
            PasswordCredentials.model_validate({"auth_type": "password", "username": "admin", "password": "admin"}),
            policy=egress.Policy.of(loopback=True),
            api_version="v1" if fake.model.api == "v1" else "v2",
            tokens=TokenCache(),
            key="double",
            transport=fake,
            sleep=let_pass,
        )
        try:
            return await what(airflow)
        finally:
            await airflow.aclose()

    return asyncio.run(run())


async def clear(airflow: Airflow, run: Run, **what: Any) -> None:
    request = ClearRequest(SingleRun(run.dag_id, run.run_id), **what)
    targets = airflow.actions.targets_of(await airflow.actions.plan_clear(request))
    await airflow.actions.clear(request, targets, may_be_done=False)


def executions_of(fake: FakeAirflow, run: Run) -> dict[tuple[str, int], int]:
    return {(key[2], key[3]): count for key, count in fake.model.executions.items() if key[1] == run.run_id}


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("only_failed", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_clear_with_lost_response_executes_each_task_once(kind: str, only_failed: bool, cut: str) -> None:
    fake = make_fake(kind)
    runs = [start_failed_run(fake) for _ in range(TIMES)]

    async def clear_all(airflow: Airflow) -> None:
        for run in runs:
            fake.faults.plan = [cut]
            await clear(airflow, run, only_failed=only_failed)

    use(fake, clear_all)
    fake.model.let_pass(60)
    for run in runs:
        tasks = {(task.task_id, task.map_index) for task in fake.model.tasks_of((run.dag_id, run.run_id))}
        expected = {("load", 0), ("send", -1)} if only_failed else tasks
        assert executions_of(fake, run) == dict.fromkeys(expected, 1)
        assert run.state == "queued"
    assert len(fake.faults.met) == TIMES


@pytest.mark.parametrize("kind", KINDS)
def test_refused_clear_executes_nothing_and_has_airflows_words(kind: str) -> None:
    fake = make_fake(kind)
    run = start_failed_run(fake)
    fake.api.is_viewer = True
    with pytest.raises(ProviderHTTPError, match="Forbidden") as caught:
        use(fake, lambda airflow: clear(airflow, run))
    assert caught.value.status == 403
    assert "To clear tasks the account needs" in " ".join(caught.value.hints)
    assert executions_of(fake, run) == {}


@pytest.mark.parametrize("kind", KINDS)
def test_clear_that_never_arrives_is_reported_as_not_done(kind: str) -> None:
    fake = make_fake(kind)
    run = start_failed_run(fake)
    fake.faults.plan = ["drop"] * 3
    with pytest.raises(ProviderFailed) as caught:
        use(fake, lambda airflow: clear(airflow, run))
    assert caught.value.request_sent is False
    assert executions_of(fake, run) == {}


@pytest.mark.parametrize("kind", KINDS)
def test_clear_that_takes_too_long_is_not_sent_again(kind: str) -> None:
    fake = make_fake(kind)
    run = start_failed_run(fake)
    fake.faults.plan = ["slow"]
    with pytest.raises(ProviderFailed) as caught:
        use(fake, lambda airflow: clear(airflow, run))
    assert (caught.value.status, caught.value.request_sent) == (504, True)
    assert executions_of(fake, run) == {}


@pytest.mark.parametrize("kind", ["3.3.2", "3.4.0b2"])
def test_clear_of_one_instance_leaves_the_others(kind: str) -> None:
    fake = make_fake(kind)
    run = start_failed_run(fake)
    chosen = next(task for task in fake.model.tasks_of((run.dag_id, run.run_id)) if task.map_index == 1)
    task = TaskRunId(run.dag_id, run.run_id, "load", 1, chosen.region_id, chosen.region_index)
    use(fake, lambda airflow: clear(airflow, run, tasks=(task,), only_failed=False))
    assert executions_of(fake, run) == {("load", 1): 1}


@pytest.mark.parametrize("kind", KINDS)
def test_clear_with_downstream_takes_what_is_behind(kind: str) -> None:
    fake = make_fake(kind)
    run = start_failed_run(fake)
    tasks = (TaskRunId(run.dag_id, run.run_id, "extract", -1),)
    what = {"tasks": tasks, "only_failed": False, "include_downstream": True}
    use(fake, lambda airflow: clear(airflow, run, **what))
    assert {name for name, _ in executions_of(fake, run)} == {"extract", "load", "send"}


def test_clear_of_what_changed_after_the_plan_is_refused_by_airflow_34() -> None:
    fake = make_fake("3.4.0b2")
    run = start_failed_run(fake)
    request = ClearRequest(SingleRun(run.dag_id, run.run_id))

    async def clear_after_another_client(airflow: Airflow) -> None:
        targets = airflow.actions.targets_of(await airflow.actions.plan_clear(request))
        await clear(airflow, run)
        await airflow.actions.clear(request, targets, may_be_done=False)

    with pytest.raises(ProviderHTTPError, match="not current"):
        use(fake, clear_after_another_client)
    assert set(executions_of(fake, run).values()) == {1}


@pytest.mark.parametrize("kind", KINDS)
def test_clear_that_may_be_done_causes_lookup_first(kind: str) -> None:
    fake = make_fake(kind)
    run = start_failed_run(fake)
    request = ClearRequest(SingleRun(run.dag_id, run.run_id))

    async def clear_twice(airflow: Airflow) -> None:
        targets = airflow.actions.targets_of(await airflow.actions.plan_clear(request))
        for may_be_done in (False, True):
            await airflow.actions.clear(request, targets, may_be_done=may_be_done)

    use(fake, clear_twice)
    assert set(executions_of(fake, run).values()) == {1}


SETTERS: dict[str, Callable[[Airflow, Run], Awaitable[object]]] = {
    "mark run": lambda airflow, run: airflow.actions.mark_run(SingleRun(run.dag_id, run.run_id), "success"),
    "mark task": lambda airflow, run: airflow.actions.mark_task_run(_task(run), "success"),
    "note run": lambda airflow, run: airflow.actions.note_run(SingleRun(run.dag_id, run.run_id), "known"),
    "note task": lambda airflow, run: airflow.actions.note_task_run(_task(run), "known"),
}
EVENTS = {
    "mark run": {"patch_dag_run"},
    "mark task": {"patch_task_instance"},
    "note run": {"patch_dag_run", "set_dag_run_note"},
    "note task": {"patch_task_instance", "set_task_instance_note"},
}


def _task(run: Run) -> TaskRunId:
    return TaskRunId(run.dag_id, run.run_id, "send", -1)


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("action", SETTERS)
@pytest.mark.parametrize("kind", ["2.11.2", "3.3.2", "3.4.0b2"])
def test_value_with_lost_response_is_set_once(kind: str, action: str, cut: str) -> None:
    fake = make_fake(kind)
    runs = [start_failed_run(fake) for _ in range(TIMES)]

    async def set_all(airflow: Airflow) -> None:
        for run in runs:
            fake.faults.plan = [cut]
            await SETTERS[action](airflow, run)

    use(fake, set_all)
    fake.model.let_pass(60)
    written = [entry for entry in fake.model.events if entry["event"].removeprefix("api.") in EVENTS[action]]
    assert len(written) == TIMES
    for run in runs:
        task = next(task for task in fake.model.tasks_of((run.dag_id, run.run_id)) if task.task_id == "send")
        assert {
            "mark run": run.state == "success",
            "mark task": task.state == "success",
            "note run": run.note == "known",
            "note task": task.note == "known",
        }[action]


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("kind", ["2.11.2", "3.3.2"])
def test_pause_with_lost_response_is_set_once(kind: str, cut: str) -> None:
    fake = make_fake(kind)

    async def pause_and_resume(airflow: Airflow) -> None:
        for number in range(TIMES):
            fake.faults.plan = [cut]
            is_paused = number % 2 == 0
            found = await airflow.actions.set_paused("bills", is_paused=is_paused)
            assert found.is_paused == is_paused

    use(fake, pause_and_resume)
    assert sum(entry["event"].endswith("patch_dag") for entry in fake.model.events) == TIMES


def test_value_that_is_set_already_is_not_sent() -> None:
    fake = make_fake("3.3.2")
    use(fake, lambda airflow: airflow.actions.set_paused("bills", is_paused=False))
    assert not any(request.startswith("PATCH") for request in fake.requests)


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("kind", ["3.3.2", "3.4.0b2"])
def test_approval_is_listed_and_gets_one_response(kind: str, cut: str) -> None:
    fake = make_fake(kind)
    runs = [start_failed_run(fake) for _ in range(3)]
    for run in runs:
        task = next(task for task in fake.model.tasks_of((run.dag_id, run.run_id)) if task.task_id == "extract")
        request_approval(fake.api, task, "Pay it?", ["Approve", "Reject"])

    async def respond_to_all(airflow: Airflow) -> None:
        for approval in await airflow.actions.list_approvals():
            assert approval.subject == "Pay it?"
            fake.faults.plan = [cut]
            response = ApprovalResponse(approval.task, ("Approve",), {}, approval.requested_at)
            await airflow.actions.respond(response, may_be_done=False)
        assert await airflow.actions.list_approvals() == []

    use(fake, respond_to_all)
    assert [row["chosen_options"] for row in fake.api.approvals.values()] == [["Approve"]] * 3


def test_airflow_2_has_no_approvals() -> None:
    fake = make_fake("2.11.2")
    assert use(fake, lambda airflow: airflow.actions.list_approvals()) == []
    response = ApprovalResponse(TaskRunId("bills", "r", "t", -1), ("a",), {})
    with pytest.raises(ProviderHTTPError, match="no tasks that wait"):
        use(fake, lambda airflow: airflow.actions.respond(response, may_be_done=False))
