"""A space with two Airflows whose pipelines have the same and confusing names, and a terminal to ask about them."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import orjson
from click.testing import CliRunner, Result

from conftest import SECRET_KEY
from databases import Databases
from factories import airflow_connector, make_pipeline, make_run
from live_server import LiveServer, serve_two_tenants
from windsock.__main__ import main
from windsock.connectors.encryption import Encryption
from windsock.connectors.store import create_connector
from windsock.db.database import Database
from windsock.providers.base import ProviderPipeline
from windsock.sync.writer import MirrorWriter

Run = Callable[..., Result]

LIKE_AN_ID = "0b6a3f2e-7c55-4a60-9a35-3b1f0c2d4e5f"
WITHOUT_DASHES = "7d4448409dc011d1b2455ffdce74fad2"
LONG = ("a very long name " * 40).strip()


@contextlib.contextmanager
def two_airflows(make_database: Databases) -> Iterator[LiveServer]:
    """`staging` beside `prod` of the world."""
    with serve_two_tenants(make_database, SECRET_KEY, run_worker=False) as server:
        asyncio.run(_add_another_airflow(server))
        yield server


async def _add_another_airflow(live: LiveServer) -> None:
    space_id, secrets = live.tenants.finance.id, Encryption([SECRET_KEY])
    first = live.tenants.finance.pipelines
    db = Database(live.database_url, pool_size=2)
    await db.open()
    async with db.tenant_transaction(space_id) as tx:
        connector = await create_connector(tx, space_id, airflow_connector("staging"), secrets)
        mirror = MirrorWriter(space_id, connector["id"])
        _, created = await mirror.store_pipelines(
            tx,
            [
                make_pipeline("daily_report"),
                named(LIKE_AN_ID, "dag_id like an id"),
                make_pipeline(WITHOUT_DASHES),
                make_pipeline("UPPER-case"),
                named("wanted", "other name"),
                named("unwanted", "wanted"),
                named("same_1", "same name"),
                named("same_2", "same name"),
                named("named_like_an_id", str(first["daily_report"])),
                named("long", LONG),
                named("spaces", " within  blanks "),
            ],
        )
        await mirror.store_runs(tx, [make_run("daily_report", "other", "failed", hours_ago=3, minutes=1)], created)
    await db.close()


def named(dag_id: str, name: str) -> ProviderPipeline:
    return replace(make_pipeline(dag_id), name=name)


def runner(live: LiveServer) -> Run:
    """The command as an editor runs it, on a terminal of any encoding."""

    def run(*arguments: str, charset: str = "utf-8", stdin: str | bytes | None = None, **environment: str) -> Result:
        settings = {"WINDSOCK_URL": live.url, "WINDSOCK_API_KEY": live.tenants.keys["editor"], "COLUMNS": "200"}
        result = CliRunner(charset=charset).invoke(main, arguments, input=stdin, env={**settings, **environment})
        assert not isinstance(result.exception, Exception), result.exception
        return result

    return run


def json_of(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return orjson.loads(result.stdout)
