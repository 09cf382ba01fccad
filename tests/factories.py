"""The world every test lives in: two spaces with things of the same names, and callers of every kind."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from starlette.requests import Request

from failure_rows import FailureRows
from incident_rows import add_incidents
from notification_rows import add_notifications
from user_rows import A_COMMENT, A_TEAM, A_VIEW
from windsock.connectors.encryption import Encryption
from windsock.connectors.models import ConnectorIn
from windsock.connectors.store import create_connector
from windsock.db.database import Actor, Database
from windsock.providers.base import ProviderImportError, ProviderPipeline, ProviderRun, ProviderTaskRun, SkippedRow
from windsock.spaces.store import QUERIES as ACCESS
from windsock.spaces.store import create_key, create_space, create_user, expect_row, upsert_member
from windsock.sync.skips import Skips
from windsock.sync.store import queue_sync
from windsock.sync.writer import MirrorWriter

PASSWORD = "planted-password-4711"
NOW = datetime.now(UTC).replace(microsecond=0)


NO_ID = UUID(int=0)


@dataclass
class Tenant:
    """A space's ids by the names that both spaces share."""

    id: UUID
    slug: str
    connector_id: UUID
    other_connector_id: UUID
    pipelines: dict[str, UUID] = field(default_factory=dict)
    run_id: UUID = NO_ID
    task_run_id: UUID = NO_ID
    sync_id: UUID = NO_ID
    team_id: UUID = NO_ID
    comment_id: UUID = NO_ID
    view_id: UUID = NO_ID
    fingerprint_id: UUID = NO_ID
    other_fingerprint_id: UUID = NO_ID
    task_failure_id: UUID = NO_ID
    bulk_clear_id: UUID = NO_ID
    incident_id: UUID = NO_ID
    channel_id: UUID = NO_ID
    rule_id: UUID = NO_ID
    message_id: UUID = NO_ID


@dataclass
class TwoTenants:
    """`keys` and `users` by kind of caller: viewer, editor, admin (of finance), superadmin, stranger, revoked…"""

    finance: Tenant
    marketing: Tenant
    keys: dict[str, str]
    users: dict[str, UUID]


async def create_two_tenants(db: Database, secret_key: str) -> TwoTenants:
    keys: dict[str, str] = {}
    users: dict[str, UUID] = {}
    secrets = Encryption([secret_key])
    async with db.transaction() as tx:
        for kind in ("viewer", "editor", "admin", "superadmin", "stranger", "revoked", "expired"):
            user = await create_user(
                tx, email=f"{kind}@example.com", name=kind.title(), is_superadmin=kind == "superadmin"
            )
            key = await create_key(tx, user["id"], name="of the world", expires_in_days=None)
            users[kind], keys[kind] = user["id"], key["full_key"]
            if kind == "revoked":
                await tx.execute(ACCESS["revoke_key"], key_id=key["id"], user_id=user["id"])
        finance = await create_space(tx, slug="finance", name="Finance")
        marketing = await create_space(tx, slug="marketing", name="Marketing")
    roles = {"viewer": "viewer", "editor": "editor", "admin": "admin", "revoked": "admin"}
    async with db.tenant_transaction(finance["id"]) as tx:
        for kind, role in roles.items():
            await upsert_member(tx, finance["id"], users[kind], role)
    async with db.tenant_transaction(marketing["id"]) as tx:
        await upsert_member(tx, marketing["id"], users["stranger"], "admin")
    return TwoTenants(
        finance=await _fill(db, finance["id"], "finance", secrets, users["viewer"]),
        marketing=await _fill(db, marketing["id"], "marketing", secrets, users["stranger"]),
        keys=keys,
        users=users,
    )


async def _fill(db: Database, space_id: UUID, slug: str, secrets: Encryption, person: UUID) -> Tenant:
    async with db.tenant_transaction(space_id) as tx:
        connector = await create_connector(tx, space_id, airflow_connector("prod"), secrets)
        other = await create_connector(
            tx, space_id, ConnectorIn(name="crm", connector_type="salesforce", config={}), secrets
        )
        sync_id = expect_row({"id": await queue_sync(tx, space_id, connector["id"], trigger="schedule")})["id"]
        tenant = Tenant(space_id, slug, connector["id"], other["id"], sync_id=sync_id)
        await tx.execute(HOLD, space_id=space_id)
        mirror = MirrorWriter(space_id, connector["id"])
        _, tenant.pipelines = await mirror.store_pipelines(
            tx,
            [
                make_pipeline(
                    "daily_report", description=f"The report of {slug}", tags=["tier-1", "100%"], owners=["alice"]
                ),
                make_pipeline("hourly_load", tags=["raw"], owners=["bob", "alice"]),
                make_pipeline("never_run", is_paused=True),
            ],
        )
        runs = [
            make_run("daily_report", "r1", "failed", hours_ago=30, minutes=10),
            make_run("daily_report", "r2", "success", hours_ago=6, minutes=20),
            make_run("hourly_load", "r1", "success", hours_ago=2, minutes=1),
            make_run("hourly_load", "r2", "running", hours_ago=1, minutes=None),
        ]
        await mirror.store_runs(tx, runs, tenant.pipelines)
        tasks = [
            make_task_run("daily_report", "r1", "extract", "success"),
            make_task_run("daily_report", "r1", "load", "failed"),
            *[make_task_run("daily_report", "r1", "check", "success", map_index=index) for index in range(3)],
        ]
        await mirror.store_task_runs(tx, tasks, tenant.pipelines)
        skips = Skips(space_id, connector["id"], sync_id)
        skips.meet([SkippedRow(kind="runs", reason="of the world", pipeline_external_id="never_run")])
        await skips.write(tx)
        broken = ProviderImportError(
            bundle_name="dags-folder",
            filename=f"{slug}/broken.py",
            stack_trace=TRACE,
            raised_at=NOW - timedelta(hours=3),
        )
        await mirror.replace_import_errors(tx, [broken])
        run = await tx.fetch_one(ONE_RUN, space_id=space_id)
        task = await tx.fetch_one(ONE_TASK_RUN, space_id=space_id)
        tenant.run_id, tenant.task_run_id = expect_row(run)["id"], expect_row(task)["id"]
    # What people add, by a person as the audit trail knows them.
    async with db.tenant_transaction(space_id, Actor(person, uuid4(), "of-the-world")) as tx:
        team = await tx.fetch_one(
            A_TEAM, space_id=space_id, user_id=person, pipeline_id=tenant.pipelines["hourly_load"]
        )
        comment = await tx.fetch_one(A_COMMENT, space_id=space_id, user_id=person)
        view = await tx.fetch_one(A_VIEW, space_id=space_id, user_id=person)
        tenant.team_id, tenant.comment_id = expect_row(team)["id"], expect_row(comment)["id"]
        tenant.view_id = expect_row(view)["id"]
    async with db.tenant_transaction(space_id) as tx:
        daily, hourly = tenant.pipelines["daily_report"], tenant.pipelines["hourly_load"]
        rows = FailureRows.of(slug, space_id, daily, hourly)
        await rows.add(tx, tenant.connector_id, tenant.run_id, tenant.task_run_id, tenant.comment_id)
        tenant.fingerprint_id, tenant.other_fingerprint_id = rows.fingerprint_id, rows.other_fingerprint_id
        tenant.task_failure_id, tenant.bulk_clear_id = rows.task_failure_id, rows.bulk_clear_id
        tenant.incident_id = await add_incidents(
            tx, slug, space_id=space_id, connector_id=tenant.connector_id, run_id=tenant.run_id, user_id=person,
            second_pipeline_id=hourly, fingerprint_id=rows.fingerprint_id,
        )  # fmt: skip
        notifications = await add_notifications(tx, space_id, tenant.incident_id)
        tenant.channel_id, tenant.rule_id = notifications["channel_id"], notifications["rule_id"]
        tenant.message_id = notifications["message_id"]
    return tenant


TRACE = """Traceback (most recent call last):
  File "/opt/airflow/dags/broken.py", line 3, in <module>
    import pandsa
ModuleNotFoundError: No module named 'pandsa'
"""
HOLD: Any = """
UPDATE sync_states
SET quarantine = '{"kind": "mass_loss", "since": "2026-11-23T10:00:00Z", "reason": "2 of 2 are gone.",
             "missing": {"pipelines": 2, "runs": 0, "task_runs": 0}, "examples": ["gone_1", "gone_2"]}'
WHERE space_id = %(space_id)s
"""
ONE_RUN: Any = """
SELECT r.id FROM runs r JOIN pipelines p ON p.id = r.pipeline_id
WHERE r.space_id = %(space_id)s AND r.external_id = 'r1' AND p.external_id = 'daily_report'
"""
ONE_TASK_RUN: Any = "SELECT id FROM task_runs WHERE space_id = %(space_id)s AND external_id = 'load'"


def airflow_connector(name: str, base_url: str = "http://127.0.0.1:9") -> ConnectorIn:
    """Port 9 (discard): nobody answers."""
    return ConnectorIn(
        name=name,
        connector_type="airflow",
        config={"base_url": base_url, "timeout_seconds": 2},
        credentials={"auth_type": "password", "username": "admin", "password": PASSWORD},
    )


def make_pipeline(name: str, **more: Any) -> ProviderPipeline:
    owners = more.pop("owners", ["airflow"])
    fields: dict[str, Any] = {
        "external_id": name,
        "name": name,
        "description": None,
        "owner": ", ".join(owners),
        "owners": owners,
        "tags": [],
        "schedule": "@daily",
        "schedule_description": "Every day",
        "next_run_at": NOW + timedelta(hours=3),
        "is_paused": False,
        "is_active": True,
        "has_import_errors": False,
        "provider_metadata": {"max_active_runs": 16},
    }
    return ProviderPipeline(**fields | more)


def make_request(query: str = "", method: str = "GET", **headers: str) -> Request:
    """A request for `/things`; underscores in the names of headers stand for hyphens."""
    scope = {
        "type": "http",
        "method": method,
        "path": "/things",
        "query_string": query.encode(),
        "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
    }
    return Request(scope)


def make_run(
    pipeline: str,
    run_id: str,
    status: str,
    *,
    hours_ago: float = 1,
    minutes: float | None = 5,
    **more: Any,
) -> ProviderRun:
    """A run that was due `hours_ago` and took `minutes`; None: it has not ended."""
    due = NOW - timedelta(hours=hours_ago)
    fields: dict[str, Any] = {
        "pipeline_external_id": pipeline,
        "external_id": run_id,
        "status": status,
        "run_type": "scheduled",
        "run_at": due,
        "queued_at": due,
        "started_at": due,
        "ended_at": None if minutes is None else due + timedelta(minutes=minutes),
        "run_after": due,
        "logical_date": due,
        "data_interval_start": due - timedelta(days=1),
        "data_interval_end": due,
        "conf": {"day": "2026-11-23"},
        "note": None,
        "triggered_by": None,
        "provider_metadata": {"bundle_version": None},
    }
    return ProviderRun(**fields | more)


def make_task_run(
    pipeline: str,
    run_id: str,
    task_id: str,
    status: str,
    *,
    map_index: int = -1,
    **more: Any,
) -> ProviderTaskRun:
    fields: dict[str, Any] = {
        "pipeline_external_id": pipeline,
        "run_external_id": run_id,
        "external_id": task_id,
        "map_index": map_index,
        "name": task_id,
        "operator": "PythonOperator",
        "status": status,
        "try_number": 1,
        "max_tries": 0,
        "queued_at": NOW - timedelta(hours=1),
        "started_at": NOW - timedelta(hours=1),
        "ended_at": NOW - timedelta(minutes=50),
        "pool": "default_pool",
        "queue": "default",
        "hostname": "worker-1",
        "note": None,
        "provider_metadata": {"priority_weight": 1},
    }
    return ProviderTaskRun(**fields | more)
