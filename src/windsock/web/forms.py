"""Forms whose fields are not known beforehand."""

from fastapi import Request

from windsock.errors import BadRequest
from windsock.inputs import storable

MOST_FIELDS = 300


async def read_form(request: Request) -> dict[str, str]:
    """Each field's last value. Raises BadRequest for text that could not be stored."""
    async with request.form(max_files=0, max_fields=MOST_FIELDS) as form:
        given = {name: value for name, value in form.items() if isinstance(value, str)}
    for name, text in given.items():
        try:
            storable(name + text)
        except ValueError as error:
            raise BadRequest(f"A value {error}.") from None
    return given
