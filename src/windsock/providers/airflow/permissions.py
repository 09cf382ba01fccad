"""Which permission a request takes, in the words of Airflow's own page of roles."""

from collections.abc import Mapping

_READS: Mapping[str, tuple[str, tuple[str, ...], str]] = {
    "/importErrors": ("read import errors", ("ImportError",), "Viewer"),
    "/eventLogs": ("read the audit log", ("DAGs", "Audit Logs"), "Admin; Viewer with the simple auth manager"),
    "/taskInstances": ("read task instances", ("DAGs", "DAG Runs", "Task Instances"), "Viewer"),
    "/dagRuns": ("read DAG runs", ("DAGs", "DAG Runs"), "Viewer"),
    "/tasks": ("read the tasks of a DAG", ("DAGs", "Task Instances"), "Viewer"),
    "/dags": ("read DAGs", ("DAGs",), "Viewer"),
}
"""By a part of the path, the first that it contains: the operation, what has to be readable, the role that has it."""


def permission_hint(method: str, path: str) -> str | None:
    """Return the missing permission for a 403; None for a path without one."""
    if method == "POST":
        if not path.endswith("/dagRuns"):
            return None
        return "To trigger runs the account needs can edit on DAGs and can create on DAG Runs (role User)."
    for part, (operation, resources, role) in _READS.items():
        if part in path:
            needs = ", ".join(f"can read on {resource}" for resource in resources)
            return f"To {operation} the account needs the permissions {needs} (role {role})."
    return None
