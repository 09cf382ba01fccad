"""Permissions: the API and the pages refuse the same roles in the same words."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest

from factories import make_request
from windsock.auth.authenticator import COOKIE
from windsock.auth.permissions import API_PERMISSIONS, PAGE_PERMISSIONS, ROLES, Permission
from windsock.errors import Forbidden

pytestmark = pytest.mark.anyio


@dataclass
class FixedAuthorizer:
    role: str | None

    async def authorize(self, _hash: bytes, slug: str | None) -> dict[str, Any]:
        who = {"user_id": UUID(int=1), "email": "ada@example.com", "name": "Ada", "is_superadmin": False}
        return who | {"space_id": UUID(int=2), "slug": slug, "role": self.role, "version": 1}


@dataclass
class App:
    state: Any


@dataclass
class State:
    authorizer: FixedAuthorizer
    sessions: FixedAuthorizer
    db: None = None


@pytest.mark.parametrize("role", [*ROLES, None])
@pytest.mark.parametrize("permission", Permission, ids=lambda permission: permission.name)
async def test_api_and_page_refuse_a_role_in_the_same_words(permission: Permission, role: str | None) -> None:
    request = make_request(cookie=f"{COOKIE}=wss_planted", authorization="Bearer wsk_planted")
    request.scope["app"] = App(State(FixedAuthorizer(role), FixedAuthorizer(role)))
    is_allowed = role is not None and ROLES.index(role) >= ROLES.index(permission.minimum)
    refusals = []
    for allowed in (
        API_PERMISSIONS[permission](request, "finance"),
        PAGE_PERMISSIONS[permission](request, "finance"),
    ):
        try:
            space = await allowed
        except Forbidden as refusal:
            refusals.append(str(refusal))
        else:
            assert (space.role, space.slug) == (role, "finance")
    assert len(refusals) == (0 if is_allowed else 2)
    assert len(set(refusals)) <= 1
    assert all(role is None or f"may {permission.action} in this space" in refusal for refusal in refusals)
