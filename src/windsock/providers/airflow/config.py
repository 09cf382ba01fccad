"""Configuration of a connector to Airflow: address, sign-in, filters."""

import re
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from windsock import egress
from windsock.http.validation import WHOLE, StrictBool

TOKEN_URIS = frozenset(
    {
        "https://oauth2.googleapis.com/token",
        "https://www.googleapis.com/oauth2/v4/token",
        "https://accounts.google.com/o/oauth2/token",
    }
)
"""Where a service account's key is exchanged. What another server answered would be sent on as a Bearer token."""

PUBLIC_CLOUD = "googleapis.com"
URL_PATTERN = (
    r"^https?://"
    r"([A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?\.?|\[[0-9A-Fa-f:.]{2,45}\]"
    r"|[A-Za-z0-9_.-]*[^\u0000-\u007f][^\u0000-\u002c/:-@\[-^`{-\u007f]*)"
    r"(:([0-9]{1,4}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?"
    r"([/?#][^\u0000-\u001f\u007f]*)?$"
)
"""For schemas: what `_clean_url` accepts. Not every IPv6 address and not every name beyond ASCII that fits is one."""
PRIVATE_KEY = "PRIVATE KEY-----"
Url = Annotated[str, Field(max_length=2000, json_schema_extra={"pattern": URL_PATTERN})]

ReadLogs = Literal["on_failure", "on_demand", "off"]
_FIRST_TO_STREAM_LOGS = (3, 2)

Glob = Annotated[str, Field(min_length=1, max_length=250)]
_Detail = Annotated[str | None, Field(max_length=1000)]


def _clean_url(value: str) -> str:
    """An http(s) URL without user, query, fragment, trailing slash, or a pasted /api/vN or /home."""
    parts = urlsplit(value.strip())
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be a URL that starts with http:// or https://, such as https://airflow.example.com")
    try:
        _ = parts.port
    except ValueError as error:
        raise ValueError("has a port that is not a number from 0 to 65535") from error
    if "@" in parts.netloc:
        raise ValueError("must not contain a user or password; put them into the credentials")
    try:
        egress.URL(value.strip())
    except egress.InvalidURL as error:
        raise ValueError("has a host name or a character that no URL can have") from error
    path = parts.path.rstrip("/")
    for tail in ("/api/v1", "/api/v2", "/home", "/api"):
        path = path.removesuffix(tail)
    return f"{parts.scheme}://{parts.netloc}{path.rstrip('/')}"


class AirflowConfig(BaseModel):
    """The config of a connector of type `airflow`."""

    model_config = ConfigDict(extra="forbid")

    base_url: Annotated[
        Url,
        Field(
            description="Where the Airflow webserver or API server answers. IPv6 addresses and internationalized "
            "host names must be valid."
        ),
    ]
    api_version: Literal["auto", "v1", "v2"] = "auto"
    verify_tls: StrictBool = True
    ca_certificate: Annotated[
        Annotated[str, Field(max_length=100_000, json_schema_extra={"not": {"pattern": PRIVATE_KEY}})] | None,
        Field(description="PEM of a private authority, without its private key."),
    ] = None
    timeout_seconds: Annotated[float, Field(strict=True, ge=1, le=60, description="Of one request.")] = 30.0
    sync_interval_seconds: Annotated[int, Field(ge=5, le=86_400), WHOLE] = 60
    history_days: Annotated[int, Field(ge=1, le=3650), WHOLE] = 14
    include_dags: Annotated[list[Glob], Field(max_length=1000)] = []
    exclude_dags: Annotated[list[Glob], Field(max_length=1000)] = []
    include_tags: Annotated[list[Glob], Field(max_length=1000)] = []
    read_logs: Annotated[
        ReadLogs | None,
        Field(
            description="When logs of tasks are read from Airflow. on_failure: of a failed task at once, and when "
            "somebody asks; on_demand: when somebody asks; off: never. null: on_failure from Airflow 3.2 on, which "
            "streams logs; on_demand before, where a large log can take all memory of the server."
        ),
    ] = None
    web_url: Annotated[Url | None, Field(description="Where people open Airflow, if not at base_url.")] = None

    @field_validator("ca_certificate")
    @classmethod
    def _has_no_private_key(cls, value: str | None) -> str | None:
        if value is not None and PRIVATE_KEY in value:
            raise ValueError("must hold certificates only, and no private key")
        return value

    @field_validator("base_url", "web_url")
    @classmethod
    def _is_a_url(cls, value: str | None) -> str | None:
        return None if value is None else _clean_url(value)


class PasswordCredentials(BaseModel):
    model_config = ConfigDict(extra="forbid")

    auth_type: Literal["password"]
    username: Annotated[str, Field(min_length=1, max_length=500)]
    password: Annotated[SecretStr, Field(max_length=5000)]


class TokenCredentials(BaseModel):
    model_config = ConfigDict(extra="forbid")

    auth_type: Literal["api_token"]
    token: Annotated[SecretStr, Field(min_length=1, max_length=20_000)]


class NoCredentials(BaseModel):
    model_config = ConfigDict(extra="forbid")

    auth_type: Literal["none"]


class AstronomerCredentials(BaseModel):
    """Astronomer: a Deployment, Workspace or Organization API token."""

    model_config = ConfigDict(extra="forbid")

    auth_type: Literal["astronomer"]
    token: Annotated[SecretStr, Field(min_length=1, max_length=20_000)]


class ServiceAccountKey(BaseModel):
    """The JSON that Google gives as the key of a service account, as it is."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["service_account"]
    client_email: Annotated[str, Field(min_length=3, max_length=500)]
    private_key: Annotated[SecretStr, Field(min_length=1, max_length=20_000)]
    token_uri: Annotated[
        str,
        Field(
            max_length=500,
            examples=["https://oauth2.googleapis.com/token"],
            json_schema_extra={"enum": [*sorted(TOKEN_URIS)]},
        ),
    ]
    private_key_id: _Detail = None
    project_id: _Detail = None
    client_id: _Detail = None
    auth_uri: _Detail = None
    auth_provider_x509_cert_url: _Detail = None
    client_x509_cert_url: _Detail = None
    universe_domain: Annotated[
        Annotated[str, Field(json_schema_extra={"const": PUBLIC_CLOUD})] | None,
        Field(description="Only the public cloud."),
    ] = None

    @field_validator("token_uri")
    @classmethod
    def _is_of_google(cls, value: str) -> str:
        if value not in TOKEN_URIS:
            raise ValueError("is not Google's: it must be https://oauth2.googleapis.com/token")
        return value

    @field_validator("universe_domain")
    @classmethod
    def _is_the_public_cloud(cls, value: str | None) -> str | None:
        if value not in {None, PUBLIC_CLOUD}:
            raise ValueError(f"must be {PUBLIC_CLOUD}")
        return value


class ComposerCredentials(BaseModel):
    """Google Cloud Composer 2 or 3."""

    model_config = ConfigDict(extra="forbid")

    auth_type: Literal["composer"]
    service_account: Annotated[
        ServiceAccountKey | None,
        Field(description="null: the application default credentials of the machine, where the operator allows that."),
    ]


KEYS_GO_TOGETHER: dict[str, Any] = {
    "if": {"properties": {"access_key_id": {"type": "string"}}, "required": ["access_key_id"]},
    "then": {"properties": {"secret_access_key": {"type": "string"}}, "required": ["secret_access_key"]},
    "else": {"properties": {"secret_access_key": {"type": "null"}, "session_token": {"type": "null"}}},
}


class MwaaCredentials(BaseModel):
    """Amazon MWAA. Without keys AWS's default chain is used, where the operator allows that.

    `access_key_id` and `secret_access_key` go together; `session_token` needs both.
    """

    model_config = ConfigDict(extra="forbid", json_schema_extra=KEYS_GO_TOGETHER)

    auth_type: Literal["mwaa"]
    environment_name: Annotated[str, Field(pattern=r"^[a-zA-Z][0-9a-zA-Z_-]*$", max_length=80)]
    region: Annotated[str, Field(pattern=r"^[a-z]{2,10}(-[a-z]{1,20}){1,3}-[0-9]{1,2}$", examples=["eu-west-1"])]
    access_key_id: Annotated[str | None, Field(pattern=r"^[A-Za-z0-9_]+$", max_length=128)] = None
    secret_access_key: Annotated[SecretStr | None, Field(min_length=1, max_length=500)] = None
    session_token: Annotated[SecretStr | None, Field(min_length=1, max_length=20_000)] = None

    @model_validator(mode="after")
    def _has_both_keys_or_none(self) -> Self:
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise ValueError("access_key_id and secret_access_key go together")
        if self.session_token is not None and self.access_key_id is None:
            raise ValueError("session_token needs access_key_id and secret_access_key")
        return self


Credentials = Annotated[
    PasswordCredentials
    | TokenCredentials
    | NoCredentials
    | AstronomerCredentials
    | ComposerCredentials
    | MwaaCredentials,
    Field(discriminator="auth_type"),
]


def read_logs_setting(setting: ReadLogs | None, provider_version: str | None) -> ReadLogs:
    """The setting, or the default for this version of Airflow; `provider_version` is None before the first sync."""
    if setting is not None:
        return setting
    numbers = tuple(int(part) for part in re.findall(r"[0-9]{1,9}", provider_version or "")[:2])
    return "on_failure" if numbers >= _FIRST_TO_STREAM_LOGS else "on_demand"
