"""What comes back from the network, however broken, becomes an error that says what to do, and nothing secret."""

import asyncio
import gzip
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from windsock import egress
from windsock.errors import (
    ProviderBadResponse,
    ProviderFailed,
    ProviderHTTPError,
    ProviderTimedOut,
    ProviderUnreachable,
)
from windsock.providers.airflow import AirflowConfig
from windsock.providers.airflow.errors import ResponseTooLarge, WrongApiVersion
from windsock.providers.airflow.http import MAX_BODY_BYTES, AirflowHttp

if TYPE_CHECKING:
    from providers.conftest import Lab, Reply
    from windsock.providers.airflow import Airflow
    from windsock.providers.base import ProviderRun

RUN = {"dag_id": "d", "dag_run_id": "r", "run_after": "2026-11-23T14:00:00Z", "state": "queued", "run_type": "manual"}


async def one_run(airflow: "Airflow") -> "ProviderRun | None":
    return await airflow.run("d", "r")


def failing(lab: "Lab", *replies: "Reply", **options: Any) -> ProviderFailed:
    """The failure after `replies`, the last of which is repeated."""
    left = list(replies)
    with pytest.raises(ProviderFailed) as caught:
        lab.against(lambda _: left.pop(0) if len(left) > 1 else left[0], one_run, **options)
    return caught.value


def test_single_503_is_retried_after_a_pause(lab: "Lab") -> None:
    replies = [lab.Reply({}, status=503), lab.Reply(RUN)]
    found, scripted = lab.against(lambda _: replies.pop(0), one_run)
    assert found is not None
    assert found.external_id == "r"
    assert len(scripted.requests) == 2
    assert 0.5 <= lab.slept[0] <= 1


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_persistent_transient_error_is_tried_three_times(lab: "Lab", status: int) -> None:
    failure = failing(lab, lab.Reply({}, status=status))
    assert isinstance(failure, ProviderHTTPError)
    # After a 504 of one run a list without rows shows whether the server answers at all.
    tries = 2 if status == 504 else 1
    assert (failure.status, failure.is_transient, len(lab.slept)) == (status, True, 2 * tries)
    assert lab.slept[1] > lab.slept[0]


@pytest.mark.parametrize("status", [400, 409, 422, 500, 501])
def test_permanent_error_status_is_not_retried(lab: "Lab", status: int) -> None:
    failure = failing(lab, lab.Reply({"detail": "no"}, status=status))
    assert (failure.status, lab.slept) == (status, [])
    assert str(failure) == f"Airflow answered GET /api/v2/dags/d/dagRuns/r with {status}: no."


def test_retry_after_is_respected(lab: "Lab") -> None:
    failure = failing(lab, lab.Reply({}, status=429, headers={"Retry-After": "17"}))
    assert lab.slept == [17, 17]
    assert failure.retry_after == 17


def test_excessive_retry_after_raises_instead_of_waiting(lab: "Lab") -> None:
    failure = failing(lab, lab.Reply({}, status=429, headers={"Retry-After": "3600"}))
    assert (lab.slept, failure.retry_after) == ([], 3600)


@pytest.mark.parametrize("value", ["86400", "9" * 40, "Mon, 23 Nov 2099 14:35:33 GMT"])
def test_retry_after_is_capped_at_one_hour(lab: "Lab", value: str) -> None:
    failure = failing(lab, lab.Reply({}, status=429, headers={"Retry-After": value}))
    assert (lab.slept, failure.retry_after) == ([], 3600)


def test_retry_after_accepts_date_and_ignores_invalid_value(lab: "Lab") -> None:
    past = {"Retry-After": "Mon, 23 Nov 2020 14:35:33 GMT"}
    assert failing(lab, lab.Reply({}, status=503, headers=past)).retry_after == 0
    assert failing(lab, lab.Reply({}, status=503, headers={"Retry-After": "soon"})).retry_after is None


def test_connection_that_is_reset_once_is_retried(lab: "Lab") -> None:
    replies = [lab.Reply(drops=True), lab.Reply(RUN)]
    found, _ = lab.against(lambda _: replies.pop(0), one_run)
    assert found is not None


def test_connection_that_is_always_reset_is_unreachable(lab: "Lab") -> None:
    failure = failing(lab, lab.Reply(drops=True))
    assert isinstance(failure, ProviderUnreachable)
    assert len(lab.slept) == 2 * 2, "for the run, and for a list without rows"


def test_truncated_response_is_an_error(lab: "Lab") -> None:
    assert isinstance(failing(lab, lab.Reply(RUN, cuts=True)), ProviderUnreachable)


def test_malformed_json_is_bad_response(lab: "Lab") -> None:
    failure = failing(lab, lab.Reply(b'{"dag_id": "d"'))
    assert isinstance(failure, ProviderBadResponse)
    assert "cut off" in str(failure)
    assert isinstance(failing(lab, lab.Reply(b"[" * 100_000)), ProviderBadResponse)
    assert isinstance(failing(lab, lab.Reply(b'"\xff"')), ProviderBadResponse)


def test_login_page_is_reported_without_its_text(lab: "Lab") -> None:
    page = lab.Reply(b"<html>Sign in, please</html>", content_type="text/html; charset=utf-8")
    failure = failing(lab, page)
    assert isinstance(failure, ProviderBadResponse)
    assert "Sign in" not in str(failure)
    assert "text/html" in str(failure)
    assert "sign in" in failure.hints[0]


def test_redirect_is_reported_and_not_followed(lab: "Lab") -> None:
    location = "https://user:pw@login.example.com/realms/x?token=abc"
    failure = failing(lab, lab.Reply(b"", status=302, headers={"Location": location}))
    assert isinstance(failure, ProviderBadResponse)
    assert "a redirect to login.example.com/realms/x." in str(failure)
    assert "https://" in failure.hints[0]
    assert "sign in" in failing(lab, lab.Reply(b"", status=302, headers={"Location": "/login/?next=x"})).hints[0]
    assert isinstance(failing(lab, lab.Reply(b"", status=307)), ProviderBadResponse)


def test_not_found_page_is_not_mistaken_for_deleted_run(lab: "Lab") -> None:
    assert isinstance(failing(lab, lab.Reply(b"<html>", status=404, content_type="text/html")), ProviderBadResponse)
    assert isinstance(failing(lab, lab.Reply({"detail": "Not Found"}, status=404)), ProviderBadResponse)
    assert isinstance(failing(lab, lab.Reply(b"{", status=404)), ProviderBadResponse)


@pytest.mark.parametrize(
    "body",
    [
        {"detail": "The DagRun with dag_id: `d` and run_id: `r` was not found"},
        {"detail": None, "status": 404, "title": "DAGRun not found", "type": "x"},
    ],
)
def test_lookup_of_deleted_run_returns_none(lab: "Lab", body: object) -> None:
    found, _ = lab.against(lambda _: lab.Reply(body, status=404, content_type="application/problem+json"), one_run)
    assert found is None


def test_path_segments_are_quoted(lab: "Lab") -> None:
    dag_id, run_id = "a ü?", "manual__2026-11-23T14:32:22+00:00"

    async def use(airflow: "Airflow") -> None:
        await airflow.run(dag_id, run_id)

    _, scripted = lab.against(lambda _: lab.Reply(RUN | {"dag_id": dag_id, "dag_run_id": run_id}), use)
    assert scripted.requests[0].path == "/api/v2/dags/a ü?/dagRuns/manual__2026-11-23T14:32:22+00:00"
    assert scripted.requests[0].params == {}


def test_upgraded_airflow_is_detected(lab: "Lab") -> None:
    body = {"error": "/api/v1 has been removed in Airflow 3, please use its upgraded version /api/v2 instead."}
    failure = failing(lab, lab.Reply(body, status=404), api_version="v1")
    assert isinstance(failure, WrongApiVersion)
    assert "api_version" in failure.hints[0]


def test_hanging_server_times_out(lab: "Lab") -> None:
    failure = failing(lab, lab.Reply(RUN, delay=3), timeout_seconds=1)
    assert isinstance(failure, ProviderTimedOut)
    assert "within 1 s" in str(failure)


def test_closed_port_is_unreachable(lab: "Lab") -> None:
    async def use() -> None:
        airflow = lab.airflow("http://127.0.0.1:9")
        try:
            await airflow.run("d", "r")
        finally:
            await airflow.aclose()

    with pytest.raises(ProviderUnreachable, match="refused") as caught:
        asyncio.run(use())
    assert "host and port" in caught.value.hints[0]


def sent_through(transport: httpx2.AsyncBaseTransport, *, largest_body: int = 10**7, **config: str) -> object:
    """The body of an answer that never was on a socket."""

    async def send() -> object:
        found = AirflowConfig.model_validate({"base_url": "http://a", **config})
        http = AirflowHttp(
            found, policy=egress.Policy.of(loopback=True), transport=transport, largest_body=largest_body
        )
        try:
            return (await http.send("GET", "/x")).body
        finally:
            await http.aclose()

    return asyncio.run(send())


def test_decompressed_response_size_is_bounded() -> None:
    packed = gzip.compress(b'"' + b"x" * 5000 + b'"')
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    transport = httpx2.MockTransport(lambda _: httpx2.Response(200, headers=headers, content=packed))
    assert sent_through(transport) == "x" * 5000
    with pytest.raises(ResponseTooLarge):
        sent_through(transport, largest_body=4000)


def test_undecodable_response_is_bad_response() -> None:
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    transport = httpx2.MockTransport(
        lambda _: httpx2.Response(200, headers=headers, stream=httpx2.ByteStream(b"not packed"))
    )
    with pytest.raises(ProviderBadResponse, match="decompressed"):
        sent_through(transport)


def test_large_response_is_parsed_and_sanitised() -> None:
    body = b"[" + b",".join([rb'"\u0000"'] * 200_000) + b"]"
    headers = {"content-type": "application/json"}
    transport = httpx2.MockTransport(lambda _: httpx2.Response(200, headers=headers, content=body))
    assert sent_through(transport) == ["\ufffd"] * 200_000


def test_invalid_ca_certificate_is_reported() -> None:
    transport = httpx2.MockTransport(lambda _: httpx2.Response(200))
    with pytest.raises(ProviderUnreachable, match="ca_certificate"):
        sent_through(transport, base_url="https://a", ca_certificate="x")


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, br"])
def test_unrequested_compression_is_reported_by_name(lab: "Lab", encoding: str) -> None:
    failure = failing(lab, lab.Reply(b"\x1b\x0e\x00", headers={"Content-Encoding": encoding}))
    assert isinstance(failure, ProviderBadResponse)
    assert encoding.partition(",")[0] in str(failure)
    assert "sign in" not in " ".join(failure.hints)
    assert "gzip or deflate" in failure.hints[0]


def test_plain_body_marked_gzip_is_reported(lab: "Lab") -> None:
    failure = failing(lab, lab.Reply(RUN, headers={"Content-Encoding": "gzip"}))
    assert "marked as compressed with gzip" in str(failure)


def test_plain_body_with_unknown_encoding_is_read(lab: "Lab") -> None:
    found, _ = lab.against(lambda _: lab.Reply(RUN, headers={"Content-Encoding": "br"}), one_run)
    assert found is not None


@pytest.mark.parametrize(
    ("status", "words"),
    [(203, "a proxy has changed the answer"), (206, "only a part"), (202, "not how"), (204, "without")],
)
def test_unexpected_success_status_is_reported(lab: "Lab", status: int, words: str) -> None:
    failure = failing(lab, lab.Reply(RUN, status=status))
    assert isinstance(failure, ProviderBadResponse)
    assert str(status) in str(failure)
    assert words in str(failure)
    assert "sign in" not in " ".join(failure.hints)


@pytest.mark.parametrize("body", [b"[" + b"[]," * 700_000 + b"[]]", b"[" + b"1," * 1_100_000 + b"1]"])
def test_response_with_too_many_values_is_not_parsed(body: bytes) -> None:
    headers = {"content-type": "application/json"}
    transport = httpx2.MockTransport(lambda _: httpx2.Response(200, headers=headers, content=body))
    with pytest.raises(ResponseTooLarge, match="more values"):
        sent_through(transport)


def test_largest_response_is_about_ten_megabytes() -> None:
    assert 8_000_000 < MAX_BODY_BYTES < 12_000_000
