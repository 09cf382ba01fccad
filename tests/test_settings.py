"""Settings: each from its environment variable, with a default, and a sentence when it makes no sense."""

import os
from pathlib import Path

import click
import pytest
from platformdirs import user_data_path
from pydantic import SecretStr

from windsock.cli.decorators import read_settings
from windsock.settings import Settings


def shown(value: object) -> object:
    return value.get_secret_value() if isinstance(value, SecretStr) else value


def test_defaults_need_no_environment() -> None:
    settings = Settings()
    assert {name: getattr(settings, name) for name in Settings.model_fields if name != "data"} == {
        "database_url": None,
        "database_app_url": None,
        "database_pool_size": 10,
        "secret_keys": None,
        "host": "127.0.0.1",
        "port": 8420,
        "log_format": "auto",
        "log_level": "info",
        "max_body_bytes": 1_048_576,
        "worker_concurrency": 16,
        "max_connectors_per_space": 200,
        "machine_identity": False,
        "egress_allow": None,
        "egress_deny": None,
        "public_url": None,
        "notification_egress_allow": "public",
        "smtp_host": None,
        "smtp_port": 587,
        "smtp_security": "starttls",
        "smtp_username": None,
        "smtp_password": None,
        "smtp_ca_file": None,
        "mail_from": "windsock@localhost",
    }
    assert settings.database_url is None


@pytest.mark.parametrize("uid", [0, 1000])
def test_default_data_folder_depends_on_root_privileges(monkeypatch: pytest.MonkeyPatch, uid: int) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    assert Settings().data == (Path("/var/lib/windsock") if uid == 0 else user_data_path("windsock"))


VALUES = {
    "data": ("/somewhere", Path("/somewhere")),
    "database_url": ("postgresql://owner:planted@db/windsock", "postgresql://owner:planted@db/windsock"),
    "database_app_url": ("postgresql://app:planted@db/windsock", "postgresql://app:planted@db/windsock"),
    "database_pool_size": ("25", 25),
    "secret_keys": ("planted,more", "planted,more"),
    "host": ("0.0.0.0", "0.0.0.0"),  # noqa: S104 - somebody's wish
    "port": ("9000", 9000),
    "log_format": ("json", "json"),
    "log_level": ("debug", "debug"),
    "max_body_bytes": ("2048", 2048),
    "worker_concurrency": ("9", 9),
    "max_connectors_per_space": ("500", 500),
    "machine_identity": ("true", True),
    "egress_allow": ("10.0.0.0/8,loopback", "10.0.0.0/8,loopback"),
    "egress_deny": ("10.1.0.0/16", "10.1.0.0/16"),
    "public_url": ("https://windsock.example.com", "https://windsock.example.com"),
    "notification_egress_allow": ("public,10.0.0.0/8", "public,10.0.0.0/8"),
    "smtp_host": ("mail.example.com", "mail.example.com"),
    "smtp_port": ("465", 465),
    "smtp_security": ("tls", "tls"),
    "smtp_username": ("windsock", "windsock"),
    "smtp_password": ("planted", "planted"),
    "smtp_ca_file": ("/etc/ssl/mail.pem", Path("/etc/ssl/mail.pem")),
    "mail_from": ("windsock@example.com", "windsock@example.com"),
}


def test_every_setting_has_test_value_and_description() -> None:
    assert set(VALUES) == set(Settings.model_fields)
    assert all(field.description for field in Settings.model_fields.values())


@pytest.mark.parametrize("name", VALUES)
def test_setting_is_read_from_its_environment_variable(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    text, value = VALUES[name]
    monkeypatch.setenv(f"WINDSOCK_{name.upper()}", text)
    settings = read_settings(None)
    assert shown(getattr(settings, name)) == value
    assert (settings.database_url is None) is (name != "database_url")
    assert "planted" not in repr(settings)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("port", "http"),
        ("port", "65536"),
        ("port", "-1"),
        ("database_pool_size", "1"),
        ("database_pool_size", "many"),
        ("log_format", "xml"),
        ("log_level", "loud"),
        ("max_body_bytes", "1023"),
        ("worker_concurrency", "0"),
    ],
)
def test_invalid_value_is_reported_with_variable_name(monkeypatch: pytest.MonkeyPatch, name: str, text: str) -> None:
    monkeypatch.setenv(f"WINDSOCK_{name.upper()}", text)
    with pytest.raises(click.ClickException, match=rf"^WINDSOCK_{name.upper()}: Input should be ") as caught:
        read_settings(None)
    assert caught.value.exit_code == 1
    assert caught.value.__cause__ is None


def test_command_line_overrides_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINDSOCK_DATA", "/from/the/environment")
    monkeypatch.setenv("WINDSOCK_PORT", "1")
    assert read_settings(None).data == Path("/from/the/environment")
    settings = read_settings(Path("/given"), port=2, host=None)
    assert (settings.data, settings.port, settings.host) == (Path("/given"), 2, "127.0.0.1")


def test_relative_data_folder_becomes_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert read_settings(Path("here")).data == tmp_path / "here"


def test_unknown_environment_variables_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINDSOCK_TOMORROW", "1")
    assert Settings() == Settings(data=Settings().data)


def test_empty_environment_variables_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """As compose files leave them: an empty URL must not mean whatever database libpq finds."""
    monkeypatch.setenv("WINDSOCK_DATABASE_URL", "")
    monkeypatch.setenv("WINDSOCK_PORT", "")
    assert Settings().database_url is None
    assert Settings().port == 8420
