"""Reads credentials for `windsock connector add` from options, environment variables or the terminal."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

import click
from click.core import ParameterSource

from windsock.http.validation import parse_json

OPTIONS_OF: Mapping[str, tuple[str, ...]] = {
    "none": (),
    "password": ("username", "password"),
    "api_token": ("token",),
    "astronomer": ("token",),
    "composer": ("service_account",),
    "mwaa": ("environment_name", "region", "access_key_id", "secret_access_key", "session_token"),
}
"""By the API's `auth_type`."""
MANAGED = ("astronomer", "composer", "mwaa")

PASSWORD, TOKEN = "WINDSOCK_AIRFLOW_PASSWORD", "WINDSOCK_AIRFLOW_TOKEN"
SECRET_KEY, SESSION = "WINDSOCK_AIRFLOW_SECRET_ACCESS_KEY", "WINDSOCK_AIRFLOW_SESSION_TOKEN"

_options = (
    click.option(
        "--auth",
        type=click.Choice(MANAGED),
        help="A managed Airflow: Astronomer, Google Cloud Composer (install windsock[composer]), "
        "Amazon MWAA (windsock[mwaa]).",
    ),
    click.option("--username", help="Sign in with a password: --password, or it is asked for."),
    click.option("--password", envvar=PASSWORD, show_envvar=True, help="Better given in the environment."),
    click.option(
        "--token",
        envvar=TOKEN,
        show_envvar=True,
        help="Sign in with an API token instead. For --auth astronomer it is asked for if it is missing.",
    ),
    click.option(
        "--service-account",
        type=click.File("rb"),
        metavar="FILE",
        help="For --auth composer: the JSON key of a service account, or - for standard input.  "
        "[default: the machine's identity]",
    ),
    click.option("--environment-name", help="For --auth mwaa: what the environment is called in AWS."),
    click.option("--region", help="For --auth mwaa: such as eu-west-1."),
    click.option("--access-key-id", help="For --auth mwaa.  [default: the machine's identity]"),
    click.option(
        "--secret-access-key",
        envvar=SECRET_KEY,
        show_envvar=True,
        help="Of --access-key-id; better given in the environment, or it is asked for.",
    ),
    click.option("--session-token", envvar=SESSION, show_envvar=True, help="Of a temporary --access-key-id."),
)


def with_credentials(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command the `credentials` of a connector, as the API takes them; a contradiction is wrong usage."""

    @functools.wraps(function)
    def command(auth: str | None, **parameters: Any) -> None:  # noqa: ANN401 - options
        names = {name for names in OPTIONS_OF.values() for name in names}
        options = {name: parameters.pop(name) for name in names}
        function(credentials=_credentials(auth, options), **parameters)

    for option in reversed(_options):
        command = option(command)
    return command


def _credentials(auth: str | None, options: Mapping[str, Any]) -> dict[str, Any]:
    kind = auth or _kind_of(options)
    _refuse_what_does_not_belong(auth, kind)
    match kind:
        case "password":
            password = options["password"] or _ask("Password", PASSWORD)
            return {"auth_type": kind, "username": options["username"], "password": password}
        case "api_token" | "astronomer":
            return {"auth_type": kind, "token": _ask("Token", TOKEN) if options["token"] is None else options["token"]}
        case "composer":
            return {"auth_type": kind, "service_account": _json_of(options["service_account"])}
        case "mwaa":
            return {"auth_type": kind, **_of_mwaa(options)}
    return {"auth_type": kind}


def _kind_of(options: Mapping[str, Any]) -> str:
    if options["username"] is not None:
        return "password"
    return "none" if options["token"] is None else "api_token"


def _refuse_what_does_not_belong(auth: str | None, kind: str) -> None:
    """Only what was typed: a variable may be there for another connector."""
    context = click.get_current_context()
    for name in context.params:
        owners = [owner for owner, names in OPTIONS_OF.items() if name in names]
        is_typed = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if not owners or kind in owners or not is_typed:
            continue
        if auth is not None:
            takes = ", ".join(_option(option) for option in OPTIONS_OF[auth])
            raise click.UsageError(f"{_option(name)} does not go with --auth {auth}, which takes {takes}.")
        if owners[0] in MANAGED:
            raise click.UsageError(f"{_option(name)} is of a managed Airflow: add --auth {owners[0]}.")
        raise click.UsageError("Sign in either with --username and --password, or with --token.")


def _of_mwaa(options: Mapping[str, Any]) -> dict[str, Any]:
    if options["environment_name"] is None or options["region"] is None:
        raise click.UsageError("--auth mwaa needs --environment-name and --region.")
    found = {name: options[name] for name in OPTIONS_OF["mwaa"]}
    if found["access_key_id"] is None:
        # Even if only a variable says it: who gave a secret does not expect the machine to sign in as itself.
        if found["secret_access_key"] is not None or found["session_token"] is not None:
            raise click.UsageError(
                f"A secret access key or session token needs --access-key-id; unset {SECRET_KEY} and {SESSION} to sign "
                "in as the machine."
            )
    elif found["secret_access_key"] is None:
        found["secret_access_key"] = _ask("Secret access key", SECRET_KEY)
    return found


def _json_of(file: BinaryIO | None) -> Any:  # noqa: ANN401 - any JSON
    if file is None:
        return None
    try:
        return parse_json(file.read())
    except ValueError:
        raise click.UsageError("--service-account is no JSON: give the file that Google made for the key.") from None


def _ask(words: str, variable: str) -> str:
    """On standard error, so that --json stays one value."""
    try:
        secret: str = click.prompt(words, hide_input=True, err=True)
    except click.Abort as aborted:
        if isinstance(aborted.__context__, EOFError):  # else Ctrl-C
            raise click.UsageError(f"Nobody is here to be asked: set {variable}.") from None
        raise
    return secret


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")
