"""Texts of the OpenAPI document: its tags and the descriptions of statuses."""

TAGS = {
    "pipelines": "DAGs: the list everybody opens in the morning, and what people decide about them.",
    "runs": "Runs and task runs.",
    "views": "Saved filters and orders of the pipeline list, private or shared with the space.",
    "comments": "What people say about runs and task runs.",
    "failures": "Groups of failures with the same fault.",
    "incidents": "What needs attention: failures and other conditions, acknowledged, assigned and resolved.",
    "notifications": "Channels, rules and messages: who is notified of an incident, how, and why.",
    "syncs": "Reading from the provider: asked for, followed, looked back at.",
    "connectors": "The Airflows of a space, and other systems that are only recorded.",
    "spaces": "Tenants and their members.",
    "teams": "Groups of members who own pipelines.",
    "audit": "Who changed what.",
    "users": "The caller, API keys, and the users of the installation.",
    "health": "For load balancers and Prometheus; at the root, without a key.",
}
STATUS_TEXT = {
    "200": "Here it is.",
    "201": "Created.",
    "202": "Accepted: it is queued or running.",
    "204": "Done. There is no body.",
}
