"""Reads where in a task loop or in a mapped expansion a task instance of Airflow 3.4 stands.

Measured on 3.4.0b2: the expansion of any mapped task is a region, from its placeholder on (`region_index` -1). Keys
are left out of the JSON where there is no region: of plain tasks, and of runs that an older Airflow had started.
"""

from typing import NamedTuple
from uuid import UUID

from windsock.errors import ProviderBadResponse
from windsock.providers.airflow.fields import MAX_INTEGER, Fields
from windsock.providers.airflow.parsing import mapping, parse_int, text
from windsock.providers.scopes import NO_REGION, NO_REGION_INDEX


class Region(NamedTuple):
    region_id: str
    region_index: int


class Loop(NamedTuple):
    loop_id: str | None
    iteration: int | None


def region_of(fields: Fields) -> Region:
    """A part of what identifies the row, so that one that cannot be read raises."""
    value = fields.get("region_id")
    if value is None:
        return Region(NO_REGION, NO_REGION_INDEX)
    try:
        region_id = str(UUID(value))
    except (ValueError, TypeError, AttributeError):
        raise ProviderBadResponse("Airflow gave a task instance with a region_id that is not a UUID.") from None
    return Region(region_id, fields.index("region_index", NO_REGION_INDEX))


def loop_of(fields: Fields) -> Loop:
    """The loop around the task; nothing where there is none, or where its definition is gone."""
    loop = mapping(fields.get("loop_iteration"))
    loop_id = text(loop.get("loop_id"))
    if loop_id is None:
        return Loop(None, None)
    iteration = parse_int(loop.get("iteration"), -1)
    return Loop(loop_id, iteration if 0 <= iteration <= MAX_INTEGER else None)
