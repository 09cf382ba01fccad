"""Keeps a connector signed in: uses the token of an earlier sync, and renews it once when it is refused."""

import hashlib
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, assert_never

from pydantic import BaseModel, SecretStr

from windsock import egress
from windsock.errors import ProviderFailed, ProviderHTTPError, ProviderRejectedCredentials
from windsock.providers.airflow.auth_schemes import (
    AstronomerToken,
    AuthScheme,
    NoAuth,
    Password,
    RefreshableAuth,
    StaticToken,
    Version,
)
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
from windsock.providers.airflow.content import BodySink
from windsock.providers.airflow.errors import SignInDemanded
from windsock.providers.airflow.http import AirflowHttp, ApiResponse, Params
from windsock.providers.airflow.mwaa import Mwaa
from windsock.providers.airflow.permissions import permission_hint
from windsock.providers.airflow.tokens import TokenCache


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


def auth_scheme_for(
    http: AirflowHttp, credentials: Credentials, base_url: str, *, policy: egress.Policy, as_machine: bool
) -> AuthScheme:
    match credentials:
        case PasswordCredentials():
            return Password(http, credentials)
        case TokenCredentials():
            return StaticToken(http, credentials)
        case AstronomerCredentials():
            return AstronomerToken(http, credentials)
        case NoCredentials():
            return NoAuth(http)
        case ComposerCredentials():
            return Composer(http, credentials, base_url, policy=policy, as_machine=as_machine)
        case MwaaCredentials():
            return Mwaa(http, credentials, base_url, policy=policy, as_machine=as_machine)
    assert_never(credentials)


_NOT_ABOUT_THE_TOKEN = frozenset({404, 405, 408, 409, 410, 412, 413, 414, 415, 422, 425, 429, 502, 503, 504})
"""Statuses about the object or the request, or of a gateway whose server is away."""
_BEFORE_EXECUTION = frozenset({401, 403})
"""Statuses with which a server refuses a caller before it does anything."""


class AuthenticatedClient:
    """Sends requests with an account; renews a token that is refused, once per request.

    Measured on 3.3.2: an expired token is 401, a malformed one (the server's key has changed) 403 "Invalid JWT token".
    Other servers refuse an old token with 400, 403, 500, a redirect or a login page, so that any refusal of a token of
    an earlier sync is answered with a new sign-in; of one of this sync only what is about tokens for certain.
    """

    def __init__(self, http: AirflowHttp, sign_in: AuthScheme, *, tokens: TokenCache, key: str) -> None:
        self._http = http
        self._scheme = sign_in
        self._tokens = tokens
        self._key = key
        self._own: set[str] = set()

    async def get(self, path: str, params: Params | None = None) -> ApiResponse:
        """GET `path`, which begins with /api/v1 or /api/v2."""
        return await self._ask("GET", path, params=params)

    async def stream(self, path: str, params: Params, sink: BodySink, accept: str) -> None:
        """GET whose body `sink` takes as it arrives, uncompressed: so much is in memory as it holds."""
        await self._ask("GET", path, params=params, sink=sink, accept=accept)

    async def post_once(self, path: str, json: Mapping[str, object]) -> ApiResponse:
        """POST; sent again only where the caller was refused, which a server does before it does anything."""
        return await self._ask("POST", path, json=json, tries=1)

    async def patch_once(self, path: str, json: Mapping[str, object], params: Params | None = None) -> ApiResponse:
        """As post_once, with PATCH."""
        return await self._ask("PATCH", path, json=json, params=params, tries=1)

    async def get_version(self, path: str) -> ApiResponse:
        """GET without signing in where the version of Airflow needs none; a fixed token is for a proxy in front."""
        if self._scheme.version_requires_auth:
            return await self.get(path)
        return await self._send("GET", path, self._scheme.headers("v2", None))

    async def _ask(self, method: str, path: str, **what: Any) -> ApiResponse:  # noqa: ANN401 - as Http.send takes it
        version: Version = "v1" if path.startswith("/api/v1/") else "v2"
        door = self._scheme
        if not isinstance(door, RefreshableAuth) or (when := door.login_policy(version)) == "never":
            return await self._send(method, path, door.headers(version, None), **what)
        key = self._key if version == "v2" else f"{self._key}:v1"  # a session of 2.x is no token of 3.x
        token, is_new = self._tokens.get(key), False
        if token is None and when == "first":
            token, is_new = await self._sign_in(door, version, key), True
        try:
            return await self._send(method, path, door.headers(version, token), **what)
        except ProviderFailed as failure:
            refusal = failure
        is_certain = _rejects_token(refusal, version)
        is_unclear = token is not None and key not in self._own and _may_reject_token(refusal, method)
        place = f"{method} {path} {refusal.status}"
        if is_new or not (is_certain or (is_unclear and not self._tokens.was_vain(key, place))):
            raise refusal
        self._tokens.drop(key)
        try:
            token = await self._sign_in(door, version, key)
        except ProviderFailed as failure:
            raise failure if is_certain or isinstance(failure, ProviderRejectedCredentials) else refusal from None
        try:
            return await self._send(method, path, door.headers(version, token), **what)
        except ProviderFailed as again:
            if again.status == refusal.status:
                self._tokens.note_vain(key, place)
            raise

    async def _send(self, method: str, path: str, headers: dict[str, str], **what: Any) -> ApiResponse:  # noqa: ANN401
        send = self._http.stream if "sink" in what else self._http.send
        try:
            return await send(method, path, headers=headers, **what)
        except ProviderHTTPError as failure:
            if (hints := self._scheme.hints.get(failure.status)) is not None:
                permission = permission_hint(method, path) if failure.status == HTTPStatus.FORBIDDEN else None
                failure.hints = hints if permission is None else (*hints, permission)
            raise

    async def _sign_in(self, door: RefreshableAuth, version: Version, key: str) -> str:
        try:
            grant = await door.sign_in(version)
        except ProviderFailed as failure:
            failure.request_sent = False  # what was to be sent with the token
            raise
        self._tokens.put(key, grant.token, grant.seconds)
        self._own.add(key)
        return grant.token


def _rejects_token(failure: ProviderFailed, version: Version) -> bool:
    """Whether it is about the token for certain; 2.x answers 403 to a missing permission too."""
    if not isinstance(failure, ProviderRejectedCredentials):
        return False
    return failure.status == HTTPStatus.UNAUTHORIZED or version == "v2"


def _may_reject_token(failure: ProviderFailed, method: str) -> bool:
    """Whether a new token may help, and the request was certainly not carried out."""
    if isinstance(failure, SignInDemanded):
        return True
    if not isinstance(failure, ProviderHTTPError):
        return False
    return failure.status not in _NOT_ABOUT_THE_TOKEN if method == "GET" else failure.status in _BEFORE_EXECUTION
