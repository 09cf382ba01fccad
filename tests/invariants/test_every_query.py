"""Every query can run, names its space, and counts what it lists."""

import importlib
import pkgutil
import re
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

import windsock
from windsock.db.bootstrap import APPLICATION
from windsock.db.database import CONNECTION_OPTIONS
from windsock.db.queries import HEADING, INCLUDE, REGISTRY, Queries, Query, optional_params, render

NOT_TO_IMPORT = re.compile(r"windsock\.(__main__|db\.migrations\.(env|versions))")
"""What runs when it is imported."""

for _module in pkgutil.walk_packages(windsock.__path__, "windsock."):
    if not NOT_TO_IMPORT.match(_module.name):
        importlib.import_module(_module.name)

QUERIES = {f"{source}: {name}": query for source, queries in REGISTRY.items() for name, query in queries.items()}
MARK = re.compile(r"%%|%\((\w+)\)s|%")


def to_positional(query: Query) -> str:
    """With $1, $2 … for the named parameters, as psycopg sends it; a lone % would make psycopg raise."""
    names: list[str] = []

    def number(match: re.Match[str]) -> str:
        if match[0] == "%%":
            return "%"
        assert match[1], "a lone % must be written %%"
        if match[1] not in names:
            names.append(match[1])
        return f"${names.index(match[1]) + 1}"

    return MARK.sub(number, query)


def test_every_sql_file_is_loaded() -> None:
    root = Path(str(files("windsock")))
    on_disk = {path.relative_to(root) for path in root.rglob("*.sql") if "migrations" not in path.parts}
    loaded = {Path(source.partition("/")[0].replace(".", "/")) / source.partition("/")[2] for source in REGISTRY}
    assert {path.relative_to("windsock") for path in loaded} == on_disk - {
        Path("pipelines/filters.sql"), Path("runs/fragments.sql"), Path("sync/fingerprint_counts.sql"),
        Path("notifications/episodes.sql"),
    }, "every file but the fragments that several share"  # fmt: skip


@pytest.fixture(scope="module")
def connection(empty_database: Callable[[str], str]) -> Iterator[psycopg.Connection]:
    with psycopg.connect(empty_database(APPLICATION), options=CONNECTION_OPTIONS, autocommit=True) as connection:
        for query in QUERIES.values():
            if kind(query) == "CREATE":  # tables of a connection, which others need
                connection.execute(sql.SQL(to_positional(query)))
        yield connection


def kind(query: str) -> str:
    """What PostgreSQL prepares no such statement for is CREATE or COPY."""
    return re.sub(r"--.*\n", "", query).split(maxsplit=1)[0]


@pytest.mark.parametrize("name", sorted(QUERIES))
def test_every_query_can_be_prepared_by_application_role(connection: psycopg.Connection, name: str) -> None:
    query = sql.SQL(to_positional(QUERIES[name]))
    if kind(QUERIES[name]) == "CREATE":
        connection.execute(query)
    elif kind(QUERIES[name]) == "COPY":
        with connection.cursor().copy(query) as value:
            value.set_types([])
    else:
        connection.execute(sql.SQL("PREPARE law AS ") + query)
        connection.execute("DEALLOCATE law")


OPTIONAL = sorted(name for name, query in QUERIES.items() if optional_params(query))


@pytest.mark.parametrize("name", OPTIONAL)
def test_every_query_prepares_without_optional_parameters(connection: psycopg.Connection, name: str) -> None:
    names = optional_params(QUERIES[name])
    for value in [(), *((item,) for item in names)]:
        query = Query(render(QUERIES[name], {item: "x" if item in value else None for item in names}))
        assert set(optional_params(query)) == set(value)
        connection.execute(sql.SQL("PREPARE law AS ") + sql.SQL(to_positional(query)))
        connection.execute("DEALLOCATE law")


def test_condition_without_parameter_is_dropped() -> None:
    query = Queries(
        "some.sql", "-- name: a\nSELECT 1\nWHERE space_id = %(space_id)s\n  AND a = %(b)s  -- if b\nLIMIT 1"
    )["a"]
    for nothing in (None, False):
        assert render(query, {"b": nothing}) == "SELECT 1\nWHERE space_id = %(space_id)s\nLIMIT 1"
    somethings: tuple[object, ...] = (0, "", [], True)
    for sql_text in somethings:
        assert render(query, {"b": sql_text}) == query


def test_optional_parameter_is_separate_condition_line() -> None:
    for name, query in QUERIES.items():
        assert len(re.findall(r"-- if ", query)) == len(re.findall(r"^ *AND .*-- if \w+$", query, re.MULTILINE)), name


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("-- name: all_runs\nSELECT id FROM runs", "all_runs must use"),
        ("-- name: all_runs\nSELECT id FROM runs WHERE space_id = %(space)s", "all_runs must use"),
        ("-- name: all_runs\n-- across: everything\nSELECT id FROM runs", "all_runs must use"),
        ("-- fragment: runs\nFROM runs\n-- name: all_runs\nSELECT id {runs}", "all_runs must use"),
        ("-- name: a\nSELECT %(space_id)s\n-- name: a\nSELECT %(space_id)s", "two blocks are named a"),
        ("-- fragment: a\nx\n-- name: a\nSELECT %(space_id)s", "two blocks are named a"),
        ("-- name: a\nSELECT %(space_id)s {missing}", "there is no fragment missing"),
    ],
)
def test_sql_file_that_violates_rule_is_rejected(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Queries("some.sql", text)


def test_space_condition_in_fragment_or_stated_reason_is_accepted() -> None:
    loaded = Queries(
        "some.sql",
        "-- fragment: here\nWHERE space_id = %(space_id)s\n-- name: a\nSELECT 1 FROM runs {here}\n"
        "-- name: b\n-- across spaces: the law test\nSELECT 1;\n",
    )
    assert dict(loaded) == {
        "a": "SELECT 1 FROM runs WHERE space_id = %(space_id)s",
        "b": "-- across spaces: the law test\nSELECT 1",
    }


def test_every_query_across_spaces_states_its_reason() -> None:
    for name, query in QUERIES.items():
        for reason in re.findall(r"-- across spaces(.*)", query):
            assert re.match(r": \S+", reason), name


def blocks(source: str) -> dict[str, str]:
    """The blocks of a loaded file as they were written, fragments not yet included."""
    package, _, name = source.partition("/")
    parts = HEADING.split(files(package).joinpath(name).read_text(encoding="utf-8"))[1:]
    return dict(zip(parts[1::3], parts[2::3], strict=True))


LISTS = [
    (source, name)
    for source, queries in REGISTRY.items()
    for name, query in queries.items()
    if name.startswith("list_") and "%(limit)s" in query
]


def own_condition(text: str) -> str:
    """The WHERE of a block itself, with one name for its table, up to where ordering starts."""
    condition = re.split(r"\bWHERE\b", text, maxsplit=1)[1:]
    return re.sub(r"\b[a-z]\.", "", " ".join(" ".join(condition).split("ORDER BY")[0].split()))


@pytest.mark.parametrize(("source", "name"), LISTS)
def test_every_list_query_shares_conditions_with_its_count(source: str, name: str) -> None:
    of_file = blocks(source)
    count = of_file["count_" + name.removeprefix("list_").partition("_sorted")[0]]
    shared = set(INCLUDE.findall(of_file[name])) & set(INCLUDE.findall(count))
    if not any("WHERE" in of_file[fragment] for fragment in shared):
        assert own_condition(of_file[name]) == own_condition(count), "put the conditions into a fragment of both"


@pytest.mark.parametrize(("source", "name"), LISTS)
def test_every_list_query_orders_by_id_last(source: str, name: str) -> None:
    order = re.split(r"LIMIT|\n\)", REGISTRY[source][name].rpartition("ORDER BY")[2])[0].strip()
    assert re.search(r"\bid( DESC)?$", order), f"ordered by {order}: rows alike would change places between pages"
