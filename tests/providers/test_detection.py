"""What a server says is shown only after it answered as an Airflow: connectors must not read other programs."""

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from windsock.errors import ProviderFailed
from windsock.providers.airflow.recognition import RecognizedServers, recognize

if TYPE_CHECKING:
    from providers.conftest import Lab, Reply, Request, Script
    from windsock.providers.airflow import Airflow

PLANTED = "planted-words-of-another-program"
OTHER_PROGRAMS: dict[str, dict[str, Any]] = {
    "detail": {"body": {"detail": PLANTED}, "status": 404},
    "title": {"body": {"title": PLANTED}, "status": 500},
    "error": {"body": {"error": {"reason": PLANTED, "message": PLANTED}}, "status": 403},
    "list": {"body": {"detail": [{"msg": PLANTED}]}, "status": 422},
    "unauthorized": {"body": {"detail": PLANTED}, "status": 401},
    "redirect": {"status": 302, "headers": {"Location": f"/{PLANTED}"}},
    "content type": {"body": b"x", "content_type": f"application/{PLANTED}"},
    "version of another program": {"body": {"version": f"7.10.2 {PLANTED}"}},
    "version that only begins like one": {"body": {"version": f"3.1 {PLANTED}"}},
    "version of an Airflow that is too old": {"body": {"version": f"2.1 {PLANTED}"}},
}


async def identify(airflow: "Airflow") -> Any:
    return await airflow.detect_version()


async def list_dags(airflow: "Airflow") -> Any:
    return await airflow.list_pipelines()


async def one_run(airflow: "Airflow") -> Any:
    return await airflow.run("d", "r")


def failure_of(lab: "Lab", script: "Script", use: Any, api_version: str | None = None) -> ProviderFailed:
    """On a server that was not recognised before."""
    scripted = lab.Server(script)

    async def run() -> None:
        async with scripted.serving():
            airflow = lab.airflow(scripted.base_url, api_version)
            lab.tokens.recognized = RecognizedServers()
            airflow._http._recognized = lab.tokens.recognized
            try:
                await use(airflow)
            finally:
                await airflow.aclose()

    with pytest.raises(ProviderFailed) as caught:
        asyncio.run(run())
    return caught.value


@pytest.mark.parametrize("reply", OTHER_PROGRAMS)
@pytest.mark.parametrize(
    ("use", "api_version"), [(identify, None), (list_dags, None), (list_dags, "v2"), (list_dags, "v1")]
)
def test_response_text_of_another_program_is_not_shown(
    lab: "Lab", reply: str, use: Any, api_version: str | None
) -> None:
    failure = failure_of(lab, lambda _: lab.Reply(**OTHER_PROGRAMS[reply]), use, api_version)
    assert PLANTED not in " ".join((str(failure), failure.provider_message, *failure.hints))
    assert str(failure)


@pytest.mark.parametrize(("api_version", "version"), [("v1", "2.11.2"), ("v2", "3.3.2")])
def test_airflow_message_is_shown_after_version_check(lab: "Lab", api_version: str, version: str) -> None:
    requests: list[str] = []

    def script(request: "Request") -> "Reply":
        requests.append(request.path)
        if request.path.endswith("/version"):
            return lab.Reply({"version": version})
        return lab.Reply({"detail": "the words of Airflow"}, status=422)

    async def twice(airflow: "Airflow") -> None:
        with pytest.raises(ProviderFailed, match="the words of Airflow"):
            await airflow.run("d", "r")
        await airflow.run("d", "r")

    assert "the words of Airflow" in failure_of(lab, script, twice, api_version).provider_message
    assert len([path for path in requests if path.endswith("/version")]) == 1


def test_response_text_is_not_shown_after_server_changes_its_url(lab: "Lab") -> None:
    """A name that leads elsewhere after the first sync shows nothing of what is there."""
    first = lab.Server(lambda _: lab.Reply({"version": "3.3.2"}))
    other = lab.Server(lambda _: lab.Reply({"detail": PLANTED}, status=500))

    async def run() -> None:
        async with first.serving(), other.serving():
            for server in (first, other):
                airflow = lab.airflow(server.base_url, None)
                try:
                    await airflow.detect_version()
                    await airflow.aclose()
                except ProviderFailed:
                    await airflow.aclose()
            moved = lab.airflow(other.base_url, None)
            moved._dialect = lab.airflow(first.base_url, "v2")._dialect
            try:
                await moved.run("d", "r")
            finally:
                await moved.aclose()

    with pytest.raises(ProviderFailed) as caught:
        asyncio.run(run())
    assert PLANTED not in str(caught.value) + caught.value.provider_message


@pytest.mark.parametrize(
    ("api_version", "body", "is_one"),
    [
        ("v2", {"version": "3.3.2"}, True),
        ("v2", {"version": "3.4.0b2"}, True),
        ("v2", {"version": "3.1.0+astro.1"}, True),
        ("v1", {"version": "2.6.0+composer"}, True),
        ("v1", {"version": "3.3.2"}, False),
        ("v2", {"version": "2.11.2"}, False),
        ("v2", {"version": "3.3.2\nand more"}, False),
        ("v2", {"version": "3." + "1" * 100}, False),
        ("v2", {"version": 3.3}, False),
        ("v2", ["3.3.2"], False),
    ],
)
def test_airflow_is_recognised_only_by_complete_version(api_version: Any, body: Any, is_one: bool) -> None:
    assert (recognize(api_version, body) is not None) is is_one
