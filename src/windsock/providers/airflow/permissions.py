"""Which permission a request takes, in the words of Airflow's own page of roles."""

from collections.abc import Mapping

_READS: Mapping[str, tuple[str, tuple[str, ...], str]] = {
    "/importErrors": ("read import errors", ("ImportError",), "Viewer"),
    "/eventLogs": ("read the audit log", ("DAGs", "Audit Logs"), "Admin; Viewer with the simple auth manager"),
    "/logs/": ("read task logs", ("DAGs", "DAG Runs", "Task Instances", "Task Logs"), "Viewer"),
    "/taskInstances": ("read task instances", ("DAGs", "DAG Runs", "Task Instances"), "Viewer"),
    "/dagRuns": ("read DAG runs", ("DAGs", "DAG Runs"), "Viewer"),
    "/tasks": ("read the tasks of a DAG", ("DAGs", "Task Instances"), "Viewer"),
    "/dags": ("read DAGs", ("DAGs",), "Viewer"),
}
"""By a part of the path, the first that it contains: the operation, what has to be readable, the role that has it."""

_WRITES: Mapping[str, str] = {
    "/hitlDetails": "To answer tasks the account needs can edit on DAGs and can edit on HITL Detail (role User).",
    "/clearTaskInstances": "To clear tasks the account needs can edit on DAGs and can edit on Task Instances"
    " (role User).",
    "/taskInstances/": "To change task instances the account needs can edit on DAGs and can edit on Task Instances"
    " (role User).",
    "/dagRuns/": "To change runs the account needs can edit on DAGs and can edit on DAG Runs (role User).",
    "/dagRuns": "To trigger runs the account needs can edit on DAGs and can create on DAG Runs (role User).",
    "/dags/": "To pause a DAG the account needs can edit on DAGs (role User).",
}
"""By a part of the path, the first that it contains."""


def permission_hint(method: str, path: str) -> str | None:
    """Return the missing permission for a 403; None for a path without one."""
    if method != "GET":
        return next((sentence for part, sentence in _WRITES.items() if part in path), None)
    for part, (operation, resources, role) in _READS.items():
        if part in path:
            needs = ", ".join(f"can read on {resource}" for resource in resources)
            return f"To {operation} the account needs the permissions {needs} (role {role})."
    return None
