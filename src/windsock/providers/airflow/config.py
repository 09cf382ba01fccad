"""What a connector to an Airflow is told: where it is, how to sign in, what to read."""

from typing import Annotated, Literal
from urllib.parse import urlsplit

import httpx2
from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

Glob = Annotated[str, Field(min_length=1, max_length=250)]


def _clean_url(value: str) -> str:
    """An http(s) URL without user, query, fragment, trailing slash, or a pasted /api/vN or /home."""
    parts = urlsplit(value.strip())
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be a URL that starts with http:// or https://, such as https://airflow.example.com")
    try:
        _ = parts.port
    except ValueError as error:
        raise ValueError("has a port that is not a number from 0 to 65535") from error
    if parts.username or parts.password:
        raise ValueError("must not contain a user or password; put them into the credentials")
    try:
        httpx2.URL(value.strip())
    except httpx2.InvalidURL as error:
        raise ValueError("has a host name or a character that no URL can have") from error
    path = parts.path.rstrip("/")
    for tail in ("/api/v1", "/api/v2", "/home", "/api"):
        path = path.removesuffix(tail)
    return f"{parts.scheme}://{parts.netloc}{path.rstrip('/')}"


class AirflowConfig(BaseModel):
    """The config of a connector of type `airflow`."""

    model_config = ConfigDict(extra="forbid")

    base_url: Annotated[str, Field(max_length=2000, description="Where the Airflow webserver or API server answers.")]
    api_version: Literal["auto", "v1", "v2"] = "auto"
    verify_tls: bool = True
    ca_certificate: Annotated[str | None, Field(max_length=100_000, description="PEM of a private authority.")] = None
    timeout_seconds: Annotated[float, Field(ge=1, le=300)] = 30.0
    sync_interval_seconds: Annotated[int, Field(ge=5, le=86_400)] = 60
    history_days: Annotated[int, Field(ge=1, le=3650)] = 14
    include_dags: Annotated[list[Glob], Field(max_length=1000)] = []
    exclude_dags: Annotated[list[Glob], Field(max_length=1000)] = []
    include_tags: Annotated[list[Glob], Field(max_length=1000)] = []
    web_url: Annotated[
        str | None, Field(max_length=2000, description="Where people open Airflow, if not at base_url.")
    ] = None

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


Credentials = Annotated[PasswordCredentials | TokenCredentials | NoCredentials, Field(discriminator="auth_type")]
