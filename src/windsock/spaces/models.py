"""API schemas of users, keys, spaces and members."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, Field, StringConstraints
from typing_extensions import TypeAliasType

from windsock.http.validation import WHOLE, Name, RequestBody, StrictBool

Email = Annotated[
    str,
    StringConstraints(strip_whitespace=True, to_lower=True, max_length=320, pattern=r"^[^@\s\x00]+@[^@\s\x00]+$"),
]
Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
Role = TypeAliasType("Role", Literal["viewer", "editor", "admin"])


class Ref(BaseModel):
    """A thing beside its `…_id`."""

    id: UUID
    name: str


class SpaceOut(BaseModel):
    id: UUID
    slug: str
    name: str
    retention_days: Annotated[int | None, Field(description="Runs older than this are deleted here; null keeps them.")]
    requires_reason: Annotated[
        bool, Field(description="Whether actions on pipelines of high or critical criticality need a reason.")
    ]
    created_at: datetime
    updated_at: datetime


class SpaceIn(RequestBody):
    slug: Slug
    name: Name


class SpaceUpdate(RequestBody):
    """Only what is sent changes."""

    name: Name | None = None
    retention_days: Annotated[
        Annotated[int, Field(ge=1, le=36_500), WHOLE] | None,
        Field(
            description="Runs older than this are deleted here, with their task runs and comments; null keeps them.",
        ),
    ] = None
    requires_reason: Annotated[
        StrictBool | None,
        Field(description="Whether actions on pipelines of high or critical criticality need a reason."),
    ] = None


class CallerSpace(BaseModel):
    id: UUID
    name: str
    slug: str
    role: Role


class Member(BaseModel):
    user_id: UUID
    email: str
    name: str
    role: Role
    created_at: datetime
    is_active: Annotated[bool, Field(description="False: deactivated by a superadmin; may not sign in.")]


class MemberUpdate(RequestBody):
    role: Role


class Me(BaseModel):
    id: UUID
    email: str
    name: str
    is_superadmin: bool
    spaces: list[CallerSpace]


class User(BaseModel):
    id: UUID
    email: str
    name: str
    is_superadmin: bool
    is_active: bool
    created_at: datetime


class UserIn(RequestBody):
    email: Email
    name: Name
    is_superadmin: StrictBool = False


class UserUpdate(RequestBody):
    """Only what is sent changes."""

    name: Name | None = None
    is_superadmin: StrictBool | None = None
    is_active: Annotated[
        StrictBool | None,
        Field(description="false: the user may not sign in any more; ends their sessions and revokes their API keys."),
    ] = None


class ApiKey(BaseModel):
    id: UUID
    name: str
    key_prefix: Annotated[str, Field(description="The first characters, to tell keys apart.")]
    expires_at: datetime | None
    last_used_at: Annotated[datetime | None, Field(description="Kept to the minute.")]
    created_at: datetime


class NewApiKey(ApiKey):
    full_key: Annotated[str, Field(description="Shown this once; only its SHA-256 is stored.")]


class ApiKeyIn(RequestBody):
    name: Name
    expires_in_days: Annotated[int, Field(ge=1, le=3650), WHOLE] | None = None


class Team(BaseModel):
    id: UUID
    name: str
    contact: Annotated[str | None, Field(description="How to reach the team: an e-mail address, a URL or free text.")]
    member_count: int
    created_at: datetime
    updated_at: datetime


class TeamMember(BaseModel):
    user_id: UUID
    email: str
    name: str


class TeamDetail(Team):
    members: list[TeamMember]


Contact = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=300)]


class TeamInput(RequestBody):
    name: Name
    contact: Contact | None = None


class TeamUpdate(RequestBody):
    """Only what is sent changes."""

    name: Name | None = None
    contact: Annotated[Contact | None, Field(description="null removes it.")] = None
