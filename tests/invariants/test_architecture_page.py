"""docs/architecture.md: every step names a file and a function that exist, and walks stay short."""

import ast
import re
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
STEPS = re.findall(r"^\| ([A-Z])(\d+) \| [^|]+ \| `([^`]+)` \| (?:`([^`]+)`)? ?\|$", PAGE, re.MULTILINE)
MAX_FILES = {"R": 10, "T": 10, "P": 10, "S": 12}


def names_in(path: Path) -> set[str]:
    """Functions and methods of a module, or the queries of an SQL file."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".sql":
        return set(re.findall(r"^-- name: (\w+)", text, re.MULTILINE))
    found = set()
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.ClassDef):
            functions = (part for part in node.body if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef))
            found |= {f"{node.name}.{function.name}" for function in functions}
    return found


@pytest.mark.parametrize(("walk", "number", "file", "name"), STEPS, ids=lambda part: part or "-")
def test_walk_step_names_existing_file_and_function(walk: str, number: str, file: str, name: str) -> None:
    path = ROOT / "src" / "windsock" / file
    assert path.is_file(), f"{walk}{number}"
    assert not name or name in names_in(path), f"{walk}{number}"


def test_walk_step_numbers_are_consecutive_and_files_within_limit() -> None:
    files: dict[str, set[str]] = defaultdict(set)
    numbers: dict[str, list[int]] = defaultdict(list)
    for walk, number, file, _ in STEPS:
        files[walk].add(file)
        numbers[walk].append(int(number))
    assert set(files) == set(MAX_FILES)
    for walk, most in MAX_FILES.items():
        assert len(files[walk]) <= most, walk
        assert numbers[walk] == list(range(1, len(numbers[walk]) + 1)), walk


@pytest.mark.parametrize(("walk", "diagram"), [("R", "request.svg"), ("S", "sync-pass.svg")])
def test_diagram_shows_every_step(walk: str, diagram: str) -> None:
    drawn = set(re.findall(rf"\b{walk}\d+\b", (ROOT / "docs" / "diagrams" / diagram).read_text(encoding="utf-8")))
    assert drawn == {f"{walk}{number}" for letter, number, _, _ in STEPS if letter == walk}
