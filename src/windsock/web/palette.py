"""Results of the palette (Ctrl+K): pipelines, runs by id, pages and actions."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Response

from windsock.auth.authenticator import Space
from windsock.auth.permissions import PageView
from windsock.db.database import Statement
from windsock.db.queries import load
from windsock.http.responses import dump_json
from windsock.http.validation import StorableText
from windsock.pipelines.filters import FRAGMENTS, NO_FILTER, escape_like
from windsock.web.layout import NAVIGATION
from windsock.web.templates import HEADERS

QUERIES = load(__package__, "palette.sql", shared=FRAGMENTS)

MAX_PIPELINES, MAX_RUNS, MAX_TRIGGERS = 8, 5, 2
MIN_RUN_ID_CHARACTERS = 8
"""Of a run id; a shorter text finds no runs."""

router = APIRouter(include_in_schema=False, prefix="/spaces/{slug}/palette")


@router.get("")
async def search(space: PageView, q: Annotated[StorableText, Query(max_length=300)] = "") -> Response:
    """Groups of results as JSON. Every word of `q` must occur in the label; of pipelines also in owner, tag and id."""
    text = q.strip()
    pipelines, runs = await space.fetch_batch(
        Statement(QUERIES["find_pipelines"], _pipeline_parameters(space, text)),
        Statement(QUERIES["find_runs"], {"space_id": space.id, **_run_parameters(text)}),
    )
    base = f"/spaces/{space.slug}"
    triggers = [
        {"label": f"Trigger {row['name']}", "url": f"{base}/pipelines/{row['id']}/trigger"}
        for row in pipelines[:MAX_TRIGGERS]
        if space.role != "viewer" and row["is_active"]
    ]
    groups = {
        "Pipelines": [
            {"label": row["name"], "detail": row["connector_name"], "url": f"{base}/pipelines/{row['id']}"}
            for row in pipelines
        ],
        "Runs": [
            {"label": row["external_id"], "detail": row["pipeline_name"], "url": f"{base}/runs/{row['id']}"}
            for row in runs
        ],
        "Pages": _matching(_pages(space), text),
        "Actions": triggers + _matching(_actions(space), text),
    }
    found = [{"label": label, "items": items} for label, items in groups.items() if items]
    return Response(dump_json(found), headers=HEADERS, media_type="application/json")


def _pipeline_parameters(space: Space, text: str) -> dict[str, Any]:
    filters = NO_FILTER.parameters(space)
    words = "\n".join(f"%{escape_like(word)}%" for word in text.split())
    return {
        **filters,
        "words": words or None,
        "prefix": f"{escape_like(text.lower())}%",
        "limit": MAX_PIPELINES if text else 0,
    }


def _run_parameters(text: str) -> dict[str, Any]:
    try:
        run_id = UUID(text)
    except ValueError:
        run_id = None
    is_long_enough = run_id is not None or len(text) >= MIN_RUN_ID_CHARACTERS
    return {"run_id": run_id, "external_id": text, "limit": MAX_RUNS if is_long_enough else 0}


def _pages(space: Space) -> list[dict[str, str]]:
    """Pages of the space that the user may see, then those of the account."""
    base = f"/spaces/{space.slug}"
    pages = [{"label": label, "url": f"{base}{path}"} for path, label in NAVIGATION]
    if space.role == "admin":
        pages.append({"label": "Audit log", "url": f"{base}/audit"})
    pages += [{"label": label, "url": f"{base}/{label.lower()}"} for label in ("Fingerprints", "Members", "Teams")]
    if space.caller.is_superadmin:
        pages += [{"label": "All spaces", "url": "/spaces"}, {"label": "Users", "url": "/users"}]
    account = {"API keys": "/api-keys", "Sessions": "/sessions", "API reference": "/api/v1.0/docs"}
    return pages + [{"label": label, "url": url} for label, url in account.items()]


def _actions(space: Space) -> list[dict[str, str]]:
    base = f"/spaces/{space.slug}"
    connect = [{"label": "Connect an Airflow", "url": f"{base}/connectors/new"}] if space.role != "viewer" else []
    return [*connect, {"label": "Create an API key", "url": "/api-keys#new-key"}]


def _matching(entries: list[dict[str, str]], text: str) -> list[dict[str, str]]:
    words = text.lower().split()
    return [entry for entry in entries if all(word in entry["label"].lower() for word in words)]
