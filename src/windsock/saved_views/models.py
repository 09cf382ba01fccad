"""API schemas of saved views."""

from datetime import datetime
from typing import Annotated
from urllib.parse import parse_qsl, urlencode
from uuid import UUID

from pydantic import AfterValidator, BaseModel, Field, StringConstraints

from windsock.http.validation import NOT_BLANK, RequestBody, StrictBool, check_storable
from windsock.spaces.models import Ref

PARAMETERS = (
    "q", "status", "criticality", "team_id", "owner", "tag", "connector_id", "provider", "watched_only", "is_paused",
    "has_import_errors", "overdue", "never_succeeded", "days", "sort",
)  # fmt: skip
"""Of the pipeline list, in the order of a saved query; a page number is not part of a view."""
MAX_NAME, MAX_QUERY = 100, 4_000
"""Characters of a name and of a query."""


def normalize_query(query: str) -> str:
    """Return the query string without what is no filter or order, always in the same order."""
    pairs = [(name, value) for name, value in parse_qsl(query) if name in PARAMETERS]
    return urlencode(sorted(pairs, key=lambda pair: PARAMETERS.index(pair[0])))


def check_query(query: str) -> str:
    """Return the normalized query. Raises ValueError for one that is too long, and for text that cannot be stored."""
    query = normalize_query(query)
    if len(query) > MAX_QUERY:
        raise ValueError("must not have more filters than a saved view can hold")
    check_storable("".join(value for _, value in parse_qsl(query)))
    return query


ViewName = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_NAME),
    Field(json_schema_extra={"pattern": NOT_BLANK}),
]
ViewQuery = Annotated[
    str,
    Field(
        max_length=MAX_QUERY,
        description="A query string of the pipeline list, such as `status=failed&sort=attention`; stored without "
        "parameters that are neither filter nor order.",
    ),
    AfterValidator(check_query),
]


class SavedView(BaseModel):
    id: UUID
    name: str
    query: Annotated[str, Field(description="Append it to the address of the pipeline list, behind a `?`.")]
    is_shared: Annotated[bool, Field(description="Whether all members of the space see it.")]
    is_own: Annotated[bool, Field(description="Whether it is the caller's.")]
    owner_id: UUID
    owner: Ref
    created_at: datetime
    updated_at: datetime


class SavedViewIn(RequestBody):
    name: ViewName
    query: ViewQuery = ""
    is_shared: StrictBool = False


class SavedViewUpdate(RequestBody):
    """Only what is sent changes."""

    name: ViewName | None = None
    query: ViewQuery | None = None
    is_shared: StrictBool | None = None
