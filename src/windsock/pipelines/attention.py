"""How many pipelines of a space need attention, by reason."""

from dataclasses import dataclass

from windsock.auth.authenticator import Space
from windsock.db.database import Reader, Statement
from windsock.db.queries import load
from windsock.pipelines.filters import FRAGMENTS, NO_FILTER
from windsock.pipelines.stats import StatsWindow
from windsock.pipelines.store import QUERIES as PIPELINES

QUERIES = load(__package__, "attention.sql", shared=FRAGMENTS)


@dataclass(frozen=True, slots=True)
class AttentionCounts:
    """Numbers of pipelines, each as the filter of the same name counts them."""

    total: int
    overdue: int
    never_succeeded: int


async def count_attention(reader: Reader, space: Space, window: StatsWindow) -> AttentionCounts:
    parameters = NO_FILTER.parameters(space)
    never_succeeded = {**parameters, "status": None, "never_succeeded": True, **window.parameters}
    (counts,), (without_success,) = await reader.fetch_batch(
        Statement(QUERIES["count_attention"], parameters),
        Statement(PIPELINES["count_pipelines"], never_succeeded),
    )
    return AttentionCounts(counts["total"], counts["overdue"], without_success["total"])
