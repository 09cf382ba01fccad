"""The client on fingerprints and saved views."""

from collections.abc import Iterator

import pytest

from conftest import SECRET_KEY
from databases import Databases
from live_server import LiveServer, serve_two_tenants
from windsock.client import Client


@pytest.fixture(scope="module")
def live(make_database: Databases) -> Iterator[LiveServer]:
    with serve_two_tenants(make_database, SECRET_KEY) as server:
        yield server


@pytest.fixture
def client(live: LiveServer) -> Iterator[Client]:
    with Client(live.url, live.tenants.keys["editor"], space="finance") as created:
        yield created


def test_client_names_splits_and_merges_fingerprints(client: Client, live: LiveServer) -> None:
    finance = live.tenants.finance
    found = list(client.fingerprints(pipeline_id=finance.pipelines["daily_report"], q="no rows", size=1))
    assert finance.fingerprint_id in {group.id for group in found}
    run = client.run(finance.run_id)
    assert run.failure is not None
    assert (run.failure.summary, run.failure.fingerprint_id) == ("ValueError: no rows", finance.fingerprint_id)
    assert run.failure.recurrence is not None
    group = client.name_fingerprint(finance.fingerprint_id, "Empty source")
    assert (group.name, client.fingerprint(group.id).name) == ("Empty source", "Empty source")
    split = client.split_fingerprint(group.id, task_failure_ids=[finance.task_failure_id])
    assert [failure.id for failure in split.failures] == [finance.task_failure_id]
    assert len(client.merge_fingerprint(split.id, group.id).failures) == 2
    assert client.set_runbook(group.id, finance.comment_id).runbook is not None
    assert client.set_runbook(group.id, None).runbook is None


def test_client_saves_changes_lists_and_deletes_views(client: Client) -> None:
    view = client.save_view("of the client", "status=failed&sort=attention", is_shared=True)
    changed = client.change_view(view.id, name="of a program")
    assert (changed.name, changed.query, changed.is_shared) == ("of a program", view.query, True)
    assert changed in list(client.views())
    client.delete_view(view.id)
    assert view.id not in {other.id for other in client.views()}
