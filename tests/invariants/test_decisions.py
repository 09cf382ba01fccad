"""docs/decisions: one page each, the same sections, listed in the index; references to them exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "decisions"
DECISIONS = sorted(FOLDER.glob("[0-9]*.md"))
SECTIONS = ["Status", "Context", "Decision", "Consequences", "Violated when", "Alternatives"]
MAX_LINES, MAX_DECISIONS = 70, 21
REFERENCE = re.compile(r"docs/decisions/(\d{4}[a-z0-9-]*)")


@pytest.mark.parametrize("path", DECISIONS, ids=lambda path: path.stem)
def test_decision_has_every_section_and_fits_on_a_page(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == SECTIONS
    assert len(text.splitlines()) <= MAX_LINES


def test_index_lists_consecutive_decisions_by_title() -> None:
    assert len(DECISIONS) <= MAX_DECISIONS
    assert [path.name[:4] for path in DECISIONS] == [f"{number + 1:04}" for number in range(len(DECISIONS))]
    titles = {path.name: path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ") for path in DECISIONS}
    index = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"^- \[(.+)\]\((\S+)\)$", index, re.MULTILINE) == [
        (title, name) for name, title in titles.items()
    ]
    assert all(title.startswith(f"{name[:4]} ") for name, title in titles.items())


@pytest.mark.parametrize("folder", ["src", "tests", "bench", "demo"])
def test_reference_to_a_decision_exists(folder: str) -> None:
    for path in (ROOT / folder).rglob("*"):
        if path.suffix in {".py", ".sql"}:
            for name in REFERENCE.findall(path.read_text(encoding="utf-8")):
                assert list(FOLDER.glob(f"{name.rstrip('-')}*.md")), f"{path}: {name}"
