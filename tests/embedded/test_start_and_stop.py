"""The embedded PostgreSQL starts, is shared, stops, and survives being killed."""

import os
import signal
import subprocess
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from embedded.servers import (
    IS_ROOT,
    connect,
    leave,
    line_of,
    other,
    postmaster_pid,
    server_user,
    value,
    wait_for,
)
from windsock.embedded import EmbeddedPostgres, processes


def test_first_start_creates_utf8_database_with_code_point_order_and_checksums(
    postgres: EmbeddedPostgres,
) -> None:
    postgres.start()
    assert value(postgres, "SELECT current_setting('server_encoding')") == "UTF8"
    assert value(postgres, "SELECT 'Z' < 'a'")
    assert value(postgres, "SELECT current_setting('data_checksums')") == "on"
    assert value(postgres, "SELECT current_setting('jit')") == "off"
    assert value(postgres, "SELECT current_setting('listen_addresses')") == ""
    assert value(postgres, "SELECT current_user") == "postgres"
    assert postgres.binary("pg_ctl").exists()


def test_database_is_durable_by_default(data_dir: Path) -> None:
    with EmbeddedPostgres(data_dir) as postgres:
        for setting in ("fsync", "full_page_writes", "synchronous_commit"):
            assert value(postgres, f"SELECT current_setting('{setting}')") == "on"


def test_only_server_user_can_access_files_and_socket(postgres: EmbeddedPostgres) -> None:
    postgres.start()
    cluster = postgres.cluster_dir.stat()
    assert cluster.st_mode & 0o777 == 0o700
    assert cluster.st_uid == server_user()[0]
    assert (postgres.cluster_dir / ".s.PGSQL.5432").stat().st_mode & 0o077 == 0


def test_server_environment_contains_no_secrets(postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINDSOCK_SECRET_KEYS", "planted")
    monkeypatch.setenv("PGPORT", "1")
    postgres.start()
    with connect(postgres) as connection:
        connection.execute("CREATE TEMPORARY TABLE said (line text)")
        connection.execute("COPY said FROM PROGRAM 'env'")
        seen = dict(str(line).split("=", 1) for (line,) in connection.execute("SELECT line FROM said"))
    assert "PATH" in seen
    assert not seen.keys() & {"WINDSOCK_SECRET_KEYS", "PGPORT"}


def test_restart_preserves_data_and_stop_leaves_no_process(postgres: EmbeddedPostgres) -> None:
    postgres.start()
    with connect(postgres) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS number")
    postgres.stop()
    assert processes.list_processes(postgres.cluster_dir) == []
    assert not (postgres.cluster_dir / "postmaster.pid").exists()
    postgres.start()
    assert value(postgres, "SELECT number FROM kept") == 42


def test_start_of_running_server_has_no_effect(postgres: EmbeddedPostgres) -> None:
    postgres.start()
    pid = postmaster_pid(postgres)
    postgres.start()
    assert postmaster_pid(postgres) == pid
    postgres.stop()
    assert processes.list_processes(postgres.cluster_dir) == []


def test_large_log_is_rotated_while_server_runs(postgres: EmbeddedPostgres) -> None:
    postgres.start()
    with postgres.log.open("ab") as log:
        log.write(b"old\n" * 3_000_000)
    postgres.start()  # as the watchdog of a process does
    assert postgres.log.stat().st_size < 10_000
    assert postgres.log.with_name("postgres.log.1").stat().st_size == 10_000_000
    with connect(postgres) as connection, pytest.raises(psycopg.Error):
        connection.execute("SELECT planted_name")
    text = postgres.log.read_bytes()
    assert b"planted_name" in text
    assert b"\x00" not in text, "the server goes on at the beginning of the file"


def test_stop_of_stopped_server_has_no_effect(postgres: EmbeddedPostgres) -> None:
    postgres.stop()
    postgres.start()
    postgres.stop()
    postgres.stop()


def test_server_shared_by_two_processes_is_stopped_by_last_process(postgres: EmbeddedPostgres, data_dir: Path) -> None:
    with other(data_dir) as process:
        assert line_of(process) == "started"
        pid = postmaster_pid(postgres)
        postgres.start()
        assert postmaster_pid(postgres) == pid
        leave(process)
    assert value(postgres, "SELECT 1") == 1
    postgres.stop()
    assert processes.list_processes(postgres.cluster_dir) == []


def test_shared_server_outlives_process_that_started_first(postgres: EmbeddedPostgres, data_dir: Path) -> None:
    postgres.start()
    with other(data_dir) as process:
        assert line_of(process) == "started"
        postgres.stop()
        assert processes.list_processes(postgres.cluster_dir)
        leave(process)
    assert processes.list_processes(postgres.cluster_dir) == []


def test_concurrently_started_processes_share_one_server(data_dir: Path) -> None:
    with other(data_dir) as first, other(data_dir) as two, other(data_dir) as three:
        assert [line_of(process) for process in (first, two, three)] == ["started"] * 3
        for process in (first, two, three):
            leave(process)
    assert processes.list_processes(data_dir / "postgres") == []


def test_server_of_killed_process_is_joined_and_then_stopped(postgres: EmbeddedPostgres, data_dir: Path) -> None:
    with other(data_dir) as process:
        assert line_of(process) == "started"
        process.kill()
        process.wait()
    pid = postmaster_pid(postgres)
    postgres.start()
    assert postmaster_pid(postgres) == pid
    assert value(postgres, "SELECT 1") == 1
    postgres.stop()
    assert processes.list_processes(postgres.cluster_dir) == []


def test_start_after_killed_postmaster_recovers_committed_rows_only(
    postgres: EmbeddedPostgres,
) -> None:
    postgres.start()
    with connect(postgres) as connection:
        connection.execute("CREATE TABLE kept (number int)")
        connection.execute("INSERT INTO kept VALUES (1)")
    lost = connect(postgres)
    lost.execute("INSERT INTO kept VALUES (2)")
    os.kill(postmaster_pid(postgres), signal.SIGKILL)
    postgres.start()
    assert value(postgres, "SELECT array_agg(number) FROM kept") == [1]
    with pytest.raises(psycopg.OperationalError):
        lost.execute("SELECT 1")
    lost.close()


def test_busy_backend_of_killed_postmaster_does_not_block_start(postgres: EmbeddedPostgres) -> None:
    postgres.start()
    with closing(connect(postgres)) as busy:
        busy.autocommit = True
        # Blocked in another program, it does not notice that its postmaster is gone.
        busy.pgconn.send_query(b"COPY (SELECT 1) TO PROGRAM 'sleep 20'")
        wait_for(
            lambda: value(postgres, "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'COPY%' AND state = 'active'")
        )
        os.kill(postmaster_pid(postgres), signal.SIGKILL)
        postgres.start()
        assert value(postgres, "SELECT 1") == 1


def test_joined_process_restarts_server_after_killed_postmaster(postgres: EmbeddedPostgres, data_dir: Path) -> None:
    with other(data_dir) as process:
        assert line_of(process) == "started"
        postgres.start()
        process.send_signal(signal.SIGSTOP)  # so that it does not wait for its child, which becomes a zombie
        os.kill(postmaster_pid(postgres), signal.SIGKILL)
        postgres.start()
        assert value(postgres, "SELECT 1") == 1
        process.send_signal(signal.SIGCONT)
        leave(process)
        assert value(postgres, "SELECT 1") == 1


def test_stale_pid_file_with_reused_pid_is_ignored(postgres: EmbeddedPostgres) -> None:
    postgres.start()
    pid = postmaster_pid(postgres)
    pid_file = postgres.cluster_dir / "postmaster.pid"
    lock_file = postgres.cluster_dir / ".s.PGSQL.5432.lock"
    texts = {path: path.read_text() for path in (pid_file, lock_file)}
    os.kill(pid, signal.SIGKILL)
    processes.kill_all(postgres.cluster_dir, timeout=0)
    uid, gid = server_user()
    # Of the server's user: PostgreSQL itself takes the pids of other users for stale, and of its own for alive.
    with subprocess.Popen(["/bin/sleep", "60"], user=uid if IS_ROOT else None, group=gid if IS_ROOT else None) as sleep:
        for path, text in texts.items():
            path.write_text(text.replace(str(pid), str(sleep.pid), 1))
        try:
            postgres.start()
            assert value(postgres, "SELECT 1") == 1
            assert sleep.poll() is None
        finally:
            sleep.kill()
