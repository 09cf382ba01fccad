"""Ids, names and values at the limits of what Airflow admits, and the DAGs of tests/airflow/dags that have them."""

import random
from typing import Any

CATALOGUE, REPETITION = "目録", "反復"
"""With two mapped tasks; and, on Airflow 3.4 alone, with a loop around two."""
STRANGE_PREFIX = "strange "
_SUFFIXES = ("2026/11/23", "a//b", "x/taskInstances", "50% a?b#c;d", "a%2Fb", "grün 運行")
STRANGE = len(_SUFFIXES)


def strange_id(number: int) -> str:
    """Of a run: one of STRANGE kinds. Those with a slash have no address in Airflow's API."""
    return f"{STRANGE_PREFIX}{number} {_SUFFIXES[number % STRANGE]}"


def nested(levels: int) -> dict[str, Any]:
    value: Any = "the innermost"
    for _ in range(levels - 1):
        value = {"in": value}
    return {"in": value}


def depth_of(value: Any) -> int:
    """Levels of what `nested` has made."""
    depth = 0
    while isinstance(value, dict):
        value, depth = value.get("in"), depth + 1
    return depth


def cjk(length: int, seed: float = 0) -> str:
    """Text that cannot be compressed."""
    chooser = random.Random(seed)  # noqa: S311 - repeatable on purpose
    return "".join(chr(chooser.randrange(0x4E00, 0x9FA0)) for _ in range(length))
