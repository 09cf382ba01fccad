"""Uses the client that openapi-python-client makes of the document, in a process of its own; prints what it got."""

import json
import os
from typing import Any
from uuid import UUID

from windsock_generated import AuthenticatedClient
from windsock_generated.api.comments import create_run_comment
from windsock_generated.api.connectors import create_connector, list_connectors
from windsock_generated.api.pipelines import get_pipeline, list_pipelines, trigger_pipeline, update_pipeline_criticality
from windsock_generated.api.runs import get_run, list_runs
from windsock_generated.api.spaces import list_members
from windsock_generated.models import (
    AirflowConfig,
    AirflowConnectorIn,
    CommentIn,
    Criticality,
    CriticalityChange,
    Error,
    ListPipelinesSort,
    OtherConnectorIn,
    OtherConnectorInConfig,
    PasswordCredentials,
    Role,
    TriggerIn,
    TriggerInConfType0,
)


def main() -> None:
    client = AuthenticatedClient(base_url=os.environ["URL"], token=os.environ["KEY"])
    pipelines: Any = list_pipelines.sync(
        "finance", client=client, criticality=[Criticality.MEDIUM], sort=ListPipelinesSort("name"), size=2
    )
    first = pipelines[0]
    changed: Any = update_pipeline_criticality.sync(
        "finance", first.id, client=client, body=CriticalityChange(criticality=Criticality.HIGH)
    )
    again: Any = get_pipeline.sync("finance", first.id, client=client, days=30)
    runs: Any = list_runs.sync("finance", client=client, status=["failed"], criticality=[Criticality.HIGH])
    run: Any = get_run.sync("finance", runs[0].id, client=client)
    comment: Any = create_run_comment.sync("finance", run.id, client=client, body=CommentIn(content="typed"))
    started: Any = trigger_pipeline.sync(
        "finance", first.id, client=client, body=TriggerIn(conf=TriggerInConfType0.from_dict({"a": 1}))
    )
    airflow: Any = create_connector.sync(
        "finance", client=client,
        body=AirflowConnectorIn(
            name="generated in Python", connector_type="airflow",
            config=AirflowConfig(base_url="http://127.0.0.1:9", history_days=7),
            credentials=PasswordCredentials(auth_type="password", username="a", password="b"),
        ),
    )  # fmt: skip
    other: Any = create_connector.sync(
        "finance", client=client,
        body=OtherConnectorIn(
            name="other in Python", connector_type="dbt", config=OtherConnectorInConfig.from_dict({"any": [1]})
        ),
    )  # fmt: skip
    listed: Any = list_connectors.sync("finance", client=client, size=100)
    members: Any = list_members.sync("finance", client=client)
    missing: Any = get_run.sync("finance", UUID(int=0), client=client)
    print(  # noqa: T201 - the test reads it
        json.dumps(
            {
                "pipelines": [pipeline.name for pipeline in pipelines],
                "criticality": [changed.criticality is again.criticality is Criticality.HIGH, type(again).__name__],
                "runs": [item.status for item in runs],
                "tasks": sorted(task.name for task in run.task_runs),
                "author": [comment.content, type(comment.author).__name__, type(again.connector).__name__],
                "started": [str(started.pipeline_id) == str(first.id), started.conf],
                "airflow": [airflow.config.base_url, airflow.config.history_days, airflow.config.verify_tls],
                "other": [other.connector_type, other.config.to_dict()],
                "listed": {row.name: type(row.config).__name__ for row in listed if row.name != "crm"},
                "roles": sorted({member.role.value for member in members if isinstance(member.role, Role)}),
                "missing": [isinstance(missing, Error), missing.detail],
            }
        )
    )


main()
