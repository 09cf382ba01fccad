"""API schemas of comments."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, Field, StringConstraints

from windsock.http.validation import NOT_BLANK, RequestBody
from windsock.spaces.models import Ref

Content = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=10_000),
    Field(json_schema_extra={"pattern": NOT_BLANK}),
]


class Comment(BaseModel):
    id: UUID
    content: str
    resource_type: Literal["pipeline_run", "task_run"]
    resource_id: UUID
    author_id: Annotated[UUID | None, Field(description="Null when the author's account is gone.")]
    author: Ref | None
    parent_id: Annotated[UUID | None, Field(description="The comment it replies to; null when that was deleted.")]
    is_edited: bool
    created_at: datetime
    updated_at: datetime


class CommentIn(RequestBody):
    content: Content
    parent_id: Annotated[UUID | None, Field(description="Of a comment on the same run or task run.")] = None


class CommentUpdate(RequestBody):
    content: Content
