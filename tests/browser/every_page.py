"""Addresses of all pages, as a superadmin sees them."""

from browser.conftest import Visitor

NO_PAGES = {
    "/spaces/{slug}/pipelines.csv",
    "/spaces/{slug}/runs.csv",
    "/spaces/{slug}/pipelines/values",
    "/spaces/{slug}/runs/{run_id}/tasks",
    "/spaces/{slug}/runs/{run_id}/comments",
    "/spaces/{slug}/runs/{run_id}/errors",
    "/spaces/{slug}/task-runs/{task_run_id}/log/lines",
    "/spaces/{slug}/palette",
    "/static/{name}",
}
"""Files, and parts of pages that scripts ask for."""
WITHOUT_SESSION = {"/sign-in", "/sign-in/link", "/unsubscribe/{token}"}


def every_page(visitor: Visitor) -> list[str]:
    """All pages that need a session."""
    tenants = visitor.live.tenants
    finance = tenants.finance
    some, connector = f"/pipelines/{finance.pipelines['daily_report']}", f"/connectors/{finance.connector_id}"
    of_team, run = f"/pipelines/{finance.pipelines['hourly_load']}", f"/runs/{finance.run_id}"
    of_space = (
        "", "/runs", "/runs?status=failed&period=30d", "/runs?status=nothing", "/pipelines",
        "/pipelines?sort=attention", "/pipelines?q=nothing", "/timeline", "/timeline?hours=168", some, of_team,
        f"{some}/trigger", run, f"{run}/params", f"{run}/note", "/connectors", "/connectors/new", connector,
        f"{connector}/edit",
        f"/task-runs/{finance.task_run_id}/log", "/import-errors", "/settings", "/members", "/teams",
        f"/teams/{finance.team_id}", "/audit", "/notifications", "/notifications/messages",
        f"/notifications/channels/{finance.channel_id}", "/notifications/channels/new?kind=webhook",
        f"/notifications/rules/{finance.rule_id}", "/notifications/rules/new",
        f"/notifications/why/{finance.incident_id}",
        "/approvals", "/fingerprints", f"/fingerprints/{finance.fingerprint_id}",
        f"/fingerprints/{finance.fingerprint_id}/clear/{finance.bulk_clear_id}",
        "/inbox", "/inbox?state=resolved", f"/incidents/{finance.incident_id}",
    )  # fmt: skip
    others = ("/", "/sessions", "/notifications", "/api-keys", "/spaces", "/users", f"/users/{tenants.users['viewer']}")
    return [f"{visitor.live.url}{path}" for path in (*(f"/spaces/finance{item}" for item in of_space), *others)]
