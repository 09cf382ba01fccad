"""Names and first sentences of docstrings use standard terms: no private words."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
_PRIVATE = """
answer answered answers anybody anything asked asking asks began breath dear dots doubtful everything
explained given gives gone happenings hasty heard kept knobs knows latecomers learnt ledger lives looked looks
losses lump made mighty moment moments mortal nobody numbered patience question questions remembered riddle
said saying says sieve sift somebody something speech spoken straight strip strips tell telling tells tidy
told truth turns unlucky unwanted viewed vouch vouched vouches whoever whose witness witnesses world
"""
PRIVATE_WORDS = frozenset(_PRIVATE.split())
VAGUE_NAMES = frozenset({"one", "it", "them"})
STANDARD_NAMES = frozenset({"lookup", "look_up", "look_ahead", "connection_made"})
"""Names with a standard meaning; connection_made is a callback of asyncio.Protocol."""
VAGUE_OPENERS = re.compile(
    r"^(What|Who|Whoever|Whatever|Those|That which|How much|As \w+ (has|is)|Of (the|those|a|its|one)|Beside"
    r"|Where (it|there|one))\b"
)
VAGUE_PHRASES = re.compile(
    r"\b(of its own|by itself|as it stands|in place of|whoever|somebody|nobody|has heard|as ever|all the same"
    r"|by the name of|(is|are|was) (told|asked|kept|made of)|was made)\b",
    re.IGNORECASE,
)
SQL_BLOCK = re.compile(r"^-- (?:name|fragment):\s*(\w+)", re.MULTILINE)

MODULES = sorted(
    path
    for folder in ("src", "tests", "bench", "demo")
    for path in (ROOT / folder).rglob("*.py")
    if "dags" not in path.parts  # sample DAGs speak of their own business
)
SOURCE_MODULES = [path for path in MODULES if path.is_relative_to(ROOT / "src")]
SQL_FILES = sorted((ROOT / "src").rglob("*.sql"))


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def private_words(name: str) -> list[str]:
    """Return the private words in a snake_case or CamelCase name."""
    separated = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return [word for word in separated.lower().split("_") if word in PRIVATE_WORDS]


def defined_names(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id


def test_names_use_standard_terms() -> None:
    found = {}
    for path in MODULES:
        names = {path.stem, *defined_names(ast.parse(path.read_text()))} - STANDARD_NAMES
        if private := {name for name in names if name in VAGUE_NAMES or private_words(name)}:
            found[name_of(path)] = private
    assert not found


def test_docstrings_open_with_plain_sentences() -> None:
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    found = []
    for path in SOURCE_MODULES:
        nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, documented)]
        for docstring in filter(None, map(ast.get_docstring, nodes)):
            opening = docstring.split("\n\n")[0].replace("\n", " ")
            if VAGUE_OPENERS.search(opening) or VAGUE_PHRASES.search(opening):
                found.append(f"{name_of(path)}: {opening}")
    assert not found


def test_names_of_sql_blocks_use_standard_terms() -> None:
    blocks = [(name_of(path), name) for path in SQL_FILES for name in SQL_BLOCK.findall(path.read_text())]
    assert blocks
    assert not [block for block in blocks if private_words(block[1])]


def test_private_words_are_found_in_both_styles_of_names() -> None:
    assert private_words("what_was_asked") == ["asked"]
    assert private_words("KeptAnswer") == ["kept", "answer"]
    assert private_words("lookup_cache") == []
