"""Every setting, command, option, endpoint and kind of error is in the documentation."""

import re
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import click
import pytest
from fastapi import FastAPI

from laws.operations import PUBLIC
from windsock import errors
from windsock.__main__ import main
from windsock.settings import Settings

ROOT = Path(__file__).parents[2]
DOCS = "\n".join(path.read_text(encoding="utf-8") for path in [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))])


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


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_every_setting_is_documented(name: str) -> None:
    assert re.search(rf"\bWINDSOCK_{name.upper()}\b", DOCS)


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_every_setting_says_what_it_is_for(name: str) -> None:
    assert re.search(r"\w{3}.*\.$", Settings.model_fields[name].description or "")


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_is_documented_with_its_options(name: str) -> None:
    assert re.search(rf"\b{name}\b", DOCS), "the command"
    for parameter in COMMANDS[name].params:
        for option in parameter.opts:
            if option.startswith("--"):
                assert re.search(rf"(?<![\w-]){option}(?![\w-])", DOCS), option
        for variable in [parameter.envvar] if isinstance(parameter.envvar, str) else parameter.envvar or []:
            assert re.search(rf"\b{variable}\b", DOCS), variable


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_says_what_it_does(name: str) -> None:
    assert COMMANDS[name].help


def test_every_endpoint_is_documented_by_the_address_of_the_openapi_document(bare_app: FastAPI) -> None:
    """It has them all; what it does not know of is written down: the public ones."""
    assert bare_app.openapi_url in PUBLIC
    for path in PUBLIC:
        assert path in DOCS, path


def test_every_kind_of_error_has_a_status_of_its_own_kind() -> None:
    kinds = list(kinds_of_error())
    assert len(kinds) > 8
    for kind in kinds:
        assert 400 <= HTTPStatus(kind.status) < 600, kind
