"""Pictures of every page, of the demo while it runs: light, dark, and as wide as a phone; `make screenshots`."""

import shutil
import sys
from pathlib import Path

import httpx2
from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / "docs" / "screenshots"
KEY = ROOT / ".demo" / "api-key"
URL = "http://127.0.0.1:8420"
SPACE = "demo"
SHAPES = {"light": (1440, 900), "dark": (1440, 900), "phone": (390, 844)}
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]

COMMENT = "The bank closed account DE-44 on Monday. Finance opens DE-45 today; trigger it with that one then."

ACKNOWLEDGEMENT = "Finance opens the new account today."
CHANNEL = {"name": "#data-alerts", "kind": "slack", "secret": {"webhook_url": "https://hooks.slack.com/services/T/B/s"}}


def main() -> None:
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        sys.exit("This needs Chromium: `make browser` installs it.")
    if not KEY.exists():
        sys.exit("This needs the demo: start `make demo` in another terminal, and leave it running.")
    key = KEY.read_text(encoding="utf-8").strip()
    pages = addresses(key)
    PICTURES.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        for shape in SHAPES:
            take(browser, shape, key, pages)
        browser.close()


def addresses(key: str) -> dict[str, str]:
    """A name for each page, and where it is: of a pipeline that failed, and of its newest run, which is spoken of."""
    api = f"{URL}/api/v1.0/spaces/{SPACE}/orchestration"
    with httpx2.Client(headers={"Authorization": f"Bearer {key}"}) as client:
        failed = client.get(f"{api}/pipelines", params={"sort": "-failed_count", "size": 1}).json()[0]
        campaign = client.get(f"{api}/pipelines", params={"q": "campaign_report"}).json()[0]
        comments = f"{api}/runs/{failed['last_run']['id']}/comments"
        if not client.get(comments).json():
            client.post(comments, json={"content": COMMENT}).raise_for_status()
        incident = prepare_incident(client, failed["id"])
        (connector,) = client.get(f"{URL}/api/v1.0/catalog/spaces/{SPACE}/connectors").json()
    return {
        "overview": f"/spaces/{SPACE}",
        "runs": f"/spaces/{SPACE}/runs",
        "import-errors": f"/spaces/{SPACE}/import-errors",
        "pipelines": f"/spaces/{SPACE}/pipelines?sort=attention",
        "pipeline": f"/spaces/{SPACE}/pipelines/{failed['id']}",
        "trigger": f"/spaces/{SPACE}/pipelines/{campaign['id']}/trigger",
        "timeline": f"/spaces/{SPACE}/timeline?hours=1",
        "run": f"/spaces/{SPACE}/runs/{failed['last_run']['id']}",
        "inbox": f"/spaces/{SPACE}/inbox",
        "incident": f"/spaces/{SPACE}/incidents/{incident}",
        "notifications": f"/spaces/{SPACE}/notifications",
        "fingerprints": f"/spaces/{SPACE}/fingerprints",
        "connectors": f"/spaces/{SPACE}/connectors",
        "connector": f"/spaces/{SPACE}/connectors/{connector['id']}",
        "connector-new": f"/spaces/{SPACE}/connectors/new",
        "settings": f"/spaces/{SPACE}/settings",
        "members": f"/spaces/{SPACE}/members",
        "teams": f"/spaces/{SPACE}/teams",
        "users": "/users",
        "audit": f"/spaces/{SPACE}/audit",
        "api-keys": "/api-keys",
        "sessions": "/sessions",
    }


def prepare_incident(client: httpx2.Client, pipeline_id: str) -> str:
    """Acknowledge the incident of a pipeline, and add a channel that no rule uses; the incident's id."""
    where = f"{URL}/api/v1.0/spaces/{SPACE}"
    incidents = client.get(f"{where}/incidents", params={"pipeline_id": pipeline_id}).json()
    if not incidents:
        sys.exit("The demo has no incident yet: it needs a failure after the first sync. Trigger invoice_export.")
    incident = incidents[0]
    if incident["state"] == "open":
        reason = {"reason": ACKNOWLEDGEMENT}
        client.post(f"{where}/incidents/{incident['id']}/acknowledge", json=reason).raise_for_status()
    if not client.get(f"{where}/notifications/channels").json():
        client.post(f"{where}/notifications/channels", json=CHANNEL).raise_for_status()
    return str(incident["id"])


def take(browser: Browser, shape: str, key: str, pages: dict[str, str]) -> None:
    width, height = SHAPES[shape]
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme="dark" if shape == "dark" else "light"
    )
    page = context.new_page()
    page.goto(f"{URL}/sign-in")
    save(page, shape, "sign-in")
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/spaces/**")
    for name, address in pages.items():
        page.goto(URL + address, wait_until="networkidle")
        save(page, shape, name)
    context.close()


def save(page: Page, shape: str, name: str) -> None:
    page.screenshot(path=PICTURES / f"{name}-{shape}.png")
    print(f"docs/screenshots/{name}-{shape}.png")


if __name__ == "__main__":
    main()
