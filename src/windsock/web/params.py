"""The parameters of a DAG as fields of a form, and a form as the conf of a run."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from json import JSONDecodeError
from typing import Any, Literal

import orjson

from windsock.errors import BadRequest
from windsock.http.responses import dump_json
from windsock.http.validation import is_storable, parse_json
from windsock.providers.scopes import ProviderParam
from windsock.web.forms import with_newlines

Kind = Literal["text", "lines", "number", "flag", "json", "choice"]
PREFIX = "param:"
"""Of a field's name: `param:<kind>[?]:<name>`; the question mark where the parameter may be null."""
DEFAULTS = "defaults"
"""The name of the field with the defaults that the text of a form cannot hold."""
EXACT = 2**53
"""Whole numbers up to this one are the same in a browser."""
REPLACED = re.compile(r"\ufffd|^-?\d{19,}$|^(NaN|-?Infinity|-?inf|nan)$")
"""Text that may stand for what cannot be stored, such as a number beyond 64 bits: see providers.airflow.values."""


@dataclass(frozen=True, slots=True)
class Choice:
    value: str
    text: str


@dataclass(frozen=True, slots=True)
class Field:
    """`value` as the form holds it: text, or JSON for what is not text. `default` is what `shown` stands for."""

    field: str
    label: str
    kind: Kind
    value: str
    is_required: bool
    is_nullable: bool
    description: str | None
    choices: tuple[Choice, ...]
    attributes: dict[str, str]
    shown: str
    default: Any


def form_field(param: ProviderParam, drafted: Mapping[str, str]) -> Field:
    """`drafted`: values entered before, by field name."""
    types = param.schema.get("type")
    named = [name for name in (types if isinstance(types, list) else [types]) if isinstance(name, str)]
    is_nullable, kinds = "null" in named, [name for name in named if name != "null"]
    kind = _kind(param, kinds)
    field = f"{PREFIX}{kind}{'?' if is_nullable else ''}:{_escaped(param.name)}"
    title = param.schema.get("title")
    shown = _shown(param.value, kind)
    return Field(
        field=field,
        label=title if isinstance(title, str) else param.name,
        kind=kind,
        value=drafted.get(field, shown),
        is_required=bool(kinds) and not is_nullable and param.value is None,
        is_nullable=is_nullable,
        description=param.description or _text_or_none(param.schema.get("description")),
        choices=_choices(param, shown) if kind == "choice" else (),
        attributes=_attributes(param, kind, kinds),
        shown=shown,
        default=param.value,
    )


def _kind(param: ProviderParam, kinds: list[str]) -> Kind:
    """A control that can hold the default; JSON where none can."""
    value = param.value
    if isinstance(param.schema.get("enum"), list):
        return "choice"
    if len(kinds) == 1:
        if kinds[0] == "string" and isinstance(value, str | None):
            is_long = param.schema.get("format") == "multiline" or "\n" in (value or "") or "\r" in (value or "")
            return "lines" if is_long else "text"
        if kinds[0] in {"integer", "number"} and _is_exact_number(value):
            return "number"
        if kinds[0] == "boolean" and isinstance(value, bool | None):
            return "flag"
    if kinds or not isinstance(value, str):
        return "json"
    return "lines" if "\n" in value or "\r" in value else "text"


def _is_exact_number(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= EXACT)


def _choices(param: ProviderParam, shown: str) -> tuple[Choice, ...]:
    """Return the options of the schema, and the default if it is not among them."""
    choices = [Choice(_json(item), _plainly(item)) for item in param.schema["enum"]]
    if param.value is not None and shown not in {item.value for item in choices}:
        choices.insert(0, Choice(shown, _plainly(param.value)))
    return tuple(choices)


def _attributes(param: ProviderParam, kind: Kind, kinds: list[str]) -> dict[str, str]:
    """Return the constraints that the browser checks, except those that the default violates."""
    value, schema = param.value, param.schema
    size = len(value.encode("utf-16-le")) // 2 if isinstance(value, str) else 0
    low, high, longest = (_limit(schema.get(name)) for name in ("minimum", "maximum", "maxLength"))
    if kind == "text":
        return {"maxlength": str(longest)} if longest is not None and size <= longest else {}
    if kind != "number":
        return {}
    attributes = {"step": "1" if kinds == ["integer"] and not isinstance(value, float) else "any"}
    if low is not None and (value is None or value >= low):
        attributes["min"] = str(low)
    if high is not None and (value is None or value <= high):
        attributes["max"] = str(high)
    return attributes


def _limit(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _shown(value: object, kind: Kind) -> str:
    if kind == "choice":
        return _json(value)
    if value is None:
        return ""
    return value if isinstance(value, str) and kind in {"text", "lines"} else _json(value)


def _json(value: object) -> str:
    try:
        return orjson.dumps(value, option=orjson.OPT_INDENT_2 if isinstance(value, dict) else 0).decode()
    except orjson.JSONEncodeError:  # nested deeper than its 254 levels
        return dump_json(value).decode()


def _plainly(value: object) -> str:
    return value if isinstance(value, str) else _json(value)


def _text_or_none(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _escaped(name: str) -> str:
    """As in JSON where it has a character that a form would change."""
    return name if name.isprintable() and "\\" not in name else _json(name)[1:-1]


def _unescaped(name: str) -> str:
    if "\\" not in name:
        return name
    try:
        return str(orjson.loads(f'"{name}"'))
    except orjson.JSONDecodeError:
        raise BadRequest("A field of the form has a name that cannot be understood.") from None


def inexact_defaults(fields: Iterable[Field]) -> str:
    """JSON of the defaults, by field, that would not come back from the form as they are; empty where all do."""
    defaults = {item.field: item.default for item in fields if not _comes_back(item)}
    return _json(defaults) if defaults else ""


def _comes_back(field: Field) -> bool:
    if not _is_sendable(field.default):
        return False
    sent = dict(_values([(field.field, field.shown)]))
    return [_json(value) for value in sent.values()] == [_json(field.default)]


def _is_sendable(value: object) -> bool:
    """Return the value unchanged: in range for storage, and not altered by reading."""
    return is_storable(value) and not _may_be_replaced(value)


def _may_be_replaced(value: object) -> bool:
    if isinstance(value, str):
        return REPLACED.search(value) is not None
    if isinstance(value, dict):
        return any(map(_may_be_replaced, (*value, *value.values())))
    return isinstance(value, list) and any(map(_may_be_replaced, value))


def parse_conf(fields: Iterable[tuple[str, str]], more: str, defaults: str = "") -> dict[str, Any]:
    """Parse a form field; `defaults` is inexact_defaults. Raises BadRequest for invalid JSON.

    A field that is as it was shown gives its default. One whose default cannot be sent is left out: Airflow takes its
    own default then.
    """
    exact, conf = _read_defaults(defaults), {}
    for field, text in fields:
        if field in exact and _is_shown(field, text, exact[field]):
            _, is_nullable, name = _split(field)
            value = exact[field]
            if _is_sendable(value) and (value is not None or is_nullable):
                conf[name] = value
        else:
            conf.update(_values([(field, text)]))
    if more.strip():
        other = _read(more, "Other conf")
        if not isinstance(other, dict):
            raise BadRequest('Other conf is no JSON object, such as {"country": "FR"}.')
        conf |= other
    return conf


def _is_shown(field: str, text: str, default: object) -> bool:
    """Line breaks apart, and the character that no HTML has."""
    shown = _shown(default, _split(field)[0])
    return with_newlines(text) == with_newlines(shown).replace("\0", "\ufffd")


def _read_defaults(text: str) -> dict[str, Any]:
    if not text:
        return {}
    try:
        defaults = orjson.loads(text)  # written by orjson, and possibly deeper than what may be sent
    except orjson.JSONDecodeError:
        defaults = None
    if not isinstance(defaults, dict):
        raise BadRequest("The form was changed on its way. Open it again.")
    return defaults


def _split(field: str) -> tuple[Any, bool, str]:
    """The kind, whether it may be null, and the name of the parameter."""
    kind, _, name = field.removeprefix(PREFIX).partition(":")
    return kind.removesuffix("?"), kind.endswith("?"), _unescaped(name)


def _values(fields: Iterable[tuple[str, str]]) -> Iterable[tuple[str, Any]]:
    for field, text in fields:
        kind, is_nullable, name = _split(field)
        if kind in {"text", "lines"}:
            yield name, None if not text and is_nullable else with_newlines(text)
        elif text.strip():
            yield name, _read(text, name)
        elif is_nullable:
            yield name, None


def _read(text: str, name: str) -> Any:  # noqa: ANN401 - JSON
    try:
        return parse_json(text)
    except JSONDecodeError:
        raise BadRequest(f'{name} is not JSON: text stands in double quotes, as in ["a", "b"].') from None
    except ValueError as error:
        raise BadRequest(f"{name} {error}.") from None
