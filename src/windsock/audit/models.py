"""API schemas of the audit log."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field
from typing_extensions import TypeAliasType

from windsock.spaces.models import Ref

AuditAction = TypeAliasType("AuditAction", Literal["created", "changed", "deleted"])
TargetType = TypeAliasType(
    "TargetType",
    Literal[
        "space", "member", "team", "team_member", "connector", "pipeline", "watch", "comment", "sync", "trigger",
        "action", "api_key", "hold", "user", "login_link", "saved_view", "fingerprint", "bulk_clear",
        "channel", "notification_rule", "message", "incident",
    ],
)  # fmt: skip


class AuditEvent(BaseModel):
    id: UUID
    created_at: datetime
    action: AuditAction
    target_type: TargetType
    target_id: Annotated[
        UUID | None,
        Field(
            description="Of a member or login_link the user's id, of a team_member the team's, of a watch the "
            "pipeline's, of a hold the connector's."
        ),
    ]
    target_name: str | None
    actor_id: Annotated[
        UUID | None, Field(description="Null: a command on Windsock's own machine, or a person who is gone.")
    ]
    actor: Annotated[Ref | None, Field(description="With the name of then.")]
    api_key_id: Annotated[UUID | None, Field(description="The key with which it was done.")]
    before: Annotated[
        dict[str, Any] | None, Field(description="What changed, as it was; null when it was not there. Never a secret.")
    ]
    after: Annotated[
        dict[str, Any] | None, Field(description="The same as it became; credentials are only said to be written.")
    ]
    request_id: Annotated[str | None, Field(description="The X-Request-ID of the request that did it.")]
