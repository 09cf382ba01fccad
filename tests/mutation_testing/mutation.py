"""A mutation: one textual change that breaks the application in one way that matters."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Mutation:
    """`file`: below src/windsock; `old` occurs there exactly once."""

    what: str
    file: str
    old: str
    new: str

    def mutated(self, source: Path) -> str:
        """The file with the mutation."""
        text = (source / self.file).read_text(encoding="utf-8")
        if text.count(self.old) != 1:
            raise SystemExit(f"{self.file} has not exactly one place for: {self.what}")
        return text.replace(self.old, self.new)
