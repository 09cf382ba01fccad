"""Every outbound connection goes through the egress module; the import contract says so of libraries, this of calls."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "windsock"
FREE = {"egress", "client", "embedded"}
"""The policy's own module, the client of Windsock's API, and the unix sockets of the embedded PostgreSQL."""
MODULES = [path for path in SOURCE.rglob("*.py") if path.relative_to(SOURCE).parts[0] not in FREE]
CONNECTING_MODULES = {"http.client", "urllib.request", "ftplib", "smtplib", "telnetlib", "xmlrpc.client", "aiohttp"}
CONNECTING_CALLS = {
    "open_connection",
    "create_connection",
    "sock_connect",
    "AsyncClient",
    "urlopen",
    "AsyncHTTPTransport",
}


def imported(tree: ast.AST) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {str(node.module), *(f"{node.module}.{name.name}" for name in node.names)}
    return found


def called(tree: ast.AST) -> set[str]:
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return {call.attr if isinstance(call, ast.Attribute) else ast.unparse(call) for call in calls}


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_module_outside_egress_opens_no_connection(module: Path) -> None:
    tree = ast.parse(module.read_text(encoding="utf-8"))
    assert not imported(tree) & CONNECTING_MODULES
    assert not called(tree) & CONNECTING_CALLS


def test_parametrization_is_not_empty() -> None:
    assert len(MODULES) > 100
    assert "AsyncClient" in called(ast.parse((SOURCE / "egress" / "client.py").read_text(encoding="utf-8")))
