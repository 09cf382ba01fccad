"""Reads the fields of one row of Airflow's JSON, and collects the names of those that cannot be read."""

from collections.abc import Collection
from datetime import datetime
from typing import Any, Final, Self

from windsock.errors import ProviderBadResponse
from windsock.providers.airflow import parsing
from windsock.providers.base import Json
from windsock.providers.scopes import NOT_MAPPED

MAX_NESTING: Final = 254
"""Levels of a JSON value that are stored: as many as Pydantic can write in an answer. Airflow 3 itself accepts 255."""
MAX_INTEGER: Final = 2**31 - 1
"""PostgreSQL's integer, in which the mirror stores numbers."""


class Fields(dict[str, Any]):
    """One row. A method returns None (or the default) for a field that cannot be read, and adds its name to `unread`.

    What identifies a row has no default: `identity` and `index` raise ProviderBadResponse.
    """

    __slots__ = ("unread",)

    def __init__(self, raw: Json) -> None:
        super().__init__(raw)
        self.unread: list[str] = []

    @classmethod
    def of(cls, raw: Json) -> Self:
        return raw if isinstance(raw, cls) else cls(raw)

    def identity(self, name: str, what: str) -> str:
        return parsing.identity(self, name, what)

    def index(self, name: str, default: int) -> int:
        """Part of the identity of a task instance (-1 or more), so that no other number can stand for it."""
        value = self.get(name)
        index = default if value is None else _integer(value)
        if index is None or not NOT_MAPPED <= index <= MAX_INTEGER:
            raise ProviderBadResponse(f"Airflow gave a task instance with the {name} {str(value)[:40]}.")
        return index

    def datetime(self, name: str) -> datetime | None:
        try:
            return parsing.parse_datetime(self, name)
        except ProviderBadResponse:
            self._drop(name)
            return None

    def text(self, name: str) -> str | None:
        value = self.get(name)
        if isinstance(value, dict | list):
            self._drop(name)
            return None
        return parsing.text(value)

    def number(self, name: str, default: int) -> int:
        value = self.get(name)
        found = default if value is None else _integer(value)
        if found is None or not -MAX_INTEGER <= found <= MAX_INTEGER:
            self._drop(name)
            return default
        return found

    def flag(self, name: str) -> bool:
        value = self.get(name)
        if value is None or isinstance(value, bool) or value in (0, 1):
            return bool(value)
        self._drop(name)
        return False

    def texts(self, name: str) -> list[str]:
        return parsing.str_list(self._list(name))

    def tags(self) -> list[str]:
        return parsing.tag_names({"tags": self._list("tags")})

    def json(self, name: str, default: Any) -> Any:  # noqa: ANN401 - JSON may be anything
        value = self.get(name)
        if value is None:
            return default
        if is_nested_deeper(value, MAX_NESTING):
            self._drop(name)
            return default
        return value

    def rest(self, names: Collection[str]) -> Json:
        """The fields without a column of their own, and without those that are nested too deeply for one object."""
        found = parsing.omit_keys(self, names)
        for name in [name for name, value in found.items() if is_nested_deeper(value, MAX_NESTING - 1)]:
            self._drop(name)
            del found[name]
        return found

    def _list(self, name: str) -> list[Any]:
        value = self.get(name)
        if value is not None and not isinstance(value, list):
            self._drop(name)
        return value if isinstance(value, list) else []

    def _drop(self, name: str) -> None:
        if name not in self.unread:
            self.unread.append(name)


def is_nested_deeper(value: object, levels: int) -> bool:
    """Whether arrays and objects are nested more than `levels` times. Goes level by level, not recursively."""
    containers = [value] if isinstance(value, dict | list) else []
    for _ in range(levels):
        if not containers:
            return False
        containers = [
            item
            for container in containers
            for item in (container.values() if isinstance(container, dict) else container)
            if isinstance(item, dict | list)
        ]
    return bool(containers)


def _integer(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return int(value)
    except (ValueError, OverflowError):
        return None
