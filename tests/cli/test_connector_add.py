"""`windsock connector add`: how it is told to sign in to a managed Airflow, and what it says when that is not clear."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import orjson
import psycopg
import pytest
from click.testing import Result
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from cli.cli_inprocess import owner_url, run_in_process
from conftest import SECRET_KEY
from databases import Databases
from live_server import LiveServer, serve_two_tenants
from windsock.connectors.encryption import Encryption
from windsock.providers.airflow import optional_deps

Add = Callable[..., Result]

TOKEN, SECRET, SESSION = "planted-token-3311", "planted-secret-key-3312", "planted-session-3313"
FROM_AWS = {"WebServerHostname": "0a1b.c2.airflow.eu-west-1.on.aws", "WebToken": "planted-web-token-3314"}
MWAA = ("--auth", "mwaa", "--environment-name", "prod", "--region", "eu-west-1")
OF_THE_MACHINE = {
    "AWS_ACCESS_KEY_ID": "AKIAOFTHEMACHINE",
    "AWS_SECRET_ACCESS_KEY": "planted-of-the-machine",
    "AWS_SESSION_TOKEN": "planted-of-the-machine",
    "AWS_CONFIG_FILE": "none",
    "AWS_SHARED_CREDENTIALS_FILE": "none",
    "AWS_DISABLE_HOST_PREFIX_INJECTION": "true",  # env.127.0.0.1 is nowhere
    "NO_PROXY": "127.0.0.1",
    "no_proxy": "127.0.0.1",
}


@dataclass
class Cloud:
    """AWS's and Google's sign-in and an Airflow that lets nobody in, at one address; `asked`: path and headers."""

    url: str = ""
    requests: list[tuple[str, Message]] = field(default_factory=list)

    def handle(self, path: str) -> tuple[int, Any]:
        known = {"/webtoken/prod": (200, FROM_AWS), "/token": (400, {"error": "invalid_grant"})}
        return known.get(path, (401, {"detail": "no"}))


@pytest.fixture(scope="module")
def live(make_database: Databases) -> Iterator[LiveServer]:
    with serve_two_tenants(make_database, SECRET_KEY, run_worker=False) as server:
        yield server


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    new_cloud = Cloud()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            new_cloud.requests.append((self.path, self.headers))
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, body = new_cloud.handle(self.path)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(orjson.dumps(body))

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        new_cloud.url = f"http://127.0.0.1:{server.server_port}"
        yield new_cloud
        server.shutdown()
        thread.join()


@pytest.fixture
def add(live: LiveServer, cloud: Cloud, tmp_path: Path) -> Add:
    """Adds a connector of that name; what it prints holds no secret."""

    def add(name: str, *arguments: str, stdin: str | None = None, **environment: str) -> Result:
        whole = ("connector", "add", "--space", "finance", "--name", name, "--url", cloud.url, *arguments)
        more = {**OF_THE_MACHINE, "AWS_ENDPOINT_URL_MWAA": cloud.url, **environment}
        result = run_in_process(live.database_url, tmp_path, *whole, stdin=stdin, **more)
        assert not [secret for secret in (TOKEN, SECRET, SESSION, "PRIVATE KEY") if secret in result.output]
        return result

    return add


def saved_connector(live: LiveServer, name: str) -> Any:
    """The credentials of a connector, decrypted; None where there is no such connector."""
    with psycopg.connect(owner_url(live.database_url)) as connection:
        query = "SELECT credentials FROM windsock.connectors WHERE name = %s"
        row = connection.execute(query, (name,)).fetchone()
    return None if row is None else Encryption([SECRET_KEY]).decrypt(row[0])


@pytest.mark.parametrize(
    ("stdin", "environment"), [(None, {"WINDSOCK_AIRFLOW_TOKEN": TOKEN}), (f"{TOKEN}\n", {})], ids=["variable", "asked"]
)
def test_astronomer_accepts_token_from_environment_or_prompt(
    live: LiveServer, cloud: Cloud, add: Add, stdin: str | None, environment: dict[str, str]
) -> None:
    name = f"astro {uuid4()}"
    added = add(name, "--auth", "astronomer", stdin=stdin, **environment)
    assert added.exit_code == 1, "the double lets nobody in"
    assert f"Added {name}. " in added.stdout
    assert "the API token of Astronomer has expired" in added.stdout
    assert cloud.requests[-1][1]["Authorization"] == f"Bearer {TOKEN}"
    assert saved_connector(live, name) == {"auth_type": "astronomer", "token": TOKEN}


def test_composer_accepts_service_account_file(
    live: LiveServer, cloud: Cloud, add: Add, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("windsock.providers.airflow.config.TOKEN_URIS", {f"{cloud.url}/token"})
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    account = {
        "type": "service_account",
        "client_email": "windsock@example.iam.gserviceaccount.com",
        "private_key": key.decode(),
        "token_uri": f"{cloud.url}/token",
    }
    file = tmp_path / "key.json"
    file.write_text(json.dumps(account))
    added = add("composer", "--auth", "composer", "--service-account", str(file))
    assert added.exit_code == 1
    assert "Google refused the service account: invalid_grant." in added.stdout
    assert "/token" in [path for path, _ in cloud.requests]
    assert saved_connector(live, "composer") == {"auth_type": "composer", "service_account": account}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (MWAA, "base_url is not the web server of the MWAA environment prod."),
        (("--auth", "composer"), "Application default credentials are sent to Cloud Composer only"),
    ],
    ids=["mwaa", "composer"],
)
def test_add_without_keys_uses_machine_identity_only_if_enabled(
    live: LiveServer, cloud: Cloud, add: Add, arguments: tuple[str, ...], words: str
) -> None:
    name = f"machine {arguments[1]}"
    added = add(name, *arguments)
    assert added.exit_code == 1
    assert "Windsock may not sign in as the machine on which it runs." in added.stdout
    assert "set WINDSOCK_MACHINE_IDENTITY=true" in added.stdout
    assert cloud.requests == []
    credentials = saved_connector(live, name)
    assert [credentials.get(key) for key in ("service_account", "access_key_id", "secret_access_key")] == [None] * 3
    allowed = add(f"allowed {arguments[1]}", *arguments, WINDSOCK_MACHINE_IDENTITY="true")
    assert words in allowed.stdout
    assert saved_connector(live, f"allowed {arguments[1]}") == credentials


@pytest.mark.parametrize(
    ("stdin", "environment", "session"),
    [
        (
            None,
            {"WINDSOCK_AIRFLOW_SECRET_ACCESS_KEY": SECRET, "WINDSOCK_AIRFLOW_SESSION_TOKEN": SESSION},
            SESSION,
        ),
        (f"{SECRET}\n", {"WINDSOCK_AIRFLOW_TOKEN": TOKEN, "WINDSOCK_AIRFLOW_PASSWORD": "of another"}, None),
    ],
    ids=["variables", "asked"],
)
def test_mwaa_accepts_access_key_and_reports_web_server(
    live: LiveServer, cloud: Cloud, add: Add, stdin: str | None, environment: dict[str, str], session: str | None
) -> None:
    name = f"mwaa {uuid4()}"
    added = add(name, *MWAA, "--access-key-id", "AKIAEXAMPLE", stdin=stdin, **environment)
    assert added.exit_code == 1
    assert "base_url is not the web server of the MWAA environment prod." in added.stdout
    assert f"Set base_url to https://{FROM_AWS['WebServerHostname']}" in added.stdout
    (path, headers) = cloud.requests[0]
    assert path == "/webtoken/prod"
    assert "Credential=AKIAEXAMPLE/" in headers["Authorization"]
    assert "/eu-west-1/airflow/" in headers["Authorization"]
    assert headers.get("X-Amz-Security-Token") == session
    assert saved_connector(live, name) == {
        "auth_type": "mwaa",
        "environment_name": "prod",
        "region": "eu-west-1",
        "access_key_id": "AKIAEXAMPLE",
        "secret_access_key": SECRET,
        "session_token": session,
    }


def test_prompt_leaves_single_json_value_on_stdout(live: LiveServer, add: Add) -> None:
    added = add("asked", "--username", "ana", "--json", stdin=f"{SECRET}\n")
    assert orjson.loads(added.stdout)["name"] == "asked"
    assert "Password" in added.stderr
    assert saved_connector(live, "asked") == {"auth_type": "password", "username": "ana", "password": SECRET}


def test_missing_optional_library_is_reported_with_install_command(
    live: LiveServer, add: Add, monkeypatch: pytest.MonkeyPatch
) -> None:
    def not_there(name: str) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(optional_deps, "import_module", not_there)
    added = add("bare", *MWAA, "--access-key-id", "AKIAEXAMPLE", WINDSOCK_AIRFLOW_SECRET_ACCESS_KEY=SECRET)
    assert added.exit_code == 1
    assert added.stdout.endswith("pip install 'windsock[mwaa]'\n")
    url = f"{live.url}/api/v1.0/catalog/spaces/finance/connectors"
    headers = {"Authorization": f"Bearer {live.tenants.keys['editor']}"}
    (connector,) = [row for row in httpx2.get(url, headers=headers).json() if row["name"] == "bare"]
    body = httpx2.post(f"{url}/{connector['id']}/test", headers=headers).json()
    assert added.stdout == "Added bare. " + "\n  - ".join([body["message"], *body["hints"]]) + "\n"


@pytest.mark.parametrize(
    ("arguments", "environment", "words"),
    [
        (("--auth", "iap"), {}, "'astronomer', 'composer', 'mwaa'"),
        (("--auth", "astronomer", "--username", "ana"), {}, "--username does not go with --auth astronomer"),
        (("--auth", "composer", "--token", "t"), {}, "which takes --service-account."),
        ((*MWAA, "--service-account", "-"), {}, "--service-account does not go with --auth mwaa"),
        (("--region", "eu-west-1"), {}, "add --auth mwaa."),
        (("--service-account", "-"), {"WINDSOCK_AIRFLOW_TOKEN": TOKEN}, "add --auth composer."),
        (("--username", "ana", "--token", "t"), {}, "Sign in either with --username and --password, or with --token."),
        (("--password", "p"), {}, "Sign in either with --username and --password, or with --token."),
        (("--auth", "mwaa", "--region", "eu-west-1"), {}, "needs --environment-name and --region"),
        (("--auth", "mwaa", "--environment-name", "prod"), {}, "needs --environment-name and --region"),
        ((*MWAA, "--session-token", "t"), {}, "needs --access-key-id"),
        (MWAA, {"WINDSOCK_AIRFLOW_SECRET_ACCESS_KEY": SECRET}, "unset WINDSOCK_AIRFLOW_SECRET_ACCESS_KEY"),
        ((*MWAA, "--access-key-id", "AKIA"), {}, "set WINDSOCK_AIRFLOW_SECRET_ACCESS_KEY."),
        (("--auth", "astronomer"), {}, "set WINDSOCK_AIRFLOW_TOKEN."),
        (("--username", "ana"), {}, "set WINDSOCK_AIRFLOW_PASSWORD."),
        (("--auth", "composer", "--service-account", "nowhere.json"), {}, "nowhere.json"),
        (("--auth", "composer", "--service-account", "-"), {}, "--service-account is no JSON"),
        (("--auth", "mwaa", "--environment-name", "prod", "--region", "Ireland"), {}, "--region: String should match"),
        (("--auth", "mwaa", "--environment-name", "p/d", "--region", "eu-west-1"), {}, "--environment-name: String"),
        (("--token", ""), {}, "--token: Value should have at least 1 item"),
        (("--url", "airflow.example.com"), {}, "--url: Value error, must be a URL that starts with http"),
    ],
)
def test_invalid_or_conflicting_options_are_usage_errors(
    live: LiveServer, cloud: Cloud, add: Add, arguments: tuple[str, ...], environment: dict[str, str], words: str
) -> None:
    """Nobody is at the terminal."""
    wrong = add("unclear", *arguments, stdin="", **environment)
    assert wrong.exit_code == 2, wrong.output
    assert words in wrong.stderr
    assert (wrong.stdout, cloud.requests, saved_connector(live, "unclear")) == ("", [], None)


def test_service_account_file_of_wrong_type_is_usage_error(live: LiveServer, add: Add) -> None:
    user = orjson.dumps({"type": "authorized_user", "refresh_token": SECRET}).decode()
    wrong = add("user", "--auth", "composer", "--service-account", "-", stdin=user)
    assert wrong.exit_code == 2
    assert "--service-account: type: Input should be 'service_account'" in wrong.stderr
    assert saved_connector(live, "user") is None
