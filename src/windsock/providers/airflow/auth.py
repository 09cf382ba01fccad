"""Signs in to Airflow: a fixed token, user and password on each request (2.x), or exchanged for a token (3.x)."""

import base64
import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Literal

from windsock.errors import ProviderNonsense, ProviderRefused, ProviderRejectedCredentials
from windsock.providers.airflow.config import Credentials, NoCredentials, PasswordCredentials, TokenCredentials
from windsock.providers.airflow.http import Answer, Http, Params

TOKEN_PATH = "/auth/token"  # noqa: S105 - a path


class TokenCache:
    """Sign-in tokens by connector, kept in this process so that an idle sync need not sign in; the oldest go first."""

    def __init__(self, largest: int = 1000) -> None:
        self._largest = largest
        self._tokens: OrderedDict[str, str] = OrderedDict()

    def get(self, key: str) -> str | None:
        return self._tokens.get(key)

    def put(self, key: str, token: str) -> None:
        self._tokens[key] = token
        self._tokens.move_to_end(key)
        while len(self._tokens) > self._largest:
            self._tokens.popitem(last=False)

    def drop(self, key: str) -> None:
        self._tokens.pop(key, None)


def token_key(connector_id: object, base_url: str, credentials: Credentials) -> str:
    """The key of a connector's token in a TokenCache: another address or password is another key."""
    parts = [str(connector_id), base_url, credentials.auth_type, *_secrets(credentials)]
    if isinstance(credentials, PasswordCredentials):
        parts.append(credentials.username)
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


def _secrets(credentials: Credentials) -> list[str]:
    if isinstance(credentials, PasswordCredentials):
        return [credentials.password.get_secret_value()]
    if isinstance(credentials, TokenCredentials):
        return [credentials.token.get_secret_value().strip()]
    return []


class Session:
    """Reads with an account. A token of 3.x that is refused is renewed once per request, never more.

    Measured on 3.3.2: an expired token is 401, a malformed one (the server's key has changed) 403 "Invalid JWT token".
    """

    def __init__(self, http: Http, credentials: Credentials, *, tokens: TokenCache, key: str) -> None:
        self._http = http
        self._credentials = credentials
        self._tokens = tokens
        self._key = key
        http.secrets.update(_secrets(credentials))

    async def get(self, path: str, params: Params | None = None) -> Answer:
        """GET `path`, which begins with /api/v1 or /api/v2."""
        return await self._ask("GET", path, params=params)

    async def post_once(self, path: str, json: Mapping[str, object]) -> Answer:
        """POST; sent again only where Airflow refused the token, which it does before it does anything."""
        return await self._ask("POST", path, json=json, tries=1)

    async def _ask(self, method: str, path: str, **what: Any) -> Answer:  # noqa: ANN401 - as Http.send takes it
        version: Literal["v1", "v2"] = "v1" if path.startswith("/api/v1/") else "v2"
        is_renewable = version == "v2" and not isinstance(self._credentials, TokenCredentials)
        token = self._tokens.get(self._key) if is_renewable else None
        if token is None and version == "v2" and isinstance(self._credentials, PasswordCredentials):
            token, is_renewable = await self._sign_in(), False
        try:
            return await self._http.send(method, path, headers=self._headers(version, token), **what)
        except ProviderRejectedCredentials:
            if not is_renewable:
                raise
        self._tokens.drop(self._key)
        token = await self._sign_in()
        return await self._http.send(method, path, headers=self._headers(version, token), **what)

    async def get_version(self, path: str) -> Answer:
        """GET without signing in, which the version of Airflow needs not; a fixed token is for a proxy in front."""
        return await self._http.send("GET", path, headers=self._headers("v2", None))

    def _headers(self, version: Literal["v1", "v2"], token: str | None) -> dict[str, str]:
        credentials = self._credentials
        if isinstance(credentials, TokenCredentials):
            token = credentials.token.get_secret_value().strip()
        if token is not None:
            self._http.secrets.add(token)  # one from the cache was not seen by this client yet
            return {"Authorization": f"Bearer {_fit_for_a_header(token)}"}
        if version == "v1" and isinstance(credentials, PasswordCredentials):
            pair = f"{credentials.username}:{credentials.password.get_secret_value()}"
            encoded = base64.b64encode(pair.encode("utf-8", "replace")).decode()
            self._http.secrets.add(encoded)
            return {"Authorization": f"Basic {encoded}"}
        return {}

    async def _sign_in(self) -> str:
        credentials = self._credentials
        if isinstance(credentials, PasswordCredentials):
            pair = {"username": credentials.username, "password": credentials.password.get_secret_value()}
            answer = await self._http.send("POST", TOKEN_PATH, json=pair)
        elif isinstance(credentials, NoCredentials):
            answer = await self._sign_in_as_nobody()
        token = answer.body.get("access_token") if isinstance(answer.body, dict) else None
        if not isinstance(token, str) or not token:
            raise ProviderNonsense(f"Airflow answered {TOKEN_PATH} without a token.")
        self._tokens.put(self._key, token)
        return token

    async def _sign_in_as_nobody(self) -> Answer:
        """Measured on 3.3.2: GET /auth/token gives everybody a token when all are admins, and 403 when not."""
        try:
            return await self._http.send("GET", TOKEN_PATH)
        except ProviderRefused as failure:
            status = failure.status
            if status not in {401, 403, 404, 405}:
                raise
        raise ProviderRejectedCredentials(
            401,
            f"Airflow lets nobody in without credentials (GET {TOKEN_PATH} answered {status}).",
            is_transient=False,
            hints=("Give the connector a user and password, or a token.",),
        )


def _fit_for_a_header(token: str) -> str:
    """A token with a line break or an umlaut would be quoted, in full, by the HTTP library's own error."""
    if not token.isascii() or not token.isprintable() or " " in token:
        raise ProviderRejectedCredentials(
            401,
            "The API token holds characters that no token has, such as a space, a line break or an umlaut.",
            is_transient=False,
            hints=("Copy the token again, without quotes and without the word Bearer.",),
        )
    return token
