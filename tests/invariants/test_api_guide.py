"""docs/guides/api.md runs as it is written, line by line, and walks through every endpoint."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI

from conftest import SECRET_KEY
from databases import Databases
from fake_airflow.changes import request_approval
from invariants.operations import documented
from live_server import LiveServer, serve_two_tenants

GUIDE = (Path(__file__).parents[2] / "docs" / "guides" / "api.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
VARIABLES = {
    "SPACE": "slug", "PIPELINE": "pipeline_id", "TEAM": "team_id", "RUN": "run_id", "TASK": "task_run_id",
    "COMMENT": "comment_id", "CONNECTOR": "connector_id", "SYNC": "sync_id", "USER": "user_id", "MINE": "key_id",
    "VIEW": "view_id",
    "INCIDENT": "incident_id", "CHANNEL": "channel_id", "RULE": "rule_id", "MESSAGE": "message_id",
    "FINGERPRINT": "fingerprint_id", "SPLIT": "fingerprint_id", "BULK": "bulk_clear_id",
}  # fmt: skip


@pytest.fixture(scope="module")
def live(make_database: Databases) -> Iterator[LiveServer]:
    with serve_two_tenants(make_database, SECRET_KEY) as server:
        yield server


def test_api_guide_commands_succeed_in_order(live: LiveServer) -> None:
    waiting = next(task for task in live.airflow.model.tasks.values() if task.task_id == "load")
    request_approval(live.airflow.api, waiting, "Pay the invoice?", ["Approve", "Reject"])
    waiting.state = "failed"
    script = "set -euo pipefail\n" + "\n".join(
        f'echo ">>> block {number}" >&2\n{block}' for number, block in enumerate(BLOCKS, start=1)
    )
    environment = {"URL": live.url, "KEY": live.tenants.keys["superadmin"], "PATH": "/usr/local/bin:/usr/bin:/bin"}
    done = subprocess.run(
        ["/bin/bash", "-c", script], env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, f"{done.stderr[-3000:]}\n{done.stdout[-2000:]}"
    assert f">>> block {len(BLOCKS)}" in done.stderr
    assert "\n304\n" in done.stdout
    assert "criticality" in done.stdout.split("extreme")[-1] or '"loc":["body","criticality"]' in done.stdout
    (sent,) = live.runs.posts
    assert sent["conf"] == {"day": "2026-11-23"}


def test_every_endpoint_is_in_api_guide(bare_app: FastAPI) -> None:
    documented_codes = set()
    for block in BLOCKS:
        lines = block.replace("\\\n", " ").splitlines()
        for line in lines:
            for method, path in re.findall(r'\b(get|send [A-Z]+) "?(/[^\s"|)]*)', line):
                plain = re.sub(r"\$(\w+)", lambda match: f"{{{VARIABLES[match[1]]}}}", path.partition("?")[0])
                documented_codes.add((method.removeprefix("send ").upper(), plain.replace("/sandbox", "/{slug}")))
    assert documented_codes == set(documented(bare_app))


def test_every_query_parameter_is_in_api_guide(bare_app: FastAPI) -> None:
    for (method, path), operation in documented(bare_app).items():
        for parameter in operation.get("parameters", []):
            if parameter["in"] == "query":
                assert re.search(rf"\b{parameter['name']}\b", GUIDE), f"{method} {path}: {parameter['name']}"
