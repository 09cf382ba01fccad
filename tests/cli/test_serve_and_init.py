"""From nothing to a served API: init before and beside serve, keys, connectors, stopping, killing."""

import os
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import httpx2
import orjson
import psycopg
import pytest

from cli.cli_subprocess import Installation, installed, is_alive, wait_for
from windsock.db.bootstrap import DATABASE, OWNER
from windsock.embedded import EmbeddedPostgres

PLANTED = "planted-password-7788"


@pytest.fixture(scope="module")
def installation(open_folder: Path) -> Iterator[Installation]:
    """With a first user, made before a server ever ran, which then does."""
    with installed(open_folder, Installation) as new_installation:
        first = new_installation.facts("init", "--email", "Ana@Example.com", "--space", "finance", "--name", "Finance")
        assert set(first) == {"key", "space", "user_id", "login_url"}
        assert first["space"] == "finance"
        new_installation.key = str(first["key"])
        new_installation.serve()
        yield new_installation


def test_first_user_of_init_is_superadmin_and_space_admin(installation: Installation) -> None:
    me = installation.ask("GET", "/users/me").json()
    assert (me["email"], me["is_superadmin"]) == ("ana@example.com", True)
    assert [(space["slug"], space["name"], space["role"]) for space in me["spaces"]] == [
        ("finance", "Finance", "admin")
    ]


def test_repeated_init_creates_no_second_key_and_prints_instructions(installation: Installation) -> None:
    again = installation.run("init", "--email", "ana@example.com", "--space", "finance")
    assert again.returncode == 0
    assert "wsk_" not in again.stdout
    assert "windsock key create --email ana@example.com" in again.stdout
    assert installation.facts("init", "--email", "ana@example.com", "--space", "finance")["key"] is None


def test_init_on_running_server_creates_user_limited_to_new_space(installation: Installation) -> None:
    other = installation.facts("init", "--email", "bob@example.com", "--space", "marketing", "--role", "viewer")["key"]
    me = installation.ask("GET", "/users/me", key=other).json()
    assert me["is_superadmin"] is False
    assert [(space["slug"], space["role"]) for space in me["spaces"]] == [("marketing", "viewer")]
    assert installation.ask("GET", "/spaces/finance/orchestration/pipelines", key=other).status_code == 403


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("init", "--email", "ana@example.com", "--space", "Not A Slug"), "lower-case"),
        (("init", "--email", "nobody", "--space", "finance"), "email"),
        (("key", "create", "--email", "nobody@example.com"), "no user"),
        (("key", "revoke", "wsk_nothing"), "no such API key"),
        (("connector", "list", "--space", "nowhere"), "no space nowhere"),
        (("sync", "--space", "finance", "--connector", "nothing"), "no connector nothing"),
    ],
)
def test_invalid_argument_prints_message_and_exits_with_1(
    installation: Installation, arguments: tuple[str, ...], word: str
) -> None:
    done = installation.run(*arguments)
    assert done.returncode == 1
    assert word in done.stderr
    assert "Traceback" not in done.stderr


def test_invalid_setting_is_reported_by_name(installation: Installation) -> None:
    done = installation.run("migrate", WINDSOCK_PORT="many")
    assert done.returncode == 1
    assert "WINDSOCK_PORT" in done.stderr
    assert "Traceback" not in done.stderr


def test_keys_can_be_created_listed_and_revoked_immediately(installation: Installation) -> None:
    created = installation.facts("key", "create", "--email", "ana@example.com", "--expires-in-days", "3")
    assert installation.ask("GET", "/users/me", key=created["key"]).status_code == 200
    rows = {row["id"]: row for row in installation.facts("key", "list", "--email", "ana@example.com")}
    assert rows[created["id"]]["key_prefix"] == created["key"][:10]
    assert "key_hash" not in rows[created["id"]]
    assert installation.facts("key", "revoke", created["id"]) == {"revoked": 1}
    assert installation.ask("GET", "/users/me", key=created["key"]).status_code == 401
    assert installation.facts("migrate") == {"revision": "v0002"}


def test_login_link_command_prints_link_that_signs_in(installation: Installation) -> None:
    address = f"http://127.0.0.1:{installation.port}"
    link = installation.facts("login-link", "--email", "ana@example.com", "--url", f"{address}/")
    assert link["url"].startswith(f"{address}/sign-in/link?token=wsl_")
    shown = httpx2.get(link["url"], headers={"Accept": "text/html"})
    assert "Sign in as Ana" in shown.text
    own = {"Origin": address, "Accept": "text/html"}
    token = link["url"].partition("token=")[2]
    with httpx2.Client(base_url=address, headers=own) as browser:
        assert browser.post("/sign-in/link", data={"token": token}).headers["location"] == "/"
        assert 'href="/spaces/finance"' in browser.get("/").text
        fleet = browser.get("/spaces/finance/pipelines")
        assert (fleet.status_code, "No pipelines yet" in fleet.text) == (200, True)
    refused = installation.run("login-link", "--email", "nobody@example.com")
    assert (refused.returncode, "There is no user nobody@example.com" in refused.stderr) == (1, True)
    assert "within 15 minutes" in installation.run("login-link", "--email", "ana@example.com").stdout
    assert token not in installation.log.read_text()


def test_connector_commands_never_print_or_log_password(installation: Installation) -> None:
    closed_port_url = "http://127.0.0.1:9"
    added = installation.run(
        *("connector", "add", "--space", "finance", "--name", "prod", "--url", closed_port_url, "--username", "ana"),
        WINDSOCK_AIRFLOW_PASSWORD=PLANTED,
    )
    assert added.returncode == 1, "nobody answers there"
    assert "Added prod." in added.stdout
    tried = installation.run("connector", "test", "--space", "finance", "--connector", "prod", "--json")
    assert '"success":false' in tried.stdout
    (row,) = installation.facts("connector", "list", "--space", "finance")
    assert row["has_credentials"] is True
    synced = installation.run("sync", "--space", "finance", "--connector", "prod")
    assert synced.returncode == 1
    assert "failed" in synced.stdout
    assert "could not be sent to Airflow" in synced.stderr
    assert installation.facts("rotate-secrets") == {"rotated": 1}
    for text in (added.stdout, added.stderr, tried.stdout, tried.stderr, synced.stdout, synced.stderr):
        assert PLANTED not in text
    log = installation.log.read_text()
    assert "answered" in log
    assert PLANTED not in log
    assert installation.key not in log


def test_expired_sync_of_killed_worker_does_not_block_next_sync(installation: Installation) -> None:
    """As the command finds it when no server runs: claimed by a worker that is gone."""
    installation.stop()
    with EmbeddedPostgres(installation.data) as embedded:
        url = embedded.url(user=OWNER, database=DATABASE)
        with psycopg.connect(url, options="-c search_path=windsock") as db:
            db.execute("DELETE FROM sync_runs WHERE status IN ('queued', 'running')")  # of the server that was stopped
            left = db.execute(
                "INSERT INTO sync_runs (space_id, connector_id, trigger, status, lease_holder, lease_until)"
                " SELECT space_id, id, 'schedule', 'running', 'gone', now() - interval '1 minute' FROM connectors"
                " ON CONFLICT DO NOTHING RETURNING id"
            ).fetchall()
        synced = installation.run("sync", "--space", "finance", "--connector", "prod", "--json")
    assert len(left) == 1
    assert synced.returncode == 1
    output = orjson.loads(synced.stdout)
    assert output["id"] != str(left[0][0])
    assert "could not be sent to Airflow" in output["error"]
    installation.serve()


def test_commands_refuse_database_of_an_unreleased_version_and_name_its_directory(installation: Installation) -> None:
    installation.stop()
    with (
        EmbeddedPostgres(installation.data) as embedded,
        psycopg.connect(embedded.url(user=OWNER, database=DATABASE), autocommit=True) as db,
    ):
        db.execute("UPDATE windsock.alembic_version SET version_num = '0023'")
        for arguments in (("migrate",), ("serve", "--port", "0"), ("key", "list", "--email", "ana@example.com")):
            done = installation.run(*arguments)
            assert done.returncode == 1
            assert "created by an unreleased version of Windsock and cannot be upgraded" in done.stderr
            assert f"delete the directory {embedded.cluster_dir} and start Windsock again" in done.stderr
            assert "Traceback" not in done.stderr
        db.execute("UPDATE windsock.alembic_version SET version_num = 'v0002'")
    installation.serve()


def test_port_in_use_is_reported_and_other_server_untouched(installation: Installation) -> None:
    second = installation.run("serve", "--port", str(installation.port))
    assert second.returncode == 1
    assert f"Port {installation.port} of 127.0.0.1 is in use by another program." in second.stderr
    assert "Traceback" not in second.stderr
    assert installation.status("/health/ready") == 200


def test_foreign_bind_address_is_reported(installation: Installation) -> None:
    for host in ("192.0.2.1", "nowhere.invalid"):
        done = installation.run("serve", "--host", host, "--port", "0")
        assert done.returncode == 1
        assert f"Cannot listen on port 0 of {host}" in done.stderr
        assert "Traceback" not in done.stderr


def test_secret_key_file_is_readable_by_owner_only(installation: Installation) -> None:
    assert stat.S_IMODE((installation.data / "secret.key").stat().st_mode) == 0o600


def test_killed_postgres_is_restarted_by_server(installation: Installation) -> None:
    killed = installation.postmaster()
    os.kill(killed, signal.SIGKILL)
    wait_for(lambda: not is_alive(killed), "the postmaster to be gone")
    wait_for(lambda: installation.status("/health/ready") == 200, "the server to be ready again")
    assert installation.ask("GET", "/users/me").status_code == 200
    assert installation.postmaster() != killed


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_server_restarts_after_stop_or_kill(installation: Installation, number: signal.Signals) -> None:
    postmaster = installation.postmaster()
    status = installation.stop(number=number)
    if number is not signal.SIGKILL:
        assert status == 0
        wait_for(lambda: not is_alive(postmaster), "PostgreSQL to stop with the server", 10)
    installation.serve()
    assert installation.ask("GET", "/users/me").status_code == 200
