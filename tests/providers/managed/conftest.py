"""Both sides of a managed Airflow: the cloud's API on a loopback socket, for the real libraries, and the web server."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import httpx2
import pytest
import structlog
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from pydantic import TypeAdapter

from windsock import egress, log
from windsock.providers.airflow import Airflow, AirflowConfig, Credentials, TokenCache

if TYPE_CHECKING:
    from providers.conftest import Lab, Reply, Request

MWAA_HOST = "0a1b2c3d-vpce.c2.airflow.eu-west-1.on.aws"
COMPOSER_URL = "https://0123abcd-dot-europe-west1.composer.googleusercontent.com"
ASTRO_URL = "https://example.astronomer.run/d0abc123"
NOT_FOUND = {"detail": "The DagRun with dag_id: `d` and run_id: `r` was not found", "title": "DAGRun not found"}
_credentials: TypeAdapter[Credentials] = TypeAdapter(Credentials)


class Cloud:
    """`answers`: what the cloud's API gives, in turn, the last one for ever. `web`: how the web server answers."""

    MWAA_URL = f"https://{MWAA_HOST}"
    COMPOSER_URL = COMPOSER_URL
    ASTRO_URL = ASTRO_URL

    def __init__(self, lab: "Lab", monkeypatch: pytest.MonkeyPatch, private_key: rsa.RSAPrivateKey) -> None:
        self._lab, self._monkeypatch, self._private_key = lab, monkeypatch, private_key
        self.responses: list[str | Reply] = []
        self.api = lab.Server(self._handle)
        self.web: Callable[[httpx2.Request], httpx2.Response] = self.refuses(401)
        self.requests: list[httpx2.Request] = []
        self.tokens = TokenCache()
        self.token_uris: set[str] = set()

    @property
    def paths(self) -> list[str]:
        """Of the web server."""
        return [f"{level.method} {level.url.path}" for level in self.requests]

    @property
    def public_key(self) -> bytes:
        return self._private_key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    @property
    def private_key(self) -> str:
        return self._private_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()

    @staticmethod
    def documented(name: str) -> Any:
        return json.loads((Path(__file__).parent / "documented" / f"{name}.json").read_text(encoding="utf-8"))

    def reply(self, name: str) -> "Reply":
        found = self.documented(name)
        return self._lab.Reply(found["body"], status=found["status"], content_type="", headers=found["headers"])

    def page(self, name: str) -> httpx2.Response:
        found = self.documented(name)
        return httpx2.Response(found["status"], headers=found["headers"], text="<html></html>")

    @staticmethod
    def refuses(status: int, detail: str = "no") -> Callable[[httpx2.Request], httpx2.Response]:
        return lambda _: httpx2.Response(status, json={"detail": detail})

    def airflow(
        self,
        is_let_in: Callable[[httpx2.Request], bool],
        version: str = "3.3.2",
        refusal: tuple[int, str] = (401, "no"),
    ) -> Callable[[httpx2.Request], httpx2.Response]:
        """An Airflow in which there is no DAG and no run."""
        root = "/api/v2" if version.startswith("3") else "/api/v1"

        def response(request: httpx2.Request) -> httpx2.Response:
            if not is_let_in(request):
                return httpx2.Response(refusal[0], json={"detail": refusal[1]})
            if not request.url.path.startswith(root):
                return httpx2.Response(404, html="<html></html>")
            rest = request.url.path.removeprefix(root)
            known = {"/version": {"version": version}, "/dags": {"dags": [], "total_entries": 0}, "/health": {}}
            known["/monitor/health"] = {}
            return httpx2.Response(200, json=known[rest]) if rest in known else httpx2.Response(404, json=NOT_FOUND)

        return response

    def service_account(self, **other: Any) -> dict[str, Any]:
        """As Google gives it, but for the address of the token's server, which is this machine."""
        return {
            "type": "service_account",
            "project_id": "example",
            "private_key_id": "0123456789abcdef",
            "private_key": self.private_key,
            "client_email": "windsock@example.iam.gserviceaccount.com",
            "client_id": "123456789012345678901",
            "auth_uri": "https://accounts.google.com/o/oauth2/auth",
            "token_uri": f"{self.api.base_url}/token",
            "auth_provider_x509_cert_url": "https://www.googleapis.com/oauth2/v1/certs",
            "client_x509_cert_url": "https://www.googleapis.com/robot/v1/metadata/x509/windsock",
            "universe_domain": "googleapis.com",
            **other,
        }

    def use(
        self,
        credentials: Callable[[], dict[str, Any]],
        work: Callable[[Airflow], Awaitable[Any]],
        base_url: str,
        api_version: Literal["v1", "v2"] | None = "v2",
        *,
        as_machine: bool = False,
    ) -> Any:
        """What `work` makes of this Airflow; `credentials` are made when the loopback address is known."""

        if api_version is not None:  # was found by an earlier sync
            self.tokens.recognized.add("c", None)

        async def run() -> Any:
            async with self.api.serving():
                self._monkeypatch.setenv("AWS_ENDPOINT_URL_MWAA", self.api.base_url)
                self.token_uris.add(f"{self.api.base_url}/token")
                self._monkeypatch.setattr("windsock.providers.airflow.config.TOKEN_URIS", self.token_uris)
                airflow = Airflow(
                    AirflowConfig(base_url=base_url),
                    _credentials.validate_python(credentials()),
                    api_version=api_version,
                    tokens=self.tokens,
                    key="c",
                    policy=egress.Policy.of(loopback=True),
                    as_machine=as_machine,
                    transport=httpx2.MockTransport(self._serve),
                    sleep=self._lab.sleep,
                )
                try:
                    return await work(airflow)
                finally:
                    await airflow.aclose()

        return asyncio.run(run())

    def _handle(self, _: "Request") -> "Reply":
        response = self.responses.pop(0) if len(self.responses) > 1 else self.responses[0]
        return self.reply(response) if isinstance(response, str) else response

    def _serve(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        return self.web(request)


@pytest.fixture(scope="session")
def private_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture
def cloud(lab: "Lab", monkeypatch: pytest.MonkeyPatch, private_key: rsa.RSAPrivateKey, tmp_path: Path) -> Cloud:
    """Nothing of the machine's own accounts is seen, and nothing leaves it."""
    for name in (
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_PROFILE",
        "AWS_DEFAULT_REGION",
    ):
        monkeypatch.delenv(name, raising=False)
    for name, value in {
        "AWS_CONFIG_FILE": str(tmp_path / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_DISABLE_HOST_PREFIX_INJECTION": "true",  # env.127.0.0.1 is nowhere
        "NO_GCE_CHECK": "true",
        "CLOUDSDK_CONFIG": str(tmp_path / "none"),
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    return Cloud(lab, monkeypatch, private_key)


@pytest.fixture
def logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, configuration = root.handlers[:], root.level, structlog.get_config()
    levels = {name: logging.getLogger(name).level for name in log.NOISY_CLOUD_LOGGERS}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.configure(**configuration)
    for name, item in levels.items():
        logging.getLogger(name).setLevel(item)
