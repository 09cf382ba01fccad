"""Every setting, command, option, endpoint, metric and kind of error is in the reference, and links lead somewhere."""

import re
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import click
import pytest
from fastapi import FastAPI
from prometheus_client import REGISTRY

import windsock.client
from invariants.operations import PUBLIC, documented
from windsock import errors
from windsock.__main__ import main
from windsock.settings import Settings

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [*(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")), *sorted(DOCS.glob("**/*.md"))]
README_MAX_LINES = 150


def read(page: str) -> str:
    return (DOCS / page).read_text(encoding="utf-8")


def commands(group: click.Group, path: str = "windsock") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


def kinds_of_error(kind: type[errors.WindsockError] = errors.WindsockError) -> Iterator[type[errors.WindsockError]]:
    for below in kind.__subclasses__():
        yield below
        yield from kinds_of_error(below)


COMMANDS = dict(commands(main))
EVERYWHERE = {"--help", "--json", "--data", "--url", "--api-key", "--space"}
"""Options that the reference describes once for a group of commands."""


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_every_setting_is_in_reference(name: str) -> None:
    assert re.search(rf"^\| `WINDSOCK_{name.upper()}` \|", read("reference/settings.md"), re.MULTILINE)


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_every_setting_has_a_description(name: str) -> None:
    assert re.search(r"\w{3}.*\.$", Settings.model_fields[name].description or "")


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_is_in_reference_with_its_options(name: str) -> None:
    page = read("reference/cli.md")
    row = re.search(rf"^\| `{name}[` ].*$", page, re.MULTILINE)
    assert row is not None
    for parameter in COMMANDS[name].params:
        for option in parameter.opts:
            if option.startswith("--"):
                text = page if option in EVERYWHERE else row[0]
                assert re.search(rf"(?<![\w-]){option}(?![\w-])", text), option
        for variable in [parameter.envvar] if isinstance(parameter.envvar, str) else parameter.envvar or []:
            assert f"`{variable}`" in read("reference/settings.md"), variable


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_a_help_text(name: str) -> None:
    assert COMMANDS[name].help


def test_every_endpoint_is_in_reference(bare_app: FastAPI) -> None:
    page = read("reference/api.md")
    assert bare_app.openapi_url in PUBLIC
    for path in (path for path in PUBLIC if path.count("/docs/") == 0):
        assert f"`{path}`" in page or f"`{path}` of your server" in page, path
    listed, prefix = set(), ""
    for line in page[page.index("## Endpoints") : page.index("## Connector configuration")].splitlines():
        if line.startswith("### "):
            prefix = "".join(re.findall(r"below `([^`]+)`", line))
        if row := re.match(r"\| ([A-Z, ]+) \| (`[^|]+`) \|", line):
            listed |= {
                (method, prefix + path) for method in row[1].split(", ") for path in re.findall(r"`([^`]+)`", row[2])
            }
    undocumented = {("GET", "/health"), ("GET", "/health/ready"), ("GET", "/metrics")}
    assert listed - undocumented == set(documented(bare_app)) - undocumented


def test_every_metric_is_documented() -> None:
    page = read("operations/metrics.md")
    for metric in REGISTRY.collect():
        if metric.name.startswith("windsock_"):
            assert re.search(rf"`{metric.name}(_total)?`", page), metric.name


def test_every_error_class_has_documented_status() -> None:
    kinds = list(kinds_of_error())
    assert len(kinds) > 8
    page = read("reference/api.md")
    listed = {
        int(number)
        for row in re.findall(r"^\| (\d{3}(?:, \d{3})*) \|", page, re.MULTILINE)
        for number in row.split(",")
    }
    for kind in kinds:
        assert 400 <= HTTPStatus(kind.status) < 600, kind
        assert kind.status in listed or issubclass(kind, errors.ProviderFailed), kind


def test_every_client_exception_is_documented() -> None:
    page = read("guides/python-client.md")
    table = page[page.index("| Exception in") :]
    named = {name for name in windsock.client.__all__ if isinstance(getattr(windsock.client, name), type)}
    exceptions = {name for name in named if issubclass(getattr(windsock.client, name), Exception)}
    assert exceptions == {name for name in re.findall(r"`(\w+)`", table) if name in dir(windsock.client)}


def test_readme_is_within_line_limit() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= README_MAX_LINES


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_has_a_target(page: Path) -> None:
    """`make docs` checks links and anchors of the site; this checks the files that are no part of it, too."""
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_every_page_is_in_navigation() -> None:
    navigation = (ROOT / "zensical.toml").read_text(encoding="utf-8")
    for page in DOCS.glob("**/*.md"):
        name = page.relative_to(DOCS).as_posix()
        assert f'"{name}"' in navigation or page.parent.name == "decisions", name
