"""Which pipelines are meant: the parameters that lists of pipelines and of their runs share, and their WHERE."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import Depends, Query
from typing_extensions import TypeAliasType

from windsock.auth.authenticator import Space
from windsock.db.queries import read_fragments
from windsock.http.validation import StorableText

FRAGMENTS = read_fragments(__package__, "filters.sql")
"""For `load(…, shared=FRAGMENTS)`; `{matching_pipelines}` expects the pipelines as p."""

Criticality = TypeAliasType("Criticality", Literal["low", "medium", "high", "critical"])


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineFilter:
    """Each condition given must hold; of the values of one, any may."""

    provider: list[str] | None
    owner: list[str] | None
    tag: list[str] | None
    criticality: list[Criticality] | None
    team_id: list[UUID] | None
    connector_id: list[UUID] | None
    q: str | None
    watched_only: bool
    is_paused: bool | None = None
    has_import_errors: bool | None = None
    overdue: bool = False
    """Airflow still announced a start in the past when its DAGs were last read, two minutes later or more."""

    def parameters(self, space: Space) -> dict[str, Any]:
        """Parameters of the fragment `{matching_pipelines}`."""
        return {
            "space_id": space.id,
            "user_id": space.caller.id,
            "provider": self.provider,
            "owner": self.owner,
            "tag": self.tag,
            "criticality": self.criticality,
            "team_id": self.team_id,
            "connector_id": self.connector_id,
            "words": "\n".join(f"%{escape_like(word)}%" for word in self.q.split())
            if self.q and self.q.strip()
            else None,
            "watched_only": self.watched_only,
            "is_paused": _flag(self.is_paused),
            "has_import_errors": _flag(self.has_import_errors),
            "overdue": self.overdue,
        }


def _flag(value: bool | None) -> str | None:  # noqa: FBT001 - a value, not an option
    """As text: a condition is left out where its parameter is False."""
    return None if value is None else str(value).lower()


NO_FILTER = PipelineFilter(
    provider=None, owner=None, tag=None, criticality=None, team_id=None, connector_id=None, q=None, watched_only=False
)


async def _pipeline_filter(
    provider: Annotated[list[Literal["airflow"]] | None, Query(description="Several mean any of them.")] = None,
    owner: Annotated[
        list[StorableText] | None,
        Query(description="The provider's whole owner string, or one of its comma-separated owners."),
    ] = None,
    tag: Annotated[list[StorableText] | None, Query(description="Several mean any of them.")] = None,
    criticality: Annotated[list[Criticality] | None, Query(description="Several mean any of them.")] = None,
    team_id: Annotated[list[UUID] | None, Query(description="The owning team. Several mean any of them.")] = None,
    connector_id: Annotated[
        list[UUID] | None, Query(description="The connector that synced it. Several mean any of them.")
    ] = None,
    q: Annotated[
        StorableText | None,
        Query(max_length=500, description="Every word must occur in name, id, description, owner or a tag."),
    ] = None,
    watched_only: Annotated[bool, Query(description="Only pipelines that the caller watches.")] = False,  # noqa: FBT002 - a query parameter
    is_paused: Annotated[bool | None, Query(description="Only pipelines that are, or are not, paused.")] = None,
    has_import_errors: Annotated[
        bool | None, Query(description="Only pipelines whose DAG file has, or has no, import error.")
    ] = None,
    overdue: Annotated[  # noqa: FBT002 - a query parameter
        bool,
        Query(
            description="Only pipelines whose next run was due two minutes before Airflow's DAGs were last read, or "
            "earlier, and had not started; paused and draining ones are not overdue."
        ),
    ] = False,
) -> PipelineFilter:
    return PipelineFilter(
        provider=list(provider) if provider else None,
        owner=owner,
        tag=tag,
        criticality=criticality,
        team_id=team_id,
        connector_id=connector_id,
        q=q,
        watched_only=watched_only,
        is_paused=is_paused,
        has_import_errors=has_import_errors,
        overdue=overdue,
    )


PipelineFilterQuery = Annotated[PipelineFilter, Depends(_pipeline_filter)]


def escape_like(word: str) -> str:
    """Escape the wildcards of LIKE, so that user input matches literally."""
    return word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
