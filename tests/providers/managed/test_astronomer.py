"""Astronomer: a fixed token along with each request, and words of Astronomer where it is refused."""

from typing import TYPE_CHECKING, Any, Literal

import httpx2
import pytest

from windsock.errors import ProviderHTTPError

if TYPE_CHECKING:
    from providers.managed.conftest import Cloud
    from windsock.providers.airflow import Airflow

TOKEN = "planted-astro-token-3003"


def credentials() -> dict[str, Any]:
    return {"auth_type": "astronomer", "token": f" {TOKEN}\n"}


async def one_run(airflow: "Airflow") -> Any:
    return await airflow.run("d", "r")


def is_let_in(request: httpx2.Request) -> bool:
    return request.headers.get("authorization") == f"Bearer {TOKEN}"


@pytest.mark.parametrize(("version", "number"), [("v1", "2.11.2"), ("v2", "3.3.2")])
def test_token_is_sent_with_each_request_including_version_request(cloud: "Cloud", version: str, number: str) -> None:
    serve = cloud.airflow(is_let_in, number)
    cloud.web = lambda request: serve(httpx2.Request(request.method, _inner(request), headers=request.headers))
    identity = cloud.use(credentials, lambda airflow: airflow.detect_version(), cloud.ASTRO_URL, None)
    assert (identity.version, identity.api_version) == (number, version)
    assert all(is_let_in(request) for request in cloud.requests)
    assert all(path.startswith("GET /d0abc123/api/") for path in cloud.paths)


def _inner(request: httpx2.Request) -> str:
    return f"https://example.com{request.url.path.removeprefix('/d0abc123')}"


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize(("status", "hint"), [(401, "expired or was deleted"), (403, "no access to this Deployment")])
def test_refused_token_is_permanent_failure_with_reason(
    cloud: "Cloud", version: Literal["v1", "v2"], status: int, hint: str
) -> None:
    cloud.web = cloud.refuses(status, f"not {TOKEN}")
    with pytest.raises(ProviderHTTPError) as caught:
        cloud.use(credentials, one_run, cloud.ASTRO_URL, version)
    assert caught.value.status == status
    assert hint in caught.value.hints[0]
    assert TOKEN not in f"{caught.value} {vars(caught.value)}"
    assert len(cloud.requests) == 1
