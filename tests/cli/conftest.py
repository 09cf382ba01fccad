"""Commands against a server of two spaces, as users of it run them: fixtures."""

from collections.abc import Callable, Iterator
from typing import Any

import orjson
import pytest
from click.testing import CliRunner, Result

from conftest import SECRET_KEY
from databases import Databases
from live_server import LiveServer, serve_two_tenants
from windsock.__main__ import main

Run = Callable[..., Result]


@pytest.fixture(scope="module")
def live(make_database: Databases) -> Iterator[LiveServer]:
    with serve_two_tenants(make_database, SECRET_KEY) as server:
        yield server


@pytest.fixture
def run(live: LiveServer) -> Run:
    """The command as an editor of one space runs it. No output has the key."""

    def run(*arguments: object, kind: str = "editor", stdin: str | None = None, **environment: str) -> Result:
        settings = {"WINDSOCK_URL": live.url, "WINDSOCK_API_KEY": live.tenants.keys[kind], "COLUMNS": "200"}
        texts = [str(argument) for argument in arguments]
        result = CliRunner().invoke(main, texts, input=stdin, env={**settings, **environment})
        assert not isinstance(result.exception, Exception), result.exception
        assert live.tenants.keys[kind] not in result.output
        return result

    return run


def json_of(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return orjson.loads(result.stdout)
