"""What the pages cost: the server's time for each, how soon Chromium can use them, and how a large grid scrolls."""

from __future__ import annotations

import asyncio
import shutil
import statistics
import time
from typing import TYPE_CHECKING

import httpx2
from playwright.sync_api import Page, sync_playwright

if TYPE_CHECKING:
    from bench.api.seeding import Fleet
    from bench.api.servers import Server

LIST_PAGE = "pipelines (100 rows)"
"""The page that has a budget."""
TASKS = 5_000
ROUNDS, OPENED, SCROLLED = 20, 5, 3
SECONDS = 4
TABS, TAB_SECONDS = 30, 20
"""Open tabs with the list, each of which refreshes it once a second."""
SCROLL = """(seconds) => new Promise((done) => {
  const view = document.querySelector("#grid .view");
  for (const one of document.querySelectorAll('#grid button[aria-expanded="false"]')) one.click();
  const gaps = [];
  const end = performance.now() + seconds * 1000;
  let last = performance.now();
  requestAnimationFrame(function step(now) {
    gaps.push(now - last);
    last = now;
    view.scrollTop += 90;
    if (now < end) requestAnimationFrame(step);
    else done({ frames: gaps.length / seconds, longest: Math.max(...gaps.slice(2)),
                rows: document.querySelectorAll("#grid .view .line").length });
  });
})"""
"""Every group unfolded, then a few rows further with each frame."""


def measure_pages(server: Server, fleet: Fleet) -> tuple[str, dict[str, tuple[float, float]]]:
    """Return the table of docs/benchmarks.md, and p50 and p95 of each page in milliseconds."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        raise RuntimeError("the pages are looked at with Chromium, which is missing: make browser")
    base = f"{server.url}/spaces/{fleet.slug}"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.goto(f"{server.url}/sign-in?next=/spaces/{fleet.slug}/pipelines")
        page.get_by_label("API key").fill(fleet.key)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url("**/spaces/**")
        cookies = {cooky["name"]: cooky["value"] for cooky in page.context.cookies()}
        measured = {name: _measure(base + path, cookies) for name, path in _page_paths(fleet).items()}
        usable = [_seconds_to_use(page, f"{base}/pipelines") for _ in range(OPENED)]
        scrolled = [_scrolled(page, f"{base}/runs/{fleet.large_runs[TASKS]}") for _ in range(SCROLLED)]
        browser.close()
    lines = ["| page | p50 ms | p95 ms | KB |", "|---|---|---|---|"]
    refreshed, cpu = asyncio.run(_refresh_in_tabs(server, f"{base}/pipelines", cookies))
    measured["pipelines, refresh"] = (statistics.median(refreshed), statistics.quantiles(refreshed, n=20)[-1], 0.0)
    lines += [f"| {name} | {p50:.0f} | {p95:.0f} | {kb:.0f} |" for name, (p50, p95, kb) in measured.items()]
    lines += [
        "",
        f"Refresh: {TABS} open tabs, each once a second with its ETag; {cpu:.1f} ms of CPU time of the server each. "
        f"Usable in Chromium after {min(usable):.2f} to {max(usable):.2f} s (pipelines). "
        f"The grid of {TASKS:,} task instances: "
        + "; ".join(f"{item['frames']:.0f} frames/s, longest {item['longest']:.0f} ms" for item in scrolled)
        + f"; {scrolled[-1]['rows']:.0f} rows in the document.",
    ]
    return "\n".join(lines), {name: (p50, p95) for name, (p50, p95, _) in measured.items()}


def _page_paths(fleet: Fleet) -> dict[str, str]:
    run = f"/runs/{fleet.large_runs[TASKS]}"
    return {
        "overview": "",
        "runs": "/runs",
        "runs, failed since midnight": "/runs?status=failed&period=today",
        LIST_PAGE: "/pipelines",
        "pipelines, needs attention first": "/pipelines?sort=attention",
        "pipelines, q": "/pipelines?q=77",
        "pipelines, failed": "/pipelines?status=failed",
        "timeline, a day": "/timeline",
        "timeline, a week": "/timeline?hours=168",
        "a pipeline, 30 days": f"/pipelines/{fleet.pipeline_id}?days=30",
        f"a run with {TASKS:,} task instances": run,
        "its tasks, as JSON": f"{run}/tasks",
        "connectors": "/connectors",
    }


def _measure(url: str, cookies: dict[str, str]) -> tuple[float, float, float]:
    """Return p50 and p95 in milliseconds, and the size in KB."""
    taken, size = [], 0
    with httpx2.Client(cookies=cookies, timeout=60, headers={"Accept": "text/html"}) as client:
        for _ in range(ROUNDS):
            started = time.perf_counter()
            response = client.get(url)
            taken.append((time.perf_counter() - started) * 1e3)
            response.raise_for_status()
            size = len(response.content)
    parts = statistics.quantiles(taken, n=20)
    return statistics.median(taken), parts[-1], size / 1024


async def _refresh_in_tabs(server: Server, url: str, cookies: dict[str, str]) -> tuple[list[float], float]:
    """Return the milliseconds of each refresh, and the server's CPU milliseconds for one."""
    async with httpx2.AsyncClient(cookies=cookies, timeout=60, headers={"HX-Request": "true"}) as client:

        async def refresh(etag: str) -> tuple[float, str]:
            started = time.perf_counter()
            response = await client.get(url, headers={"If-None-Match": etag})
            return (time.perf_counter() - started) * 1e3, response.headers["etag"]

        async def keep_open(number: int, etag: str) -> list[float]:
            taken = []
            await asyncio.sleep(number / TABS)
            for _ in range(TAB_SECONDS):
                milliseconds, etag = await refresh(etag)
                taken.append(milliseconds)
                await asyncio.sleep(max(0.0, 1 - milliseconds / 1e3))
            return taken

        _, etag = await refresh("")
        before = server.cpu()
        tabs = await asyncio.gather(*(keep_open(number, etag) for number in range(TABS)))
        taken = [milliseconds for tab in tabs for milliseconds in tab]
        return taken, (server.cpu() - before) / len(taken) * 1e3


def _seconds_to_use(page: Page, url: str) -> float:
    started = time.perf_counter()
    page.goto(url, wait_until="load")
    page.locator("tr.row").first.wait_for()
    return time.perf_counter() - started


def _scrolled(page: Page, url: str) -> dict[str, float]:
    page.goto(url)
    page.locator("#grid .line").nth(2).wait_for()
    found: dict[str, float] = page.evaluate(SCROLL, SECONDS)
    return found
