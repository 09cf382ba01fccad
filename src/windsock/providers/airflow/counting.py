"""How many rows a list has, without reading it."""

from windsock.errors import ProviderNonsense
from windsock.providers.airflow.listing import Ask, Question


async def count(ask: Ask, question: Question) -> int:
    body = (await ask(question.path, question.params)).body
    total = body.get("total_entries") if isinstance(body, dict) else None
    if isinstance(total, bool) or not isinstance(total, int) or total < 0:
        raise ProviderNonsense(f"The answer to GET {question.path} does not say how many there are.")
    return total
