"""Every module says what it is for, stays short, imports at its top, and belongs to no particular machine."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LONGEST = 300
"""Lines of a file, except the schema of Procrastinate, which stays as it was released."""

GENERIC_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "managers", "services", "misc"}
OF_A_MACHINE = re.compile(r"(?<![\w./:}-])/(?:root|work|tmp|home)/\w")
REGISTRY = re.compile(
    r"index[-_]url|(?:UV|PIP)_(?:DEFAULT_|EXTRA_)?INDEX|pypi[.]org|pythonhosted[.]org|artifact[o]ry|ne[x]us",
    re.IGNORECASE,
)


def files_of_the_project() -> list[Path]:
    """What git keeps or would keep."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


FILES = files_of_the_project()
CODE = [path for path in FILES if relative(path).startswith(("src/", "tests/", "demo/", "bench/"))]
MODULES = [path for path in FILES if path.suffix == ".py" and relative(path).startswith("src/windsock/")]
EVERY_MODULE = pytest.mark.parametrize("module", MODULES, ids=relative)


def functions(module: Path) -> Iterator[ast.AST]:
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield node


def test_parametrization_is_not_empty() -> None:
    assert len(MODULES) > 30
    assert len(CODE) > len(MODULES)


@EVERY_MODULE
def test_every_module_docstring_is_single_sentence(module: Path) -> None:
    opening = (ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or "").split("\n\n")[0]
    assert opening, "says nothing"
    assert opening.endswith("."), opening
    assert not re.search(r"[.!?] [A-Z]", opening), f"more than one sentence: {opening}"
    assert "\n" not in opening, f"longer than a line: {opening}"


@EVERY_MODULE
def test_every_module_imports_at_top_level_only(module: Path) -> None:
    for function in functions(module):
        inside = [node for node in ast.walk(function) if isinstance(node, ast.Import | ast.ImportFrom)]
        assert inside == [], f"line {inside[0].lineno}"


@EVERY_MODULE
def test_no_module_swallows_every_error(module: Path) -> None:
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ExceptHandler):
            caught = ast.unparse(node.type) if node.type else "BaseException"
            silent = all(isinstance(step, ast.Pass | ast.Continue | ast.Constant) for step in node.body)
            assert not (silent and re.search(r"\b(Base)?Exception\b", caught)), f"line {node.lineno}"
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("suppress"):
            assert not re.search(r"\b(Base)?Exception\b", ast.unparse(node)), f"line {node.lineno}"


@EVERY_MODULE
def test_no_module_has_generic_name(module: Path) -> None:
    assert not GENERIC_NAMES & {module.stem, *module.relative_to(ROOT).parts[:-1]}


def test_no_file_exceeds_line_limit() -> None:
    lengths = {
        relative(path): len(path.read_text(encoding="utf-8").splitlines())
        for path in CODE
        if path.suffix in {".py", ".sql", ".html", ".js", ".css"} and not path.name.endswith("_jobs.sql")
    }
    assert {name: length for name, length in lengths.items() if length > LONGEST} == {}


def test_repository_names_no_machine_or_private_registry() -> None:
    found = []
    for path in FILES:
        if path.name == "uv.lock" or b"\0" in path.read_bytes():
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if OF_A_MACHINE.search(line) or REGISTRY.search(line):
                found.append(f"{relative(path)}:{number}: {line.strip()}")
    assert found == []
