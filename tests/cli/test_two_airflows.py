"""Commands in a space with two Airflows: which pipeline is meant, and which Airflow is shown."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID

import orjson
import pytest

from cli.cli_inprocess import run_in_process
from cli.two_airflows import LIKE_AN_ID, LONG, WITHOUT_DASHES, Run, json_of, runner, two_airflows
from databases import Databases
from live_server import LiveServer


@pytest.fixture(scope="module")
def live(make_database: Databases) -> Iterator[LiveServer]:
    with two_airflows(make_database) as installed:
        yield installed


@pytest.fixture
def run(live: LiveServer) -> Run:
    return runner(live)


@pytest.mark.parametrize(
    ("which", "dag_id"),
    [
        (LIKE_AN_ID, LIKE_AN_ID),
        (WITHOUT_DASHES, WITHOUT_DASHES),
        ("dag_id like an id", LIKE_AN_ID),
        ("UPPER-case", "UPPER-case"),
        ("wanted", "wanted"),
        ("other name", "wanted"),
        ("unwanted", "unwanted"),
        (LONG, "long"),
        (" within  blanks ", "spaces"),
        ("hourly_load", "hourly_load"),
    ],
)
def test_pipeline_is_found_by_dag_id_before_name(run: Run, which: str, dag_id: str) -> None:
    assert json_of(run("watch", which, "--json"))["external_id"] == dag_id
    assert run("runs", "--pipeline", which).exit_code == 0
    started = json_of(run("trigger", which, "--json"))
    assert json_of(run("watch", started["pipeline_id"], "--json"))["external_id"] == dag_id


@pytest.mark.parametrize("spelt", [str, lambda id_: str(id_).upper(), lambda id_: id_.hex, lambda id_: f"{{{id_}}}"])
def test_pipeline_id_takes_precedence_over_identical_name(
    run: Run, live: LiveServer, spelt: Callable[[UUID], str]
) -> None:
    found = json_of(run("watch", spelt(live.tenants.finance.pipelines["daily_report"]), "--json"))
    assert (found["external_id"], found["connector"]["name"]) == ("daily_report", "prod")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("watch", LIKE_AN_ID.upper()), 3, "no pipeline"),
        (("watch", "11111111-2222-3333-4444-555555555555"), 3, "no pipeline 11111111"),
        (("watch", " "), 3, "no pipeline"),
        (("watch", "upper-CASE"), 3, "no pipeline"),
        (("watch", "daily_report"), 2, "daily_report of prod"),
        (("trigger", "daily_report"), 2, "daily_report of staging"),
        (("runs", "--pipeline", "same name"), 2, "same_2 of staging"),
        (("trigger", "hourly_load", "--connector", "staging"), 3, "no pipeline hourly_load of the connector staging"),
        (("trigger", "hourly_load", "--connector", "nowhere"), 3, "there is: crm, prod, staging"),
        (("runs", "--connector", "nowhere"), 3, "there is: crm, prod, staging"),
    ],
)
def test_missing_or_ambiguous_pipeline_name_is_reported(
    run: Run, arguments: tuple[str, ...], code: int, words: str
) -> None:
    result = run(*arguments)
    assert (result.exit_code, words in result.stderr) == (code, True), result.output


@pytest.mark.parametrize("connector", ["prod", "staging"])
def test_connector_distinguishes_pipelines_with_same_dag_id(run: Run, connector: str) -> None:
    watched = json_of(run("watch", "daily_report", "--connector", connector, "--json"))
    assert (watched["connector"]["name"], watched["is_watched"]) == (connector, True)
    assert not json_of(run("watch", "daily_report", "--connector", connector, "--off", "--json"))["is_watched"]
    started = json_of(run("trigger", "daily_report", "--connector", watched["connector_id"], "--json"))
    assert started["pipeline_id"] == watched["id"]
    for more in ((), ("--pipeline", "daily_report")):
        rows = json_of(run("runs", *more, "--connector", connector, "--json"))
        assert (watched["id"] in {row["pipeline_id"] for row in rows}) is True
    of_it = {row["external_id"] for row in json_of(run("runs", "--connector", connector, "--json"))}
    assert ("other" in of_it) == (connector == "staging")


def test_lists_show_connector_column_only_with_several_connectors(run: Run, live: LiveServer) -> None:
    for command in (("pipelines", "--q", "daily"), ("runs", "--status", "failed")):
        lines = run(*command).stdout.splitlines()
        assert lines[0].split()[:2] == ["pipeline", "connector"]
        of = {line.split()[1] for line in lines[1:] if line.split()[0] == "daily_report"}
        assert of == {"prod", "staging"}, command
    assert re.search(r"connector +prod", run("runs", str(live.tenants.finance.run_id)).stdout)
    only = {"WINDSOCK_API_KEY": live.tenants.keys["stranger"]}
    assert "connector" not in run("pipelines", **only).stdout.splitlines()[0]


def test_connector_id_takes_precedence_over_identical_name(run: Run, live: LiveServer, tmp_path: Path) -> None:
    """By the commands that ask a server and by those on this machine's database."""
    prod = live.tenants.finance.connector_id
    named_so = ("connector", "add", "--space", "finance", "--name", str(prod), "--url", "http://127.0.0.1:9", "--json")
    other = orjson.loads(run_in_process(live.database_url, tmp_path, *named_so).stdout)["id"]
    accept = ("connector", "accept", "--space", "finance", "--kind", "mass_loss", "--json", "--connector")
    for which, found in ((str(prod).upper(), prod), (prod.hex, prod), (other, other)):
        listed = json_of(run("pipelines", "--connector", which, "--json"))
        assert {row["connector_id"] for row in listed} == ({str(prod)} if found is prod else set())
        accepted = run_in_process(live.database_url, tmp_path, *accept, which)
        assert (accepted.exit_code == 0) == (which == str(prod).upper()), "held once, by prod alone"
