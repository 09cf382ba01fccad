"""Named queries from .sql files; a query that neither names the space nor says why not cannot be loaded."""

import functools
import re
from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import LiteralString, NewType, cast

Query = NewType("Query", str)

HEADING = re.compile(r"^-- (name|fragment): (\w+)[ \t]*$", re.MULTILINE)
CONDITION = re.compile(r"^[ \t]*AND .*-- if (\w+)[ \t]*(?:\n|\Z)", re.MULTILINE)
INCLUDE = re.compile(r"\{(\w+)\}")
SPACE = "%(space_id)s"
ACROSS = "-- across spaces"

REGISTRY: dict[str, "Queries"] = {}
"""Every file loaded so far, so that the tests can walk all queries."""


class Queries(Mapping[str, Query]):
    """The blocks of one .sql file.

    A block starts with `-- name: some_query`. A `-- fragment: some_part` is text that `{some_part}` includes, so that a
    list and its count share one WHERE. Each query contains %(space_id)s, or `-- across spaces` and the reason. A line
    that ends in `-- if some_parameter` is a condition that applies only if the parameter is set: see `render`.
    """

    def __init__(self, source: str, text: str) -> None:
        self.source = source
        parts = HEADING.split(text)[1:]
        fragments: dict[str, str] = {}
        queries: dict[str, str] = {}
        for kind, name, body in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
            if name in fragments or name in queries:
                raise ValueError(f"{source}: two blocks are named {name}")
            (fragments if kind == "fragment" else queries)[name] = body.strip().removesuffix(";")
        self._queries = {name: Query(self._with_fragments(body, fragments)) for name, body in queries.items()}
        for name, query in self._queries.items():
            if SPACE not in query and ACROSS not in query:
                raise ValueError(f"{source}: {name} must use {SPACE}, or say {ACROSS!r} and why")

    def _with_fragments(self, body: str, fragments: Mapping[str, str]) -> str:
        def include(match: re.Match[str]) -> str:
            if match[1] not in fragments:
                raise ValueError(f"{self.source}: there is no fragment {match[1]}")
            return self._with_fragments(fragments[match[1]], fragments)

        return INCLUDE.sub(include, body)

    def __getitem__(self, name: str) -> Query:
        return self._queries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._queries)

    def __len__(self) -> int:
        return len(self._queries)


def read_fragments(package: str, name: str) -> str:
    """A file of fragments that queries of several features include."""
    return files(package).joinpath(name).read_text(encoding="utf-8")


def load(package: str, name: str, *, shared: str = "") -> Queries:
    """The queries of `name` (a .sql file) in `package`, which may include the fragments of `shared`."""
    source = f"{package}/{name}"
    REGISTRY[source] = Queries(source, f"{shared}\n{read_fragments(package, name)}")
    return REGISTRY[source]


@functools.lru_cache(maxsize=1_000)
def optional_params(query: Query) -> tuple[str, ...]:
    """The parameters of conditions that apply only if they are set."""
    return tuple(dict.fromkeys(CONDITION.findall(query)))


def render(query: Query, parameters: Mapping[str, object]) -> LiteralString:
    """The statement without the conditions whose parameter is None or False.

    Each combination of filters is a statement with a plan of its own; a generic plan of `%(x)s IS NULL OR …` would use
    no index.
    """
    missing = [name for name in optional_params(query) if (value := parameters[name]) is None or value is False]
    return as_literal(drop_conditions(query, frozenset(missing)) if missing else query)


@functools.lru_cache(maxsize=1_000)
def drop_conditions(query: Query, missing: frozenset[str]) -> Query:
    return Query(CONDITION.sub(lambda line: "" if line[1] in missing else line[0], query))


def as_literal(query: Query) -> LiteralString:
    """Mark text as a literal for psycopg, which prevents SQL built from data; our files are as safe as literals."""
    return cast("LiteralString", query)
