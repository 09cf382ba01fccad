"""The whole environment of a lab's Airflow processes: nothing of the caller's, and least of all its AIRFLOW__*."""

from __future__ import annotations

import json
import os
import secrets
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from airflow_install import Version

PASSWORDS: Final = "passwords.json"

BOTH: Final = {
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
    "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
    "AIRFLOW__CORE__PARALLELISM": "4",
    "AIRFLOW__DATABASE__LOAD_DEFAULT_CONNECTIONS": "False",
    "AIRFLOW__LOGGING__COLORED_CONSOLE_LOG": "False",
    "AIRFLOW__SCHEDULER__ALLOWED_RUN_ID_PATTERN": "^.*$",  # some deployments permit more than the default, such as a /
    "AIRFLOW__SCHEDULER__PARSING_CLEANUP_INTERVAL": "10",
    "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    "SCARF_ANALYTICS": "false",
    "SCARF_NO_ANALYTICS": "true",
    "DO_NOT_TRACK": "1",
    "LANG": "C.UTF-8",
    "TZ": "UTC",
    "PYTHONUNBUFFERED": "1",
}

# A changed file is read within seconds, the others seldom; a DAG that left its file is soon stale.
THREE: Final = {
    "AIRFLOW__CORE__AUTH_MANAGER": "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager",
    "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin,viewer:viewer",
    "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
    "AIRFLOW__DAG_PROCESSOR__BUNDLE_REFRESH_CHECK_INTERVAL": "5",
    "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "30",
    "AIRFLOW__DAG_PROCESSOR__STALE_DAG_THRESHOLD": "15",
    "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
}
TWO: Final = {
    "AIRFLOW__API__AUTH_BACKENDS": "airflow.api.auth.backend.basic_auth,airflow.api.auth.backend.session",
    "AIRFLOW__SCHEDULER__DAG_DIR_LIST_INTERVAL": "5",
    "AIRFLOW__SCHEDULER__MIN_FILE_PROCESS_INTERVAL": "30",
    "AIRFLOW__SCHEDULER__STALE_DAG_THRESHOLD": "15",
    "AIRFLOW__SCHEDULER__PARSING_PROCESSES": "1",
    "AIRFLOW__WEBSERVER__WEB_SERVER_MASTER_TIMEOUT": "300",
    "AIRFLOW__WEBSERVER__WEB_SERVER_WORKER_TIMEOUT": "300",
    "AIRFLOW__WEBSERVER__WORKER_REFRESH_INTERVAL": "0",  # replacing the only worker would interrupt somebody
}


def environment(
    version: Version, installed: Path, home: Path, dags: Path, port: int, database_url: str
) -> dict[str, str]:
    """Everything the processes see; `database_url` is libpq's, with the socket's folder as ?host=."""
    _, _, address = database_url.partition("://")
    url = f"http://127.0.0.1:{port}"
    secret = _secret(home)
    settings = BOTH | {
        "PATH": f"{installed / 'bin'}{os.pathsep}{os.defpath}",
        "HOME": str(home),
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "task-logs"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://{address}",
    }
    if version == "2":
        return settings | TWO | {"AIRFLOW__WEBSERVER__BASE_URL": url, "AIRFLOW__WEBSERVER__SECRET_KEY": secret}
    return (
        settings
        | THREE
        | {
            "AIRFLOW__API__BASE_URL": url,
            "AIRFLOW__API__SECRET_KEY": secret,
            "AIRFLOW__API_AUTH__JWT_SECRET": secret,
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / PASSWORDS),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC": f"postgresql+asyncpg://{address}",
        }
    )


def write_passwords(home: Path, users: Mapping[str, str]) -> None:
    """Airflow 3's file of users; Airflow 2 keeps them in its database."""
    (home / PASSWORDS).write_text(json.dumps(users))


def _secret(home: Path) -> str:
    """The same in every life of this home, so that sessions and tokens outlive a restart."""
    file = home / "secret"
    if not file.is_file():
        file.touch(mode=0o600)
        file.write_text(secrets.token_urlsafe(48))
    return file.read_text()
