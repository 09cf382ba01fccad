"""JSON responses: serialisation, compression, ETags of bodies."""

import gzip
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import orjson
import pytest

from factories import TwoTenants, make_request
from validating_client import ValidatingClient
from windsock.http.responses import dump_json, json_response


@pytest.mark.parametrize(
    ("condition", "status"),
    [
        ("{etag}", 304),
        ("W/{etag}", 304),
        ('"another", {etag}', 304),
        ('"another",W/{etag} , "third"', 304),
        ("*", 304),
        ('"another"', 200),
        ("", 200),
        ("{etag}x", 200),
    ],
)
def test_conditional_get_with_current_etag_is_304(condition: str, status: int) -> None:
    etag = json_response(make_request(), {"a": 1}).headers["etag"]
    response = json_response(make_request(if_none_match=condition.format(etag=etag)), {"a": 1})
    assert response.status_code == status
    assert response.headers["etag"] == etag
    assert response.headers["vary"] == "Authorization, Accept, Accept-Encoding"
    assert response.headers["cache-control"] == "private, no-cache"
    assert response.body == (b"" if status == 304 else b'{"a":1}')


def test_changed_response_has_new_etag() -> None:
    assert (
        json_response(make_request(), {"a": 1}).headers["etag"]
        != json_response(make_request(), {"a": 2}).headers["etag"]
    )


@pytest.mark.parametrize(("method", "status"), [("POST", 200), ("PATCH", 200), ("GET", 201)])
def test_only_successful_get_is_conditional(method: str, status: int) -> None:
    response = json_response(make_request(method=method, if_none_match="*"), {}, status=status)
    assert response.status_code == status
    assert "etag" not in response.headers


def test_json_writes_utc_times_with_z_and_uuids_as_text() -> None:
    at = datetime(2026, 11, 23, 12, 0, 0, 5, tzinfo=UTC)
    elsewhere = at.astimezone(timezone(timedelta(hours=5, minutes=30)))
    value = {"at": at, "there": elsewhere, "id": UUID(int=7), "raw": b'{"x":1.0}', "é": None}
    assert dump_json(value).decode() == (
        '{"at":"2026-11-23T12:00:00.000005Z","there":"2026-11-23T17:30:00.000005+05:30",'
        '"id":"00000000-0000-0000-0000-000000000007","raw":{"x":1.0},"é":null}'
    )
    assert dump_json(b'{"x":1.0}') == b'{"x":1.0}'
    with pytest.raises(TypeError):
        dump_json({"no JSON": {1, 2}})


@pytest.mark.parametrize("depth", [1, 253, 254, 300, 5000])
def test_json_of_any_depth_is_serialised(depth: int) -> None:
    value: Any = {"é": [1, None, True, datetime(2026, 1, 2, tzinfo=UTC), b'{"stored":1}']}
    for number in range(depth):
        value = [value, number] if number % 2 else {"a": value, 'b"': [], "c": {}}
    text = dump_json(value).decode()
    core = '{"é":[1,null,true,"2026-01-02T00:00:00Z",{"stored":1}]}'
    for number in range(depth):
        core = f"[{core},{number}]" if number % 2 else f'{{"a":{core},"b\\"":[],"c":{{}}}}'
    assert text == core


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("accepts", "is_packed"),
    [("gzip", True), ("br, gzip;q=0.5", True), ("*", True), ("identity", False), ("gzip;q=0", False), ("", False)],
)
async def test_response_is_compressed_if_accepted(
    client: ValidatingClient, tenants: TwoTenants, accepts: str, is_packed: bool
) -> None:
    key = tenants.keys["viewer"]
    request = client.build_request(
        "GET", "/spaces/finance/orchestration/pipelines", headers={"Authorization": f"Bearer {key}"}
    )
    request.headers["Accept-Encoding"] = accepts
    response = await client.send(request, stream=True)
    raw = b"".join([part async for part in response.aiter_raw()]) if not response.is_closed else response.content
    assert (response.headers.get("content-encoding") == "gzip") == is_packed
    plain = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    assert [row["name"] for row in orjson.loads(plain)] == ["daily_report", "hourly_load", "never_run"]
