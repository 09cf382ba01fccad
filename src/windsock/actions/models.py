"""API schemas of triggers."""

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, Field, StringConstraints

from windsock.http.validation import AwareDatetime, RequestBody

LONGEST_NOTE = 600
"""Characters. Airflow keeps 1,000, and who triggered is written below."""


EARLIEST, LATEST = datetime(1969, 12, 31, tzinfo=UTC), datetime(2200, 1, 2, tzinfo=UTC)
"""Whatever the offset, a time of these years is within."""
YEARS = r"^(19[7-9][0-9]|20[0-9]{2}|21[0-9]{2})-"


def _within_reach(time: datetime | None) -> datetime | None:
    """Airflow reckons with the data interval around a logical date, and fails at the ends of the calendar."""
    if time is not None and not EARLIEST <= time < LATEST:
        raise ValueError("must be between 1970 and 2200")
    return time


def _with_years(schema: dict[str, Any]) -> None:
    """The years, for the time and not for null."""
    schema["anyOf"][0]["pattern"] = YEARS


class TriggerIn(RequestBody):
    conf: Annotated[
        dict[str, Any] | None,
        Field(description="Airflow checks it against the DAG's params.", examples=[{"country": "FR"}]),
    ] = None
    logical_date: Annotated[
        AwareDatetime | None,
        AfterValidator(_within_reach),
        Field(
            description="From 1970 to 2199. null: none on Airflow 3, now on Airflow 2. Two runs of a DAG cannot share "
            "one.",
            json_schema_extra=_with_years,
        ),
    ] = None
    note: Annotated[
        str | None,
        StringConstraints(strip_whitespace=True, max_length=LONGEST_NOTE),
        Field(description="Becomes the run's note in Airflow; who triggered it is written below."),
    ] = None
