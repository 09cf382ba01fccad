"""Each mutation has its place in the sources, exactly once: a mutation that changes nothing would prove nothing."""

from pathlib import Path

import pytest

import notifications.mutations
import sync.mutations
import windsock
from mutation_testing.mutation import Mutation


@pytest.mark.parametrize(
    "mutation", sync.mutations.MUTATIONS + notifications.mutations.MUTATIONS, ids=lambda mutation: mutation.what
)
def test_mutation_changes_one_place(mutation: Mutation) -> None:
    source = Path(windsock.__file__).parent
    text = (source / mutation.file).read_text(encoding="utf-8")
    assert text.count(mutation.old) == 1
    assert mutation.old != mutation.new
