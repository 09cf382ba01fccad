"""Forms whose fields are not known beforehand, and what browsers do to text."""

from fastapi import Request
from starlette.exceptions import HTTPException

from windsock.errors import BadRequest
from windsock.http.validation import check_storable

MAX_FIELDS = 20_000
"""The largest body that is accepted has room for hardly more."""


async def read_form(request: Request) -> dict[str, str]:
    """Each field's last value. Raises BadRequest for a form that cannot be read, and for text that cannot be stored."""
    try:
        async with request.form(max_files=0, max_fields=MAX_FIELDS) as form:
            values = {name: value for name, value in form.items() if isinstance(value, str)}
    except HTTPException as error:
        raise BadRequest(f"The form cannot be read: {error.detail}") from None
    for name, text in values.items():
        try:
            check_storable(name + text)
        except ValueError as error:
            raise BadRequest(f"A value {error}.") from None
    return values


def with_newlines(text: str) -> str:
    """Browsers send every line break of a form as CR LF, whatever stood there."""
    return text.replace("\r\n", "\n").replace("\r", "\n")
