"""Keeps a connector signed in: a sign-in is kept for the next sync, and made anew once when it is refused."""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, assert_never

from pydantic import BaseModel, SecretStr

from windsock.errors import ProviderRefused
from windsock.providers.airflow.composer import Composer
from windsock.providers.airflow.config import (
    AstronomerCredentials,
    ComposerCredentials,
    Credentials,
    MwaaCredentials,
    NoCredentials,
    PasswordCredentials,
    TokenCredentials,
)
from windsock.providers.airflow.http import Answer, Http, Params
from windsock.providers.airflow.mwaa import Mwaa
from windsock.providers.airflow.signin import AstronomerToken, FixedToken, Nobody, Password, Renewable, SignIn, Version


class TokenCache:
    """Sign-in tokens by connector, kept in this process so that an idle sync need not sign in; the oldest go first."""

    def __init__(self, largest: int = 1000) -> None:
        self._largest = largest
        self._tokens: OrderedDict[str, tuple[str, float | None]] = OrderedDict()

    def get(self, key: str) -> str | None:
        token, until = self._tokens.get(key, (None, None))
        if until is not None and time.monotonic() >= until:
            self.drop(key)
            return None
        return token

    def put(self, key: str, token: str, seconds: float | None = None) -> None:
        """`seconds` it is good for; None: until it is refused."""
        self._tokens[key] = token, None if seconds is None else time.monotonic() + seconds
        self._tokens.move_to_end(key)
        while len(self._tokens) > self._largest:
            self._tokens.popitem(last=False)

    def drop(self, key: str) -> None:
        self._tokens.pop(key, None)

    def __repr__(self) -> str:
        return f"TokenCache({len(self._tokens)} tokens)"


def token_key(connector_id: object, base_url: str, credentials: Credentials) -> str:
    """The key of a connector's token in a TokenCache: another address or password is another key."""
    parts = [str(connector_id), base_url, *_parts(credentials)]
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


def _parts(model: BaseModel) -> list[str]:
    found = []
    for name, value in model:
        if isinstance(value, BaseModel):
            found += [name, *_parts(value)]
        elif value is not None:
            found += [name, value.get_secret_value() if isinstance(value, SecretStr) else str(value)]
    return found


def sign_in_of(http: Http, credentials: Credentials, base_url: str, *, as_machine: bool) -> SignIn:
    match credentials:
        case PasswordCredentials():
            return Password(http, credentials)
        case TokenCredentials():
            return FixedToken(http, credentials)
        case AstronomerCredentials():
            return AstronomerToken(http, credentials)
        case NoCredentials():
            return Nobody(http)
        case ComposerCredentials():
            return Composer(http, credentials, base_url, as_machine=as_machine)
        case MwaaCredentials():
            return Mwaa(http, credentials, base_url, as_machine=as_machine)
    assert_never(credentials)


class Session:
    """Reads with an account. A sign-in that is refused is made anew once per request, never more.

    Measured on 3.3.2: an expired token is 401, a malformed one (the server's key has changed) 403 "Invalid JWT token".
    """

    def __init__(self, http: Http, sign_in: SignIn, *, tokens: TokenCache, key: str) -> None:
        self._http = http
        self._door = sign_in
        self._tokens = tokens
        self._key = key
        self._own: set[str] = set()

    async def get(self, path: str, params: Params | None = None) -> Answer:
        """GET `path`, which begins with /api/v1 or /api/v2."""
        return await self._ask("GET", path, params=params)

    async def post_once(self, path: str, json: Mapping[str, object]) -> Answer:
        """POST; sent again only where Airflow refused the token, which it does before it does anything."""
        return await self._ask("POST", path, json=json, tries=1)

    async def get_version(self, path: str) -> Answer:
        """GET without signing in where the version of Airflow needs none; a fixed token is for a proxy in front."""
        if self._door.guards_version:
            return await self.get(path)
        return await self._send("GET", path, self._door.headers("v2", None))

    async def _ask(self, method: str, path: str, **what: Any) -> Answer:  # noqa: ANN401 - as Http.send takes it
        version: Version = "v1" if path.startswith("/api/v1/") else "v2"
        door = self._door
        if not isinstance(door, Renewable) or (when := door.when(version)) == "never":
            return await self._send(method, path, door.headers(version, None), **what)
        key = self._key if version == "v2" else f"{self._key}:v1"  # a session of 2.x is no token of 3.x
        token, is_new = self._tokens.get(key), False
        if token is None and when == "first":
            token, is_new = await self._sign_in(door, version, key), True
        try:
            return await self._send(method, path, door.headers(version, token), **what)
        except ProviderRefused as failure:
            if is_new or not door.is_renewed_at(failure, is_own=key in self._own):
                raise
        self._tokens.drop(key)
        token = await self._sign_in(door, version, key)
        return await self._send(method, path, door.headers(version, token), **what)

    async def _send(self, method: str, path: str, headers: dict[str, str], **what: Any) -> Answer:  # noqa: ANN401
        try:
            return await self._http.send(method, path, headers=headers, **what)
        except ProviderRefused as failure:
            failure.hints = self._door.hints.get(failure.status, failure.hints)
            raise

    async def _sign_in(self, door: Renewable, version: Version, key: str) -> str:
        grant = await door.sign_in(version)
        self._tokens.put(key, grant.token, grant.seconds)
        self._own.add(key)
        return grant.token
