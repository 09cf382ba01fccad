"""Recognises an Airflow by the answer of its version endpoint."""

import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

ApiVersion = Literal["v1", "v2"]

VERSION_PATHS: Mapping[ApiVersion, str] = {"v1": "/api/v1/version", "v2": "/api/v2/version"}

_VERSION = re.compile(r"(\d{1,9})\.(\d{1,9})[0-9A-Za-z.+_-]{0,50}")
_FIRST_WITH_V2 = (3, 0)


class RecognizedServers:
    """The addresses that answered as an Airflow, by connector; the oldest go first."""

    def __init__(self, largest: int = 5000) -> None:
        self._largest = largest
        self._addresses: OrderedDict[tuple[str, object], None] = OrderedDict()

    def add(self, key: str, address: object) -> None:
        self._addresses[key, address] = None
        self._addresses.move_to_end((key, address))
        while len(self._addresses) > self._largest:
            self._addresses.popitem(last=False)

    def has_any(self, key: str) -> bool:
        """Whether any address is known."""
        return any(known == key for known, _ in self._addresses)

    def has(self, key: str, address: object) -> bool:
        return (key, address) in self._addresses


@dataclass(frozen=True, slots=True)
class AirflowVersion:
    """`text` as the server gives it ("3.3.2"), `numbers` its first two."""

    text: str
    numbers: tuple[int, int]


def recognize(api_version: ApiVersion, body: object) -> AirflowVersion | None:
    """The version in the answer of VERSION_PATHS; None if it is not one of an Airflow that has this API."""
    version = body.get("version") if isinstance(body, dict) else None
    found = _VERSION.fullmatch(version) if isinstance(version, str) else None
    if found is None:
        return None
    numbers = int(found[1]), int(found[2])
    if (numbers >= _FIRST_WITH_V2) != (api_version == "v2"):
        return None
    return AirflowVersion(found[0], numbers)
