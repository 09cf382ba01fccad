"""Signs in to Google Cloud Composer 2 and 3: an access token of Google's, from a service account's key."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from cryptography.exceptions import UnsupportedAlgorithm

from windsock import egress
from windsock.errors import ProviderFailed, ProviderRejectedCredentials, ProviderUnreachable
from windsock.providers.airflow.auth_schemes import IssuedToken, RefreshableAuth, Version, When
from windsock.providers.airflow.clouds import GoogleTransport, refused_sign_in
from windsock.providers.airflow.config import ComposerCredentials
from windsock.providers.airflow.http import AirflowHttp
from windsock.providers.airflow.optional_deps import load, not_as_the_machine, run

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
HOSTS = ".composer.googleusercontent.com"
SECONDS_FOR_ONE_REQUEST = 10
SECONDS_BEFORE_THE_END = 225.0
"""A token is not used longer than that before it ends; google-auth itself renews at the same moment."""

_WRONG_SERVER = (
    "Google's sign-in worked, but Composer refused it: check that base_url is the Airflow web server of this "
    "environment (https://….composer.googleusercontent.com), and that it is Composer 2 or 3."
)
_ROLE = (
    "The service account needs a role with composer.environments.get, such as Composer User, in the project of the "
    "environment, and a role within Airflow (at first the one in composer_auth_user_registration_role: Op)."
)
_ADDRESS = "The environment's web server access control must allow the address from which Windsock asks."
_KEY = (
    "Check that the key is the whole JSON file that Google gave, that it was not deleted or disabled, and that the "
    "clock of this machine is right."
)
_CODE = re.compile(r"[a-z_]{1,60}")
_google = partial(load, library="google-auth", extra="composer")


class Composer(RefreshableAuth):
    """Google sign-in: the token goes with each request, also for the version, since Google's proxy requires it."""

    version_requires_auth = True
    hints: Mapping[int, tuple[str, ...]] = {401: (_WRONG_SERVER,), 403: (_ROLE, _ADDRESS)}

    def __init__(
        self,
        http: AirflowHttp,
        credentials: ComposerCredentials,
        base_url: str,
        *,
        policy: egress.Policy,
        as_machine: bool,
    ) -> None:
        super().__init__(http)
        self._policy = policy
        self._key = credentials.service_account
        self._base_url = base_url
        self._as_machine = as_machine
        if self._key is not None:
            http.secrets.add(self._key.private_key.get_secret_value())

    def login_policy(self, version: Version) -> When:  # noqa: ARG002 - the same for both
        return "first"

    async def sign_in(self, version: Version) -> IssuedToken:  # noqa: ARG002 - the same for both
        if self._key is None:
            if not self._as_machine:
                raise not_as_the_machine("the JSON key of a service account")
            self._demand_composer()
        return await run(self._fetch, service="Google")

    def _demand_composer(self) -> None:
        """Raise unless the address is Composer's: the token has all rights of the machine."""
        parts = urlsplit(self._base_url)
        if parts.scheme != "https" or not (parts.hostname or "").endswith(HOSTS):
            raise ProviderRejectedCredentials(
                401,
                "Application default credentials are sent to Cloud Composer only, and base_url is not there.",
                is_transient=False,
                hints=(f"base_url must be https://…{HOSTS}; for another address give a service account's key.",),
            )

    def _fetch(self) -> IssuedToken | ProviderFailed:
        """Blocks. Report only the type of google-auth's errors: their texts contain the server's response."""
        errors = _google("google.auth.exceptions")
        policy = self._policy if self._key is not None else self._policy.for_machine_identity()
        request = GoogleTransport(policy, SECONDS_FOR_ONE_REQUEST, errors.TransportError)
        try:
            account = self._account(request)
            account.refresh(request)
            token, expiry = account.token, account.expiry
        except errors.TransportError as error:
            return refused_sign_in(error) or _unreachable()
        except errors.RefreshError as error:
            return _unreachable() if error.retryable else self._refused(error)
        except errors.DefaultCredentialsError:
            return _rejected("There are no usable application default credentials here." if self._key is None else "")
        except (errors.GoogleAuthError, UnsupportedAlgorithm, ValueError, TypeError, AttributeError):
            return _rejected("")
        if not isinstance(token, str) or not token:
            return _rejected("Google's answer to the sign-in has no token.")
        self._http.secrets.add(token)
        return IssuedToken(token, _good_for(expiry))

    def _account(self, request: Any) -> Any:  # noqa: ANN401 - of google-auth
        if self._key is None:
            return _google("google.auth").default(scopes=[SCOPE], request=request)[0]
        info = self._key.model_dump(exclude_none=True) | {"private_key": self._key.private_key.get_secret_value()}
        library = _google("google.oauth2.service_account")
        return library.Credentials.from_service_account_info(info, scopes=[SCOPE])

    def _refused(self, error: Any) -> ProviderFailed:  # noqa: ANN401 - of google-auth
        """Of what the server said only its code, such as invalid_grant: the rest may repeat what was sent."""
        body = error.args[1] if len(error.args) > 1 else None
        code = body.get("error") if isinstance(body, dict) else None
        is_code = isinstance(code, str) and _CODE.fullmatch(code) is not None
        return _rejected("Google refused the service account" + (f": {code}." if is_code else "."))


def _good_for(expiry: datetime | None) -> float | None:
    """Return the lifetime in seconds; `expiry` is naive UTC. A short-lived token is used for half of its lifetime."""
    if expiry is None:
        return None
    left = (expiry.replace(tzinfo=UTC) - datetime.now(UTC)).total_seconds()
    return max(left - SECONDS_BEFORE_THE_END, left / 2, 0.0)


def _unreachable() -> ProviderUnreachable:
    return ProviderUnreachable(
        "Google's sign-in could not be reached, or is in trouble.",
        hints=("Check that oauth2.googleapis.com is reachable from where Windsock runs.",),
        request_sent=False,
    )


def _rejected(sentence: str) -> ProviderRejectedCredentials:
    return ProviderRejectedCredentials(
        401,
        sentence or "The service account's key cannot be used.",
        is_transient=False,
        hints=(_KEY,),
    )
