"""A trigger that fails says that nothing was started, unless the request to start a run may have been sent."""

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from windsock import egress
from windsock.errors import ProviderFailed
from windsock.providers.airflow import Airflow, AirflowConfig, TokenCache
from windsock.providers.scopes import RunRequest

if TYPE_CHECKING:
    from providers.conftest import Lab, Reply, Request

REQUEST = RunRequest(pipeline_external_id="d", external_id="ours", conf={}, logical_date=None, note="")


def trigger(lab: "Lab", bad: dict[str, "Reply"], *, may_exist: bool) -> tuple[ProviderFailed, Airflow, list[str]]:
    """What comes of a trigger on an Airflow that answers well but for `bad`."""

    def script(request: "Request") -> "Reply":
        place = f"{request.method} {request.path}"
        if place in bad:
            return bad[place]
        if request.path.endswith("/version"):
            return lab.Reply({"version": "3.3.2"})
        if request.path == "/auth/token":
            return lab.Reply({"access_token": "jwt"}, status=201)
        if request.method == "GET":
            return lab.Reply({"detail": "The DagRun with dag_id: `d` and run_id: `ours` was not found"}, status=404)
        return lab.Reply({**lab.runs(1)[0], "dag_run_id": "ours"})

    scripted = lab.Server(script)

    async def run() -> Airflow:
        async with scripted.serving():
            airflow = airflow_at(lab, scripted.base_url)
            created.append(airflow)
            try:
                await airflow.trigger(REQUEST, may_exist=may_exist)
            finally:
                await airflow.aclose()
        return airflow

    created: list[Airflow] = []
    with pytest.raises(ProviderFailed) as caught:
        asyncio.run(run())
    return caught.value, created[0], scripted.paths


def airflow_at(lab: "Lab", base_url: str) -> Airflow:
    return Airflow(
        AirflowConfig(base_url=base_url, timeout_seconds=1),
        lab.credentials("password"),
        api_version=None,
        tokens=TokenCache(),
        key="c",
        policy=egress.Policy.of(loopback=True),
        sleep=lab.sleep,
    )


@pytest.mark.parametrize("phase", ["GET /api/v2/version", "POST /auth/token", "POST /api/v2/dags/d/dagRuns"])
@pytest.mark.parametrize("way", ["hangs", "drops", "500"])
def test_first_trigger_is_ambiguous_only_if_it_was_sent(lab: "Lab", phase: str, way: str) -> None:
    bad = {
        "hangs": lab.Reply({}, delay=2.5),
        "drops": lab.Reply(drops=True),
        "500": lab.Reply({"detail": "x"}, status=500),
    }
    failure, airflow, _ = trigger(lab, {phase: bad[way]}, may_exist=False)
    is_sent = phase == "POST /api/v2/dags/d/dagRuns"
    assert (failure.request_sent, airflow.may_have_triggered) == (is_sent, is_sent)


@pytest.mark.parametrize("phase", ["GET /api/v2/version", "POST /auth/token", "GET /api/v2/dags/d/dagRuns/ours"])
def test_repeated_trigger_is_ambiguous_until_lookup(lab: "Lab", phase: str) -> None:
    """The earlier request may have started the run, whatever fails now."""
    failure, airflow, _ = trigger(lab, {phase: lab.Reply({}, delay=2.5)}, may_exist=True)
    assert (failure.request_sent, airflow.may_have_triggered) == (True, False)


@pytest.mark.parametrize(
    "refusal",
    [
        {"status": 302, "headers": {"Location": "/login"}},
        {"body": b"<html>Sign in</html>", "content_type": "text/html"},
    ],
)
def test_trigger_rejected_by_login_page_counts_as_not_sent(lab: "Lab", refusal: dict[str, Any]) -> None:
    failure, _, paths = trigger(lab, {"POST /api/v2/dags/d/dagRuns": lab.Reply(**refusal)}, may_exist=False)
    assert failure.request_sent is False
    assert paths.count("POST /api/v2/dags/d/dagRuns") == 1


def test_unsent_retry_leaves_earlier_trigger_attempt_ambiguous(lab: "Lab") -> None:
    """The first answer is lost, the second connection is refused: the first may still start a run."""
    scripted = lab.Server(lambda _: lab.Reply({}))

    async def run() -> None:
        server = scripted.serving()
        await server.__aenter__()
        airflow = airflow_at(lab, scripted.base_url)
        closing: list[Any] = []

        def script(request: "Request") -> "Reply":
            if request.path.endswith("/version"):
                return lab.Reply({"version": "3.3.2"})
            if request.path == "/auth/token":
                return lab.Reply({"access_token": "jwt"}, status=201)
            if request.method == "GET":
                return lab.Reply({"detail": "The DagRun with dag_id: `d` and run_id: `ours` was not found"}, status=404)
            return lab.Reply(drops=True)

        async def sleep(_seconds: float) -> None:
            if not closing:
                closing.append(await server.__aexit__(None, None, None))

        scripted.script, airflow._sleep = script, sleep
        try:
            await airflow.trigger(REQUEST, may_exist=False)
        finally:
            await airflow.aclose()

    with pytest.raises(ProviderFailed, match="refused") as caught:
        asyncio.run(run())
    assert caught.value.request_sent is True


def test_failed_connection_attempt_sent_no_request(lab: "Lab") -> None:
    """TEST-NET-1 goes nowhere, so that the time-out comes before the request."""
    airflow = airflow_at(lab, "http://192.0.2.1")

    async def run() -> None:
        try:
            await airflow.trigger(REQUEST, may_exist=False)
        finally:
            await airflow.aclose()

    with pytest.raises(ProviderFailed) as caught:
        asyncio.run(run())
    assert caught.value.request_sent is False
