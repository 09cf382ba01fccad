"""Forms: reading, validation, showing a refused form again, and confirmation of what cannot be undone."""

import contextlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar

from fastapi import Form, Request, Response
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from starlette.exceptions import HTTPException

from windsock.errors import BadRequest, Conflict, Invalid, NotFound, WindsockError
from windsock.http.validation import check_storable
from windsock.web.templates import REFUSED_HEADERS, is_htmx_partial, render

MAX_FIELDS = 20_000
MAX_DIGITS = 18
"""The largest body that is accepted has room for hardly more."""
MAX_ERROR_CHARACTERS = 300
EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
MAX_EMAIL_CHARACTERS = 320
WHOLE_FORM = ""
"""Key of an error that belongs to no field."""
Model = TypeVar("Model", bound=BaseModel)
Confirmed = Annotated[bool, Form()]


@dataclass(frozen=True, slots=True)
class FormState:
    """A form as it is shown: empty at first, later with the values that were sent and why they were refused.

    `id` tells several forms of a page apart. The macros of forms.html render it.
    """

    values: Mapping[str, str] = field(default_factory=dict)
    errors: Mapping[str, str] = field(default_factory=dict)
    id: str = "form"

    @property
    def status_code(self) -> int:
        return 422 if self.errors else 200

    def for_id(self, form_id: str) -> "FormState":
        """This form if it has this id, else an empty one: for a page with several forms."""
        return self if self.id == form_id else FormState(id=form_id)


class FormInvalid(WindsockError):
    """Raised for a form that is refused, with a sentence for each field; a route catches it and shows the form again.

    Elsewhere it becomes an error page.
    """

    status = 422

    def __init__(self, errors: Mapping[str, str]) -> None:
        super().__init__(" ".join(errors.values()))
        self.errors = dict(errors)


def is_number(text: str) -> bool:
    """Whether int() reads it: not more digits than it converts."""
    return text.isdecimal() and len(text) <= MAX_DIGITS


async def read_form(request: Request) -> dict[str, str]:
    """Each field's last value. Raises BadRequest for a form that cannot be read, and for text that cannot be stored."""
    return dict(await read_fields(request))


async def read_fields(request: Request) -> list[tuple[str, str]]:
    """As read_form, with all values of a field that is sent several times."""
    try:
        async with request.form(max_files=0, max_fields=MAX_FIELDS) as form:
            values = [(name, value) for name, value in form.multi_items() if isinstance(value, str)]
    except HTTPException as error:
        raise BadRequest(f"The form cannot be read: {error.detail}") from None
    for name, text in values:
        try:
            check_storable(name + text)
        except ValueError as error:
            raise BadRequest(f"A value {error}.") from None
    return values


def validate_form(model: type[Model], values: Mapping[str, str]) -> Model:
    """Return the model of the fields it knows; empty fields take their defaults. Raises FormInvalid."""
    known = {name: values[name].strip() for name in model.model_fields if values.get(name, "").strip()}
    try:
        return model.model_validate(known)
    except ValidationError as error:
        raise FormInvalid(field_errors(error)) from None


def field_errors(error: ValidationError) -> dict[str, str]:
    """Return a sentence for each field, the first of several. None repeats the value, which may be a credential."""
    errors: dict[str, str] = {}
    for detail in error.errors(include_url=False, include_input=False):
        errors.setdefault(str(detail["loc"][0]) if detail["loc"] else WHOLE_FORM, _sentence(detail))
    return errors


@contextlib.contextmanager
def errors_at(name: str = WHOLE_FORM) -> Iterator[None]:
    """Turn what a store refuses (Conflict, BadRequest, NotFound, Invalid) into an error of this field."""
    try:
        yield
    except (BadRequest, Conflict, NotFound, Invalid) as error:
        raise FormInvalid({name: str(error)}) from None


def check_email(text: str) -> str:
    """Return the address in lower case, or raise ValueError: a validator of form models."""
    if not EMAIL.fullmatch(text) or len(text) > MAX_EMAIL_CHARACTERS:
        raise ValueError("enter an e-mail address, such as ada@example.com")
    return text.lower()


def _sentence(detail: ErrorDetails) -> str:
    limits: dict[str, Any] = detail.get("ctx", {})
    sentences = {
        "missing": "Fill in this field.",
        "string_too_short": "Fill in this field.",
        "string_too_long": "Use at most {max_length} characters.",
        "int_parsing": "Enter a whole number.",
        "int_parsing_size": "Enter a smaller number.",
        "int_from_float": "Enter a whole number.",
        "float_parsing": "Enter a number.",
        "greater_than_equal": "Enter {ge} or more.",
        "less_than_equal": "Enter {le} or less.",
        "literal_error": "Choose one of the list.",
        "bool_parsing": "Choose yes or no.",
        "uuid_parsing": "Choose one of the list.",
    }
    if text := sentences.get(detail["type"]):
        return text.format(**limits)
    message = detail["msg"].removeprefix("Value error, ")[:MAX_ERROR_CHARACTERS]
    return f"{message[:1].upper()}{message[1:].rstrip('.')}."


def render_confirmation(
    request: Request,
    context: Mapping[str, Any],
    *,
    title: str,
    consequence: str,
    action: str,
    back: str,
    fields: Mapping[str, str] | None = None,
) -> Response:
    """Ask before a POST that cannot be undone: a page, or a dialog for htmx.

    Its form sends the same request again, with `fields` and `confirmed`; the route takes that as a `Confirmed` field.
    """
    template = "confirm_form.html" if is_htmx_partial(request) else "confirm.html"
    return render(
        request, template, headers=REFUSED_HEADERS, **context, title=title, consequence=consequence,
        action=action, back=back, fields=fields or {},
    )  # fmt: skip


def with_newlines(text: str) -> str:
    """Browsers send every line break of a form as CR LF, whatever stood there."""
    return text.replace("\r\n", "\n").replace("\r", "\n")
