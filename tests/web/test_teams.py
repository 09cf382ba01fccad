"""Teams in the pages: contact and members; a duplicate name is an error of its field."""

import re
from typing import Any

import pytest

from factories import TwoTenants
from validating_client import ValidatingClient
from web.conftest import Browser, main_of

pytestmark = pytest.mark.anyio

TEAMS = "/spaces/finance/teams"
UNKNOWN = "0191f1a0-0000-7000-8000-000000000000"


async def teams(client: ValidatingClient, tenants: TwoTenants) -> dict[str, dict[str, Any]]:
    """Teams by name."""
    listed = await client.as_(tenants.keys["admin"], "GET", TEAMS, params={"size": 100})
    return {row["name"]: row for row in listed.json()}


async def test_admin_can_create_edit_and_delete_team(
    admin: Browser, client: ValidatingClient, tenants: TwoTenants
) -> None:
    created = await admin.send_form(TEAMS, name=" On <call> ", contact="ops@example.com")
    path = created.headers["location"]
    shown = (await admin.open(path)).text
    assert "On &lt;call&gt;" in shown
    assert "The team is created." in shown
    viewer = str(tenants.users["viewer"])
    await admin.send_form(f"{path}/members", user_id=viewer)
    team = (await teams(client, tenants))["On <call>"]
    assert (team["member_count"], team["contact"]) == (1, "ops@example.com")
    await admin.send_form(f"{path}/members", user_id=viewer, inside="false")
    await admin.send_form(path, name="Night", contact="")
    team = (await teams(client, tenants))["Night"]
    assert (team["member_count"], team["contact"]) == (0, None)
    assert "Delete the team Night?" in (await admin.send_form(f"{path}/delete")).text
    assert "Night" in await teams(client, tenants), "deletion is confirmed first"
    await admin.send_form(f"{path}/delete", confirmed="true")
    assert "Night" not in await teams(client, tenants)
    assert (await admin.open(path)).status_code == 404


@pytest.mark.parametrize(
    ("contact", "link"),
    [
        ("https://chat.example.com/ops?a=1&b=2", "https://chat.example.com/ops?a=1&amp;b=2"),
        ("ops@example.com", "mailto:ops@example.com"),
        ("a?subject=x&body=<b>@example.com", "mailto:a%3Fsubject%3Dx%26body%3D%3Cb%3E@example.com"),
        ("javascript:alert(1)", None),
        ("https://example.com and ask for Ada", None),
        ("Slack: #data", None),
    ],
)
async def test_contact_is_link_only_for_address_or_url(
    admin: Browser, tenants: TwoTenants, contact: str, link: str | None
) -> None:
    path = f"{TEAMS}/{tenants.finance.team_id}"
    await admin.send_form(path, name="ingestion", contact=contact)
    for page in (path, TEAMS):
        text = main_of((await admin.open(page)).text)
        assert re.findall(r'<a href="((?:mailto|https?|javascript):[^"]*)"', text) == ([link] if link else [])


@pytest.mark.parametrize(
    ("path", "form", "status", "sentence"),
    [
        ("", {"name": "  "}, 422, "Fill in this field."),
        ("", {"name": "x" * 201}, 422, "Use at most 200 characters."),
        ("", {"name": "ingestion", "contact": "#data"}, 422, "There is a team ingestion in this space already."),
        ("", {"name": "x", "contact": "c" * 301}, 422, "Use at most 300 characters."),
        ("/{team}", {"name": "other"}, 422, "There is a team other in this space already."),
        (f"/{UNKNOWN}", {"name": "x"}, 404, "team"),
        (f"/{UNKNOWN}/delete", {}, 404, "team"),
        ("/{team}/members", {"user_id": UNKNOWN}, 404, "member"),
        ("/{team}/members", {"user_id": ""}, 422, "Fill in this field."),
        ("/{team}/members", {"user_id": "everybody"}, 422, "Choose one of the list."),
    ],
)
async def test_refused_team_form_keeps_input_and_has_no_effect(
    admin: Browser,
    client: ValidatingClient,
    tenants: TwoTenants,
    path: str,
    form: dict[str, str],
    status: int,
    sentence: str,
) -> None:
    """Defect 14: a duplicate name became the page "Something is wrong"."""
    await admin.send_form(TEAMS, name="other")
    before = await teams(client, tenants)
    response = await admin.send_form(TEAMS + path.format(team=tenants.finance.team_id), **form)
    assert response.status_code == status
    assert sentence in main_of(response.text)
    if status == 422 and form.get("contact"):
        assert f'value="{form["contact"]}"' in response.text
    assert await teams(client, tenants) == before
