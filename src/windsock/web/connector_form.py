"""Adding and changing an Airflow connector: a form, a test of what is in it, and what to check where it fails."""

from json import JSONDecodeError
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request, Response
from pydantic import ValidationError

from windsock.auth.authenticator import Space
from windsock.auth.permissions import PageAdminister, PageEdit
from windsock.connectors.models import ConnectorChange, ConnectorIn
from windsock.connectors.store import (
    QUERIES,
    change_connector,
    create_connector,
    get_connector,
    load_connector,
    validate_config,
    validate_credentials,
)
from windsock.errors import BadRequest, Conflict, Invalid
from windsock.http.validation import parse_json
from windsock.providers.airflow import Diagnosis
from windsock.web.forms import WHOLE_FORM, FormInvalid, FormState, field_errors, read_form
from windsock.web.layout import layout_context
from windsock.web.templates import is_htmx_partial, redirect, render, to_jsonable

router = APIRouter(include_in_schema=False, prefix="/spaces/{slug}/connectors")

NUMBERS = {"sync_interval_seconds", "history_days", "timeout_seconds"}
LISTS = {"include_dags", "exclude_dags", "include_tags"}
TEXTS = {"base_url", "web_url", "read_logs"}
OPTIONAL = {"web_url", "read_logs"}
"""Null where the form leaves them empty."""
SHOWN = {"sync_interval_seconds": 60, "history_days": 14, "timeout_seconds": 30}
"""The defaults of AirflowConfig that the form shows."""
EMPTY = dict.fromkeys(("name", "auth_type", "username", "verify_tls", "is_active", *TEXTS, *LISTS), "")
"""What the form shows; SECRETS are not shown again."""
SECRETS = {"password", "token", "credentials"}
REFUSED = (BadRequest, Conflict, Invalid, FormInvalid, ValidationError)
LABELS = {
    "name": "Name", "base_url": "URL", "auth_type": "Sign in with", "username": "User name", "password": "Password",
    "token": "Token", "credentials": "Credentials", "sync_interval_seconds": "Seconds between syncs",
    "history_days": "Days of history", "timeout_seconds": "Time-out", "include_dags": "Only these DAGs",
    "exclude_dags": "Not these DAGs", "include_tags": "Only DAGs with these tags", "web_url": "URL for links",
    "read_logs": "Read logs of tasks",
}  # fmt: skip
"""By field, as the page has them."""


@router.get("/new")
async def show_new(request: Request, space: PageEdit) -> Response:
    return await _page(request, space, None, {"auth_type": "password", "verify_tls": "true"})


@router.post("/new")
async def create(request: Request, space: PageEdit) -> Response:
    form = await read_form(request)
    try:
        config, credentials = _config_of(form), _credentials_of(form)
        body = ConnectorIn(name=form.get("name", ""), connector_type="airflow", config=config, credentials=credentials)
        if form.get("action") == "test":
            return await _test_connection(request, space, None, form, config, credentials)
        limit = request.app.state.settings.max_connectors_per_space
        async with space.transaction() as tx:
            row = await create_connector(tx, space.id, body, request.app.state.secrets, limit=limit)
    except REFUSED as error:
        return await _form_error(request, space, None, form, error)
    return redirect(f"/spaces/{space.slug}/connectors/{row['id']}", "connector_saved")


@router.get("/{connector_id}/edit")
async def show_edit(request: Request, space: PageEdit, connector_id: UUID) -> Response:
    connector = await _connector(space, connector_id)
    return await _page(request, space, connector, _form_values(connector))


@router.post("/{connector_id}/edit")
async def change(request: Request, space: PageEdit, connector_id: UUID) -> Response:
    """Credentials that are left empty stay, unless the address changes: they are for the old one alone."""
    connector = await _connector(space, connector_id)
    form = await read_form(request)
    try:
        config, credentials = _config_of(form), _credentials_of(form)
        body = ConnectorChange(
            name=form.get("name", ""), config=config, credentials=credentials,
            is_active=form.get("is_active") == "true",
        )  # fmt: skip
        if form.get("action") == "test":
            return await _test_connection(request, space, connector, form, config, credentials)
        async with space.transaction() as tx:
            await change_connector(tx, space.id, connector_id, body, request.app.state.secrets)
    except REFUSED as error:
        return await _form_error(request, space, connector, form, error)
    return redirect(f"/spaces/{space.slug}/connectors/{connector_id}", "connector_saved")


@router.post("/{connector_id}/delete")
async def delete(request: Request, space: PageAdminister, connector_id: UUID) -> Response:
    """With everything it mirrored; therefore its name has to be typed."""
    connector = await _connector(space, connector_id)
    form = await read_form(request)
    if form.get("again") != connector["name"]:
        sentence = f"Type {connector['name']} to delete this connector."
        return await _page(request, space, connector, _form_values(connector), errors={"again": sentence})
    async with space.transaction() as tx:
        await tx.execute(QUERIES["delete_connector"], space_id=space.id, connector_id=connector_id)
    return redirect(f"/spaces/{space.slug}/connectors", "connector_deleted")


async def _test_connection(
    request: Request,
    space: Space,
    connector: dict[str, Any] | None,
    form: dict[str, str],
    config: dict[str, Any],
    credentials: dict[str, Any] | None,
) -> Response:
    """Of what is in the form; nothing is stored."""
    checked, opened = validate_config(config), validate_credentials(credentials)
    if connector is not None and credentials is None and connector["has_credentials"]:
        if checked.base_url != connector["config"].get("base_url"):
            raise FormInvalid({"auth_type": "Give the credentials again: the saved ones are only for the old URL."})
        async with space.transaction() as tx:
            stored = await load_connector(tx, space.id, UUID(connector["id"]), request.app.state.secrets)
        opened = stored.credentials
    found = await request.app.state.diagnose(checked, opened)
    if is_htmx_partial(request):
        return render(request, "connection_test.html", result=found, complaint=None)
    return await _page(request, space, connector, form, diagnosis=found)


async def _form_error(
    request: Request, space: Space, connector: dict[str, Any] | None, form: dict[str, str], error: Exception
) -> Response:
    errors = _errors_by_field(form, error)
    if form.get("action") == "test" and is_htmx_partial(request):
        return render(request, "connection_test.html", result=None, complaint=_sentence(errors))
    return await _page(request, space, connector, form, errors=errors)


def _errors_by_field(form: dict[str, str], error: Exception) -> dict[str, str]:
    """Return why a form is refused, for each field; what concerns no field is an error of the whole form."""
    if isinstance(error, FormInvalid):
        return error.errors
    if isinstance(error, ValidationError):
        return field_errors(error)
    if isinstance(error, Invalid):
        names = [str(part) for part in error.loc[1:] if part in LABELS]
        is_typed_as_json = form.get("auth_type") == "other" and "credentials" in names
        name = "credentials" if is_typed_as_json else names[-1] if names else WHOLE_FORM
        if name == "credentials" and not is_typed_as_json:
            name = "auth_type"
        return {name: str(error)}
    field = error.field if isinstance(error, Conflict) else None
    return {field or WHOLE_FORM: str(error)}


def _sentence(errors: dict[str, str]) -> str:
    return " ".join(f"{LABELS[name]}: {text}" if name in LABELS else text for name, text in errors.items())


async def _connector(space: Space, connector_id: UUID) -> dict[str, Any]:
    async with space.transaction() as tx:
        found: dict[str, Any] = to_jsonable(await get_connector(tx, space.id, connector_id))
    if found["connector_type"] != "airflow":
        raise BadRequest("Only Airflow connectors can be changed here.")
    return found


def _config_of(form: dict[str, str]) -> dict[str, Any]:
    """Return the input of AirflowConfig; empty fields take its defaults."""
    config: dict[str, Any] = {"verify_tls": form.get("verify_tls") == "true"}
    for name in TEXTS:
        config[name] = form.get(name, "").strip() or None
    for name in LISTS:
        config[name] = form.get(name, "").split()
    for name in NUMBERS:
        config[name] = _number(form.get(name, "").strip()) if form.get(name, "").strip() else SHOWN[name]
    if config["base_url"] is None:
        raise FormInvalid({"base_url": "Give the URL of the Airflow, such as https://airflow.example.com."})
    return {name: value for name, value in config.items() if value is not None or name in OPTIONAL}


def _number(text: str) -> float | str:
    """The text itself where it is no number: AirflowConfig says so."""
    try:
        return float(text)
    except ValueError:
        return text


def _credentials_of(form: dict[str, str]) -> dict[str, Any] | None:
    """None where nothing was typed."""
    kind = form.get("auth_type", "")
    if kind == "none":
        return {"auth_type": "none"}
    if kind == "password":
        if not form.get("username") and not form.get("password"):
            return None
        return {"auth_type": kind, "username": form.get("username", ""), "password": form.get("password", "")}
    if kind in {"api_token", "astronomer"}:
        return {"auth_type": kind, "token": form["token"].strip()} if form.get("token", "").strip() else None
    if not form.get("credentials", "").strip():
        return None
    try:
        read = parse_json(form["credentials"])
    except JSONDecodeError:
        raise FormInvalid({"credentials": "This is no JSON."}) from None
    except ValueError as error:
        raise FormInvalid({"credentials": f"The credentials {error}."}) from None
    if not isinstance(read, dict):
        raise FormInvalid({"credentials": "This is no JSON object."})
    return read


def _form_values(connector: dict[str, Any]) -> dict[str, str]:
    """The form of what there is; never its credentials."""
    config = connector["config"]
    return {
        "name": connector["name"],
        "auth_type": "keep" if connector["has_credentials"] else "none",
        "verify_tls": "true" if config.get("verify_tls", True) else "false",
        "is_active": "true" if connector["is_active"] else "false",
        **{name: config.get(name) or "" for name in TEXTS},
        **{name: "\n".join(config.get(name) or []) for name in LISTS},
        **{name: f"{config.get(name) or SHOWN[name]:g}" for name in NUMBERS},
    }


async def _page(
    request: Request,
    space: Space,
    connector: dict[str, Any] | None,
    form: dict[str, str],
    *,
    diagnosis: Diagnosis | None = None,
    errors: dict[str, str] | None = None,
) -> Response:
    values = {name: value for name, value in form.items() if name not in SECRETS}
    defaults = EMPTY | {name: str(value) for name, value in SHOWN.items()}
    state = FormState(defaults | values, errors or {}, "connector")
    return render(
        request, "connector_form.html", status_code=state.status_code, **await layout_context(space),
        connector=connector, form=state, labels=LABELS, result=diagnosis, complaint=None,
    )  # fmt: skip
