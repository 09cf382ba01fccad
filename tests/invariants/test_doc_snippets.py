"""Snippets of the documentation: `sh` and `python` blocks run against a server; every `windsock` line is accepted."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from conftest import SECRET_KEY
from databases import Databases
from live_server import LiveServer, serve_two_tenants
from windsock.__main__ import main
from windsock.cli.terminal import ListFirst

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
RUN_ELSEWHERE = {ROOT / "docs" / "guides" / "api.md"}
"""tests/invariants/test_api_guide.py runs it."""

BLOCKS = {page: BLOCK.findall(page.read_text(encoding="utf-8")) for page in PAGES}
RUNNABLE = [
    page
    for page, blocks in BLOCKS.items()
    if page not in RUN_ELSEWHERE and any(language in {"sh", "python"} for language, _ in blocks)
]
LINES = sorted(
    {
        line
        for blocks in BLOCKS.values()
        for language, block in blocks
        if language in {"", "sh"}
        for line in re.findall(r"^(?:\w+=\$\()?(windsock (?!-).*)$", block.replace("\\\n", " "), re.MULTILINE)
    }
)


@pytest.fixture(scope="module")
def live(make_database: Databases) -> Iterator[LiveServer]:
    with serve_two_tenants(make_database, SECRET_KEY) as server:
        yield server


@pytest.mark.parametrize("page", RUNNABLE, ids=lambda page: page.stem)
def test_doc_page_snippets_succeed_in_order(live: LiveServer, page: Path) -> None:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("WINDSOCK_")},
        "WINDSOCK_URL": live.url,
        "WINDSOCK_API_KEY": live.tenants.keys["superadmin"],
        "WINDSOCK_SPACE": "finance",
        "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
    }
    for number, (language, block) in enumerate(BLOCKS[page], start=1):
        if language in {"sh", "python"}:
            command = (
                ["bash", "-c", f"set -euo pipefail\n{block}"] if language == "sh" else [sys.executable, "-c", block]
            )
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=180)
            assert done.returncode == 0, f"block {number}: {done.stderr}{done.stdout}"


@pytest.mark.parametrize("line", LINES)
def test_documented_command_line_is_accepted(line: str) -> None:
    """Checks the command and the names of its options, without running it."""
    words = shlex.split(re.split(r" [|&]", line)[0], comments=True)[1:]
    command: click.Command = main
    while isinstance(command, click.Group):
        is_named = not isinstance(command, ListFirst) or (words and words[0] in command.commands)
        command = command.commands[words.pop(0) if is_named else "list"]
    context = click.Context(command)
    command.make_parser(context).parse_args(list(words))


def test_snippet_parametrization_is_not_empty() -> None:
    assert len(RUNNABLE) >= 5
    assert len(LINES) >= 25
