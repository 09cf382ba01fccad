"""A real Airflow for the tests here: installed once under the repository, started when a test first asks for it.

A test that takes `airflow` runs on Airflow 3 and on Airflow 2; one that takes `airflow3`, `airflow2` or `airflow34` on
that one; one that takes `every_airflow` on all three. They are the same session fixture with another parameter, and one
process runs them all, so that never two Airflows run at a time. 3.4 has DAGs of its own: what the others test of 3 need
not be told again, what loops do there must.

WINDSOCK_TEST_AIRFLOW_VERSIONS, such as "3.4" or "2 3.4", runs the tests on these versions instead, each with all DAGs.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psycopg
import pytest

from airflow.extremes import CATALOGUE, REPETITION, STRANGE_PREFIX
from airflow.morning import ZONE, Morning, open_morning
from airflow_lab import LOOP_DAGS, SAMPLE_DAGS, AirflowLab, Version, install
from browser.conftest import launched
from sample_runs import BROKEN_FILES, EXPECTED_DAGS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

    from databases import Databases

HERE: Final = Path(__file__).parent
VERSIONS: Final[tuple[Version, ...]] = ("3", "2", "3.4")
CHOSEN: Final = tuple(os.environ.get("WINDSOCK_TEST_AIRFLOW_VERSIONS", "").split())
ALL_VERSIONS: Final = tuple(version for version in VERSIONS if version in CHOSEN) or VERSIONS[:2]
LOOPS: Final = frozenset({"price_search", "stock_batches", "shop_calls", "shelves", REPETITION, CATALOGUE})
SECONDS: Final = 900  # the first test of a version may have to install it


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "airflow" in metafunc.fixturenames:  # also below airflow3 and the like
        only = [version for version in VERSIONS if f"airflow{version.replace('.', '')}" in metafunc.fixturenames]
        versions = VERSIONS if "every_airflow" in metafunc.fixturenames else only or ALL_VERSIONS
        versions = [version for version in versions if not CHOSEN or version in CHOSEN]
        ids = [f"airflow{version}" for version in versions]
        metafunc.parametrize("airflow", versions, ids=ids, indirect=True, scope="session")


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Iterator[None]:
    """Mark the tests here before any are chosen by mark; afterwards put them first, one version after the other."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.airflow)
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(SECONDS))
    yield
    items.sort(key=_turn)


def _turn(item: pytest.Item) -> int:
    """pytest groups by the parameter's position, which says nothing where there is only one. This sort is stable."""
    called = getattr(item, "callspec", None)
    if HERE not in item.path.parents or called is None or "airflow" not in called.params:
        return len(VERSIONS)
    return VERSIONS.index(called.params["airflow"])


@pytest.fixture(scope="session")
def airflow(request: pytest.FixtureRequest) -> Iterator[AirflowLab]:
    """A running Airflow with a copy of the sample DAGs and those of `dags` here in `airflow.dags`.

    Tests may change them and must restore them. Any run id is permitted.
    """
    version: Version = request.param
    installed = Path(os.environ.get("WINDSOCK_TEST_AIRFLOW_ENVS") or HERE.parents[1] / ".airflow") / version
    install(version, installed, print)
    # Root's PostgreSQL runs as nobody, who must be able to pass through.
    folder = Path(tempfile.mkdtemp(prefix=f"windsock-airflow{version}-"))
    folder.chmod(0o711)
    try:
        dags = folder / "dags"
        has_loops, has_samples = version == "3.4", version != "3.4" or bool(CHOSEN)
        sources = [LOOP_DAGS] * has_loops + [SAMPLE_DAGS] * has_samples + [HERE / "dags"]
        for source in sources:
            shutil.copytree(source, dags, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
        expected = (LOOPS if has_loops else {CATALOGUE}) | (EXPECTED_DAGS if has_samples else frozenset())
        with AirflowLab(version, installed, folder / "home", dags=dags) as lab:
            lab.wait_ready(print, expected=expected, broken=BROKEN_FILES if has_samples else ())
            yield lab
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def airflow3(airflow: AirflowLab) -> AirflowLab:
    return airflow


@pytest.fixture(scope="session")
def airflow2(airflow: AirflowLab) -> AirflowLab:
    return airflow


@pytest.fixture(scope="session")
def airflow34(airflow: AirflowLab) -> AirflowLab:
    """With the DAGs of LOOP_DAGS."""
    return airflow


@pytest.fixture(scope="session")
def every_airflow(airflow: AirflowLab) -> AirflowLab:
    return airflow


@pytest.fixture
def strange_runs(airflow: AirflowLab) -> Iterator[None]:
    """Runs of which the test has made the ids with `strange_id` are deleted after it: others build paths of any id."""
    yield
    with psycopg.connect(airflow.database_url) as connection:
        connection.execute("DELETE FROM dag_run WHERE starts_with(run_id, %s)", (STRANGE_PREFIX,))


@pytest.fixture(scope="module")
def morning(airflow3: AirflowLab, make_database: Databases) -> Iterator[Morning]:
    with open_morning(airflow3, make_database) as opened:
        yield opened


@pytest.fixture(scope="module")
def chromium(morning: Morning) -> Iterator[Browser]:  # noqa: ARG001 - after what needs no running event loop here
    with launched() as browser:
        yield browser


@pytest.fixture
def page(chromium: Browser, morning: Morning) -> Iterator[Page]:
    """Ada's, signed in; faults of scripts and requests to other hosts fail the test."""
    complaints: list[str] = []
    requests: list[str] = []
    context = chromium.new_context(viewport={"width": 1440, "height": 900}, timezone_id=ZONE)
    opened = context.new_page()
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("request", lambda request: requests.append(request.url))
    morning.sign_in(opened)
    yield opened
    context.close()
    assert complaints == []
    assert [url for url in requests if not url.startswith((morning.url, "data:"))] == []
