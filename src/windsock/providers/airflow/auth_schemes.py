"""How each kind of credentials gets in: what goes along with a request, and where a new sign-in comes from."""

import base64
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from windsock.errors import ProviderBadResponse, ProviderHTTPError, ProviderRejectedCredentials
from windsock.providers.airflow.config import AstronomerCredentials, PasswordCredentials, TokenCredentials
from windsock.providers.airflow.http import AirflowHttp, ApiResponse

TOKEN_PATH = "/auth/token"  # noqa: S105 - a path

_ASTRO_EXPIRED = (
    "Check whether the API token of Astronomer has expired or was deleted: in the settings of the Deployment or "
    "Workspace, Access, API Tokens."
)
_ASTRO_ADDRESS = "Check that base_url is the Deployment's own address, where its Airflow opens in a browser."
_ASTRO_ACCESS = (
    "Astronomer knows the API token, but it has no access to this Deployment: it must be a token of this Deployment, "
    "or a Workspace or Organization token that was added to it."
)
_ASTRO_ROLE = "If only some requests are refused, the token's role on the Deployment lacks a permission."

Version = Literal["v1", "v2"]
When = Literal["never", "when refused", "first"]


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """An issued token; `seconds` is its lifetime, None if unknown."""

    token: str
    seconds: float | None = None

    def __repr__(self) -> str:
        return f"Grant(seconds={self.seconds})"


class AuthScheme(ABC):
    """One kind of credentials."""

    version_requires_auth = False
    """Whether even the version of Airflow is told only to who has signed in."""
    hints: Mapping[int, tuple[str, ...]] = {}
    """What to check, by the status with which Airflow refuses; without one the hints of any Airflow hold."""

    def __init__(self, http: AirflowHttp) -> None:
        self._http = http

    @abstractmethod
    def headers(self, version: Version, token: str | None) -> dict[str, str]:
        """Return the headers of a request; `token` is the issued token, None without a login."""

    def _bearer(self, token: str) -> dict[str, str]:
        self._http.secrets.add(token)  # one from the cache was not seen by this client yet
        return {"Authorization": f"Bearer {fit_for_a_header(token)}"}


class RefreshableAuth(AuthScheme):
    """Credentials that are exchanged for a token, and again when that is refused."""

    @abstractmethod
    def login_policy(self, version: Version) -> When:
        """When a token is fetched: before the first request, only when one is refused, or never."""

    @abstractmethod
    async def sign_in(self, version: Version) -> IssuedToken:
        """Raises ProviderFailed."""

    def headers(self, version: Version, token: str | None) -> dict[str, str]:  # noqa: ARG002 - for those below
        return {} if token is None else self._bearer(token)


class StaticToken(AuthScheme):
    """The same token along with each request, that for the version too: it may be for a proxy in front."""

    def __init__(self, http: AirflowHttp, credentials: TokenCredentials | AstronomerCredentials) -> None:
        super().__init__(http)
        self._token = credentials.token.get_secret_value().strip()
        http.secrets.add(self._token)

    def headers(self, version: Version, token: str | None) -> dict[str, str]:  # noqa: ARG002 - always the same
        return self._bearer(self._token)


class AstronomerToken(StaticToken):
    """A token of Astronomer, which its gateway checks before Airflow sees the request."""

    hints: Mapping[int, tuple[str, ...]] = {401: (_ASTRO_EXPIRED, _ASTRO_ADDRESS), 403: (_ASTRO_ACCESS, _ASTRO_ROLE)}


class Password(RefreshableAuth):
    """User and password along with each request (2.x), or exchanged for a token (3.x)."""

    def __init__(self, http: AirflowHttp, credentials: PasswordCredentials) -> None:
        super().__init__(http)
        self._username, self._password = credentials.username, credentials.password.get_secret_value()
        http.secrets.add(self._password)

    def login_policy(self, version: Version) -> When:
        return "first" if version == "v2" else "never"

    def headers(self, version: Version, token: str | None) -> dict[str, str]:
        if version == "v2":
            return super().headers(version, token)
        pair = f"{self._username}:{self._password}"
        encoded = base64.b64encode(pair.encode("utf-8", "replace")).decode()
        self._http.secrets.add(encoded)
        return {"Authorization": f"Basic {encoded}"}

    async def sign_in(self, version: Version) -> IssuedToken:  # noqa: ARG002 - only 3.x has tokens
        pair = {"username": self._username, "password": self._password}
        return _granted(await self._http.send("POST", TOKEN_PATH, json=pair))


class NoAuth(RefreshableAuth):
    """No credentials. Measured on 3.3.2: GET /auth/token gives everybody a token if all are admins, else 403."""

    def login_policy(self, version: Version) -> When:
        return "when refused" if version == "v2" else "never"

    async def sign_in(self, version: Version) -> IssuedToken:  # noqa: ARG002 - only 3.x has tokens
        try:
            return _granted(await self._http.send("GET", TOKEN_PATH))
        except ProviderHTTPError as failure:
            status = failure.status
            if status not in {401, 403, 404, 405}:
                raise
        raise ProviderRejectedCredentials(
            401,
            f"Airflow lets nobody in without credentials (GET {TOKEN_PATH} answered {status}).",
            is_transient=False,
            hints=("Give the connector a user and password, or a token.",),
        )


def _granted(response: ApiResponse) -> IssuedToken:
    token = response.body.get("access_token") if isinstance(response.body, dict) else None
    if not isinstance(token, str) or not token:
        raise ProviderBadResponse(f"Airflow answered {TOKEN_PATH} without a token.")
    return IssuedToken(token)


def fit_for_a_header(token: str) -> str:
    """A token with a line break or an umlaut would be quoted, in full, by the HTTP library's own error."""
    if not token.isascii() or not token.isprintable() or " " in token:
        raise ProviderRejectedCredentials(
            401,
            "The API token holds characters that no token has, such as a space, a line break or an umlaut.",
            is_transient=False,
            hints=("Copy the token again, without quotes and without the word Bearer.",),
        )
    return token
