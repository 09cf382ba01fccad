"""The parameters of a DAG as fields of a form, and a form as the conf of a run."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from windsock.errors import BadRequest
from windsock.providers.contract import ProviderParam

Kind = Literal["text", "lines", "number", "flag", "json", "choice"]
PREFIX = "param:"
"""Of a field's name: `param:<kind>[?]:<name>`; the question mark where the parameter may be null."""


@dataclass(frozen=True, slots=True)
class Choice:
    value: str
    text: str


@dataclass(frozen=True, slots=True)
class Field:
    """`value` as the form holds it: text, or JSON for what is not text."""

    field: str
    label: str
    kind: Kind
    value: str
    is_required: bool
    description: str | None
    choices: tuple[Choice, ...]
    attributes: dict[str, str]


def a_field(param: ProviderParam, drafted: dict[str, str]) -> Field:
    """`drafted`: what somebody filled in before, by the name of the field."""
    types = param.schema.get("type")
    named = [one for one in (types if isinstance(types, list) else [types]) if isinstance(one, str)]
    is_nullable, kinds = "null" in named, [one for one in named if one != "null"]
    choices = param.schema.get("enum")
    kind = _kind(param, kinds)
    shown = tuple(Choice(_json(one), _plainly(one)) for one in choices) if isinstance(choices, list) else ()
    field = f"{PREFIX}{kind}{'?' if is_nullable else ''}:{param.name}"
    limits = {"minimum": "min", "maximum": "max"} if kind == "number" else {"maxLength": "maxlength"}
    attributes = {
        name: str(param.schema[key]) for key, name in limits.items() if isinstance(param.schema.get(key), int)
    }
    if kind == "number":
        attributes["step"] = "1" if kinds == ["integer"] else "any"
    title = param.schema.get("title")
    return Field(
        field=field,
        label=title if isinstance(title, str) else param.name,
        kind=kind,
        value=drafted.get(field, _shown(param.value, kind)),
        is_required=bool(kinds) and not is_nullable and param.value is None and kind != "flag",
        description=param.description or _text_or_none(param.schema.get("description")),
        choices=shown,
        attributes=attributes,
    )


def _kind(param: ProviderParam, kinds: list[str]) -> Kind:
    if isinstance(param.schema.get("enum"), list):
        return "choice"
    if len(kinds) == 1:
        if kinds[0] == "string" and isinstance(param.value, str | None):
            return "lines" if param.schema.get("format") == "multiline" else "text"
        if kinds[0] in {"integer", "number"}:
            return "number"
        if kinds[0] == "boolean":
            return "flag"
    return "text" if not kinds and isinstance(param.value, str) else "json"


def _shown(value: object, kind: Kind) -> str:
    if kind == "choice":
        return _json(value)
    if value is None:
        return ""
    return value if isinstance(value, str) and kind in {"text", "lines"} else _json(value)


def _json(value: object) -> str:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 if isinstance(value, dict) else 0).decode()


def _plainly(value: object) -> str:
    return value if isinstance(value, str) else _json(value)


def _text_or_none(value: object) -> str | None:
    return value if isinstance(value, str) else None


def conf_of(fields: Iterable[tuple[str, str]], more: str) -> dict[str, Any]:
    """What a form says. Raises BadRequest for what is not JSON where it has to be."""
    conf: dict[str, Any] = {}
    for field, text in fields:
        kind, _, name = field.removeprefix(PREFIX).partition(":")
        is_nullable, kind = kind.endswith("?"), kind.removesuffix("?")
        if kind in {"text", "lines"}:
            conf[name] = None if not text and is_nullable else text
        elif text.strip():
            conf[name] = _read(text, name)
        elif is_nullable:
            conf[name] = None
    if more.strip():
        other = _read(more, "Other conf")
        if not isinstance(other, dict):
            raise BadRequest('Other conf is no JSON object, such as {"country": "FR"}.')
        conf |= other
    return conf


def _read(text: str, name: str) -> Any:  # noqa: ANN401 - JSON
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        raise BadRequest(f'{name} is not JSON: text stands in double quotes, as in ["a", "b"].') from None
