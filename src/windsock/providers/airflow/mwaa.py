"""Signs in to Amazon MWAA: a web login token of AWS, exchanged at the environment's web server for a session.

Not AWS's InvokeRestApi, which would need no exchange: it gives up after 10 s and on answers beyond 6 MB (AWS's
documentation), and takes no path longer than 64 characters (botocore's model of it), which the ids of a DAG and of a
run easily exceed. With the web login Airflow's own API is there as anywhere else.
"""

from collections.abc import Mapping
from contextlib import closing
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from windsock import egress
from windsock.errors import (
    ProviderBadResponse,
    ProviderFailed,
    ProviderHTTPError,
    ProviderRejectedCredentials,
    ProviderUnreachable,
)
from windsock.providers.airflow.auth_schemes import IssuedToken, RefreshableAuth, Version, When, fit_for_a_header
from windsock.providers.airflow.clouds import aws_sender, refused_sign_in
from windsock.providers.airflow.config import MwaaCredentials
from windsock.providers.airflow.errors import redact
from windsock.providers.airflow.http import AirflowHttp
from windsock.providers.airflow.optional_deps import load, not_as_the_machine, run

LOGIN: dict[Version, tuple[str, str]] = {
    "v1": ("/aws_mwaa/login", "session"),
    "v2": ("/pluginsv2/aws_mwaa/login", "_token"),
}
"""Where the web login token is exchanged, and the name of the cookie that it brings."""
CONNECT_SECONDS, READ_SECONDS, ATTEMPTS = 5, 8, 2

_LONGEST_WORDS = 500
_NO_SUCH_LOGIN = frozenset({400, 404, 405})
_TROUBLE = 500
_ACCESS = (
    "The IAM identity needs airflow:CreateWebLoginToken on the Airflow role of this environment "
    "(arn:aws:airflow:<region>:<account>:role/<environment>/Viewer, or User to trigger runs)."
)
_PRIVATE = "An environment with private web server access answers only from within its VPC."
_aws = partial(load, library="boto3", extra="mwaa")


class Mwaa(RefreshableAuth):
    """A session of the web server: a cookie on 2.x, a Bearer token on 3.x; made anew when 401 or 403 refuse it."""

    version_requires_auth = True
    hints: Mapping[int, tuple[str, ...]] = {
        401: ("MWAA signed in, but its Airflow refused the session.", _ACCESS),
        403: (f"The Airflow role that AWS gave has not this permission. {_ACCESS}", _PRIVATE),
    }

    def __init__(
        self, http: AirflowHttp, credentials: MwaaCredentials, base_url: str, *, policy: egress.Policy, as_machine: bool
    ) -> None:
        super().__init__(http)
        self._policy = policy
        self._credentials = credentials
        self._base_url = base_url
        self._as_machine = as_machine
        http.secrets.update(
            secret.get_secret_value()
            for secret in (credentials.secret_access_key, credentials.session_token)
            if secret is not None
        )

    def login_policy(self, version: Version) -> When:  # noqa: ARG002 - the same for both
        return "first"

    def headers(self, version: Version, token: str | None) -> dict[str, str]:
        if version == "v2" or token is None:
            return super().headers(version, token)
        self._http.secrets.add(token)
        return {"Cookie": f"session={fit_for_a_header(token)}"}

    async def sign_in(self, version: Version) -> IssuedToken:
        if self._credentials.access_key_id is None and not self._as_machine:
            raise not_as_the_machine("access_key_id and secret_access_key")
        host, web_token = await run(self._web_login, service="AWS")
        self._http.secrets.add(web_token)
        self._demand_its_own_host(host)
        path, name = LOGIN[version]
        cookie = (await self._exchange(path, web_token)).get(name)
        if not cookie:
            raise ProviderBadResponse(f"POST {path} was answered without the cookie {name}.", is_transient=False)
        return IssuedToken(cookie)

    def _demand_its_own_host(self, host: str) -> None:
        """Raise unless the host is the environment's own server: a web login token signs in its holder."""
        try:
            parts = urlsplit(self._base_url)
            is_its_own = (parts.scheme, parts.hostname, parts.port or 443) == ("https", host.lower(), 443)
        except ValueError:
            is_its_own = False
        if not is_its_own:
            raise ProviderRejectedCredentials(
                401,
                f"base_url is not the web server of the MWAA environment {self._credentials.environment_name}.",
                is_transient=False,
                hints=(f"Set base_url to https://{host}",),
            )

    async def _exchange(self, path: str, web_token: str) -> dict[str, str]:
        try:
            return await self._http.cookies(path, {"token": web_token})
        except ProviderHTTPError as failure:
            status = failure.status
            if status >= _TROUBLE:
                raise
        if status in _NO_SUCH_LOGIN:  # the other version's
            raise ProviderBadResponse(f"POST {path} was answered with {status}: there is no such login here.")
        raise ProviderRejectedCredentials(
            401 if status == 401 else 403,  # noqa: PLR2004 - HTTP
            f"The web server of MWAA refused the sign-in: POST {path} was answered with {status}.",
            is_transient=False,
            hints=(_ACCESS, _PRIVATE),
        )

    def _web_login(self) -> tuple[str, str] | ProviderFailed:
        """Blocks. The host of the web server, and a token that is good for 60 s."""
        credentials = self._credentials
        session, errors, config = _aws("boto3.session"), _aws("botocore.exceptions"), _aws("botocore.config")
        keys = {}
        if credentials.access_key_id is not None and credentials.secret_access_key is not None:
            keys = {
                "aws_access_key_id": credentials.access_key_id,
                "aws_secret_access_key": credentials.secret_access_key.get_secret_value(),
                "aws_session_token": credentials.session_token.get_secret_value()
                if credentials.session_token
                else None,
            }
        bounds = config.Config(
            connect_timeout=CONNECT_SECONDS, read_timeout=READ_SECONDS, retries={"total_max_attempts": ATTEMPTS}
        )
        send = aws_sender(
            self._policy,
            CONNECT_SECONDS + READ_SECONDS,
            _aws("botocore.awsrequest").AWSResponse,
            errors.HTTPClientError,
        )
        try:
            signed_in = session.Session(region_name=credentials.region, **keys)
            signed_in.events.register("before-send", send)  # of every client of this session
            opened = signed_in.client("mwaa", config=bounds)
            with closing(opened) as client:
                response = client.create_web_login_token(Name=credentials.environment_name)
        except errors.ClientError as error:
            return self._refused(error.response)
        except errors.HTTPClientError as error:
            return refused_sign_in(error) or _unreachable("could not be reached")
        except errors.NoCredentialsError:
            return self._rejected("AWS's default chain found no credentials on this machine.")
        except (errors.BotoCoreError, ValueError) as error:
            return self._rejected(f"The sign-in could not be sent to AWS ({type(error).__name__}).")
        host, token = response.get("WebServerHostname"), response.get("WebToken")
        if not host or not token:
            return ProviderBadResponse("AWS answered CreateWebLoginToken without a host or a token.")
        return host, token

    def _refused(self, response: Any) -> ProviderFailed:  # noqa: ANN401 - of botocore
        """AWS's own words only about permissions: those about a signature repeat the session token."""
        error, status = response.get("Error", {}), response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        code = str(error.get("Code", ""))[:100]
        if status >= _TROUBLE or "Throttl" in code or "TooManyRequests" in code:
            return _unreachable(f"is in trouble or asks for patience ({code})")
        message = ""
        if code.startswith("AccessDenied"):
            message = f" {redact(str(error.get('Message', '')), self._http.secrets)[:_LONGEST_WORDS]}"
        return self._rejected(f"AWS refused CreateWebLoginToken with {code or status}.{message}", code)

    def _rejected(self, sentence: str, code: str = "") -> ProviderRejectedCredentials:
        hints = ("Check the access key: whether it is active, complete, and a temporary one has not expired.",)
        if code.startswith("AccessDenied"):
            hints = (_ACCESS,)
        elif code == "ResourceNotFoundException":
            credentials = self._credentials
            hints = (f"Is there an MWAA environment named {credentials.environment_name} in {credentials.region}?",)
        return ProviderRejectedCredentials(401, sentence, is_transient=False, hints=hints)


def _unreachable(why: str) -> ProviderUnreachable:
    return ProviderUnreachable(
        f"The API of Amazon MWAA {why}.",
        hints=("Check the region, and that env.airflow.<region>.amazonaws.com is reachable from where Windsock runs.",),
        request_sent=False,
    )
