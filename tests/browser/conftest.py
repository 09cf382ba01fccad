"""Debian's Chromium, driven by Playwright, on a real server; what a page may never do is looked at in each test."""

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from conftest import SECRET_KEY
from databases import Databases
from live_server import LiveServer, serve_two_tenants

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-sync"]


@pytest.fixture(scope="module")
def live(make_database: Databases) -> Iterator[LiveServer]:
    with serve_two_tenants(make_database, SECRET_KEY, run_worker=False) as server:
        yield server


@contextlib.contextmanager
def launched() -> Iterator[Browser]:
    """While it is there, this thread has a running event loop."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    assert found, "the tests of the pages need Chromium: `make browser` installs it"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Not for longer: other tests want an event loop of their own."""
    with launched() as browser:
        yield browser


@dataclass
class Visitor:
    """Somebody in front of a browser; `complaints` is what it wrote into its console, `asked` where it went."""

    page: Page
    live: LiveServer
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def sign_in(self, who: str = "viewer", path: str = "/spaces/finance/pipelines") -> None:
        self.page.goto(f"{self.live.url}{path}")
        self.page.get_by_label("API key").fill(self.live.tenants.keys[who])
        self.page.get_by_role("button", name="Sign in").click()
        self.page.wait_for_url("**/spaces/**")

    def open_account_menu(self) -> None:
        self.page.get_by_role("navigation", name="Account").get_by_role("button").first.click()


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    opened = chromium.new_context(viewport={"width": 1280, "height": 800})
    yield opened
    opened.close()


@pytest.fixture
def visitor(context: BrowserContext, live: LiveServer) -> Iterator[Visitor]:
    """Fails where a page complained (blocked by the policy, a fault of a script) or asked for anything elsewhere."""
    new_visitor = Visitor(context.new_page(), live)
    new_visitor.page.on(
        "console", lambda body: new_visitor.complaints.append(body.text) if body.type != "log" else None
    )
    new_visitor.page.on("pageerror", lambda error: new_visitor.complaints.append(str(error)))
    new_visitor.page.on("request", lambda request: new_visitor.requests.append(request.url))
    yield new_visitor
    assert new_visitor.complaints == []
    assert [url for url in new_visitor.requests if not url.startswith((live.url, "data:"))] == []
