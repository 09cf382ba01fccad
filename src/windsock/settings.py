"""Every setting, read once from the environment (WINDSOCK_…), with its unit."""

import os
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal

from platformdirs import user_data_path
from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


def _default_data_dir() -> Path:
    """A service's folder for root, since others cannot look into root's home; else the platform's own."""
    return Path("/var/lib/windsock") if os.name == "posix" and os.geteuid() == 0 else user_data_path("windsock")


class Settings(BaseSettings):
    """One field per setting; the environment variable is WINDSOCK_ and the field's name in capitals."""

    model_config = SettingsConfigDict(env_prefix="WINDSOCK_", env_ignore_empty=True, extra="ignore", frozen=True)

    data: Annotated[
        Path, Field(description="Folder of the embedded PostgreSQL and of the key file; `--data` on every command.")
    ] = Field(default_factory=_default_data_dir)
    database_url: Annotated[
        SecretStr | None,
        Field(description="An external PostgreSQL (≥ 15) as its owner; without it the embedded one is used."),
    ] = None
    database_app_url: Annotated[
        SecretStr | None,
        Field(
            description="How the application connects to the external PostgreSQL; without it Windsock makes the role "
            "`<database>_app` itself, for which the owner needs CREATEROLE."
        ),
    ] = None
    database_pool_size: Annotated[int, Field(ge=2, le=200, description="Connections per process, at most.")] = 10
    secret_keys: Annotated[
        SecretStr | None,
        Field(
            description="Fernet keys, comma-separated: the first encrypts, all decrypt. Without it a key file with "
            "mode 0600 in the data folder is used. Every process of one installation needs the same keys."
        ),
    ] = None
    host: Annotated[str, Field(description="Address `windsock serve` listens on.")] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535, description="Port `windsock serve` listens on.")] = 8420
    log_format: Annotated[
        Literal["auto", "json", "text"], Field(description="auto: text on a terminal, else JSON lines.")
    ] = "auto"
    log_level: Annotated[Literal["debug", "info", "warning", "error"], Field(description="Least level logged.")] = (
        "info"
    )
    max_body_bytes: Annotated[int, Field(ge=1024, description="Largest request body accepted, in bytes.")] = 1_048_576
    worker_concurrency: Annotated[
        int, Field(ge=1, le=100, description="Syncs a worker runs at the same time; they mostly wait for Airflow.")
    ] = 16
    max_connectors_per_space: Annotated[
        int, Field(ge=1, le=10_000, description="Connectors that a space may have; those it has beyond stay.")
    ] = 200
    machine_identity: Annotated[
        bool,
        Field(
            description="Whether connectors without keys may sign in to MWAA and Cloud Composer as the machine "
            "on which Windsock runs; every editor of every space can then use what that machine may do there."
        ),
    ] = False
    egress_allow: Annotated[
        str | None,
        Field(
            description="Where Windsock may connect to: networks, host names (also `*.example.com`), and the words "
            "`public`, `private`, `loopback`, comma-separated. Without it `public,private`, and `loopback` while "
            "Windsock itself listens on loopback only."
        ),
    ] = None
    egress_deny: Annotated[
        str | None, Field(description="Where Windsock never connects to, in the same form; wins over what is allowed.")
    ] = None

    public_url: Annotated[
        str | None,
        Field(
            pattern=r"^https?://[^\s/?#]+(/[^\s?#]*)?$",
            description="The address at which people open Windsock, such as `https://windsock.example.com`: for links "
            "in messages. Without it `http://` with host and port.",
        ),
    ] = None
    notification_egress_allow: Annotated[
        str,
        Field(
            description="Where channels of notifications may connect to, in the form of `WINDSOCK_EGRESS_ALLOW`; "
            "`WINDSOCK_EGRESS_DENY` wins here too."
        ),
    ] = "public"
    smtp_host: Annotated[
        str | None, Field(description="The server that sends e-mail; without it Windsock sends none.")
    ] = None
    smtp_port: Annotated[int, Field(ge=1, le=65535, description="Port of the SMTP server.")] = 587
    smtp_security: Annotated[
        Literal["starttls", "tls", "none"],
        Field(description="Encryption of the connection to the SMTP server; `none` only within a machine."),
    ] = "starttls"
    smtp_username: Annotated[str | None, Field(description="Account on the SMTP server, if it wants one.")] = None
    smtp_password: Annotated[SecretStr | None, Field(description="Password of that account.")] = None
    smtp_ca_file: Annotated[
        Path | None, Field(description="Certificates that sign that of the SMTP server, if the system lacks them.")
    ] = None
    mail_from: Annotated[str, Field(description="Sender of e-mail.")] = "windsock@localhost"

    @property
    def base_url(self) -> str:
        """The beginning of links in messages, without a slash at the end."""
        return (self.public_url or f"http://{self.host}:{self.port}").rstrip("/")

    @property
    def listens_on_loopback(self) -> bool:
        """Whether only programs of this machine can connect to `windsock serve`."""
        host = self.host.strip("[]").lower().rstrip(".")
        try:
            return ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"
