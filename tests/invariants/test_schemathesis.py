"""schemathesis finds nothing: no 5xx, no undocumented status, no answer that breaks its schema, with any input."""

import os
import re
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import SECRET_KEY
from databases import Databases
from live_server import LiveServer, serve_two_tenants
from windsock.client import Client
from windsock.context import AppContext
from windsock.providers.airflow import Diagnosis

SECONDS = int(os.environ.get("WINDSOCK_TEST_SCHEMATHESIS_SECONDS", "900"))
HERE = Path(__file__).parent
MORE = os.environ.get("WINDSOCK_TEST_SCHEMATHESIS", "--generation-deterministic").split()
"""For example `--seed 7 --max-examples 200`."""
NOTHING_IS_THERE = Diagnosis(
    success=False, message="Not asked.", latency_ms=0.0, provider_version=None, api_version=None, hints=[]
)
"""Addresses that schemathesis makes up must not be looked for on the network; what asks them has tests of its own."""

# What is valid by the schema must be accepted, apart from the exemptions in the hooks and from what depends on stored
# data: 401, 403, 404 and 409.
CONFIGURATION = """
hooks = "{hooks}"

[checks]
positive_data_acceptance.expected-statuses = ["2xx", "3xx", "401", "403", "404", "409"]

# PATCH /users/me is a change of a user whose id is none: 422, so that PATCH is allowed there.
[[operations]]
include-name = "GET /api/v1.0/users/me"
checks.unsupported_method.enabled = false
checks.allow_header_conformance.enabled = false

# For other methods, the last word of these is the id in another path.
[[operations]]
include-name = "POST /api/v1.0/spaces/{{slug}}/incidents/acknowledge"
checks.unsupported_method.enabled = false
checks.allow_header_conformance.enabled = false

[[operations]]
include-name = "POST /api/v1.0/spaces/{{slug}}/notifications/rules/preview"
checks.unsupported_method.enabled = false
checks.allow_header_conformance.enabled = false

[parameters]
"""


@pytest.fixture
def live(make_database: Databases, monkeypatch: pytest.MonkeyPatch) -> Iterator[LiveServer]:
    async def diagnose(*_: object, **__: object) -> Diagnosis:
        return NOTHING_IS_THERE

    monkeypatch.setattr(AppContext, "diagnose", diagnose)
    with serve_two_tenants(make_database, SECRET_KEY, run_worker=False) as server:
        yield server


def run(live: LiveServer, folder: Path, parameters: dict[str, object], *options: str) -> str:
    """What schemathesis says as a superadmin; always with the same seed, unless WINDSOCK_TEST_SCHEMATHESIS is set."""
    configuration = folder / "schemathesis.toml"
    lines = [f'"path.{name}" = "{value}"' for name, value in parameters.items()]
    configuration.write_text(
        CONFIGURATION.format(hooks=HERE / "schemathesis_hooks.py") + "\n".join(lines), encoding="utf-8"
    )
    program = str(Path(sysconfig.get_path("scripts")) / "schemathesis")
    done = subprocess.run(  # without shrinking, which takes gigabytes for the larger schemas
        [
            program, "--config-file", str(configuration), "run", f"{live.url}/api/v1.0/openapi.json",
            "--header", f"Authorization: Bearer {live.tenants.keys['superadmin']}",
            "--no-color", "--suppress-health-check", "all", "--no-shrink", *options, *MORE,
        ],
        capture_output=True, text=True, check=False, timeout=SECONDS, cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr
    return done.stdout


def assert_passed(text: str, *phases: str) -> None:
    for phase in phases:
        assert f"✅ {phase}" in text, text[-3000:]
    assert re.search(r"\b\d{3,} generated, \d+ passed", text), text[-3000:]
    assert "failed" not in text


@pytest.mark.timeout(SECONDS + 60)
def test_schemathesis_with_existing_ids_finds_no_failures(live: LiveServer, tmp_path: Path) -> None:
    """Every operation but the deletions, on real ids: examples, edge cases of each parameter, random input."""
    space = live.tenants.finance
    with Client(live.url, live.tenants.keys["superadmin"], space="finance") as client:
        comment_id = client.comment_on_run(space.run_id, "mine to edit").id
    there = {
        "slug": "finance",
        "connector_id": space.connector_id,
        "pipeline_id": space.pipelines["daily_report"],
        "run_id": space.run_id,
        "task_run_id": space.task_run_id,
        "team_id": space.team_id,
        "comment_id": comment_id,
        "view_id": space.view_id,
        "sync_id": space.sync_id,
        "user_id": live.tenants.users["viewer"],
    }
    text = run(
        live,
        tmp_path,
        there,
        "--exclude-method",
        "DELETE",
        "--phases",
        "examples,coverage,fuzzing",
        "--max-examples",
        "6",
    )
    assert_passed(text, "Examples", "Coverage", "Fuzzing")


@pytest.mark.timeout(SECONDS + 60)
def test_schemathesis_with_stateful_ids_finds_no_failures(live: LiveServer, tmp_path: Path) -> None:
    """Every operation but the end of the space, on ids that earlier answers gave or that nobody has."""
    not_the_space = ["--exclude-operation-id", "delete_space"]
    text = run(live, tmp_path, {"slug": "finance"}, *not_the_space, "--max-examples", "5")
    assert_passed(text, "Examples", "Coverage", "Fuzzing", "Stateful")
