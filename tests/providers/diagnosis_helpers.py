"""Tests of connections against scripted Airflows."""

import asyncio
from typing import TYPE_CHECKING, Any

from windsock import egress
from windsock.providers.airflow import AirflowConfig, Credentials, Diagnosis, TokenCache, diagnose

if TYPE_CHECKING:
    from providers.conftest import Lab, Reply, Request, Script

LISTS = {
    "dagRuns": "dag_runs",
    "taskInstances": "task_instances",
    "eventLogs": "event_logs",
    "importErrors": "import_errors",
}
HTML = b"<html>Airflow 404</html>"


async def trying(config: AirflowConfig, credentials: Credentials, **more: Any) -> Diagnosis:
    policy = egress.Policy.of(loopback=True)
    return await diagnose(config, credentials, policy=policy, tokens=TokenCache(), key="test", **more)


def diagnosing(lab: "Lab", script: "Script", kind: str = "api_token", **config: Any) -> tuple[Diagnosis, list[str]]:
    scripted = lab.Server(script)

    async def run() -> Diagnosis:
        async with scripted.serving():
            path = config.pop("path", "")
            found = AirflowConfig.model_validate({"base_url": scripted.base_url + path, **config})
            return await trying(found, lab.credentials(kind))

    return asyncio.run(run()), scripted.paths


def airflow_of(lab: "Lab", api: str, **replies: "Reply") -> "Script":
    """An Airflow with one of the two APIs; `replies` take the place of answers, by the last word of the path."""

    def script(request: "Request") -> "Reply":  # noqa: PLR0911 - a table of paths
        word = request.path.rsplit("/", 1)[-1]
        if request.path == "/auth/token":
            return replies.get("token", lab.Reply({"access_token": "jwt"}, status=201))
        if not request.path.startswith(f"/api/{api}/"):
            if api == "v2":
                return lab.Reply({"error": "/api/v1 has been removed in Airflow 3, please use …"}, status=404)
            return lab.Reply(HTML, status=404, content_type="text/html; charset=utf-8")
        if word in replies:
            return replies[word]
        if word == "dags":
            return lab.page("dags", lab.dags(3), request)
        if word in LISTS:
            return lab.page(LISTS[word], [], request)
        return lab.Reply(lab.sample(f"{api}_{word}"))

    return script
