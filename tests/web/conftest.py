"""A browser without JavaScript: cookies, forms, redirects."""

import re
from collections.abc import AsyncIterator

import httpx2
import pytest

from factories import TwoTenants
from validating_client import ValidatingClient

SITE = "http://windsock.test"
OWN = {"Origin": SITE, "Sec-Fetch-Site": "same-origin"}


class Browser(httpx2.AsyncClient):
    """Follows nothing by itself; each page is looked at for what no page may lack."""

    async def open(self, path: str, **more: object) -> httpx2.Response:
        response = await self.get(path, **more)  # type: ignore[arg-type]
        if response.headers.get("content-type", "").startswith("text/html"):
            policy = response.headers["content-security-policy"]
            assert "unsafe" not in policy
            assert "default-src 'none'" in policy
            assert not re.search(r"<[^>]*\s(?:style|on\w+)=", response.text), "inline style or script"
            assert not re.search(r"<script(?![^>]*\ssrc=)", response.text)
        return response

    async def send_form(self, path: str, **fields: str) -> httpx2.Response:
        return await self.post(path, data=fields, headers=OWN)

    async def sign_in(self, key: str, target: str = "/") -> httpx2.Response:
        return await self.send_form("/sign-in", api_key=key, next=target)


@pytest.fixture
async def browser(client: ValidatingClient) -> AsyncIterator[Browser]:
    async with Browser(transport=client._transport, base_url=SITE, headers={"Accept": "text/html"}) as opened:
        yield opened


@pytest.fixture
async def viewer(browser: Browser, tenants: TwoTenants) -> Browser:
    assert (await browser.sign_in(tenants.keys["viewer"])).status_code == 303
    return browser


@pytest.fixture
async def editor(browser: Browser, tenants: TwoTenants) -> Browser:
    assert (await browser.sign_in(tenants.keys["editor"])).status_code == 303
    return browser


@pytest.fixture
async def admin(browser: Browser, tenants: TwoTenants) -> Browser:
    assert (await browser.sign_in(tenants.keys["admin"])).status_code == 303
    return browser


@pytest.fixture
async def superadmin(browser: Browser, tenants: TwoTenants) -> Browser:
    assert (await browser.sign_in(tenants.keys["superadmin"])).status_code == 303
    return browser


def main_of(page: str) -> str:
    """The content of a page without its frame."""
    return page.partition("<main")[2].partition("</main>")[0]
