"""Judges the body of an answer by its headers and its size: whether it is JSON, whole, readable, and not too much."""

from typing import Final, Protocol

from windsock import egress
from windsock.errors import ProviderBadResponse
from windsock.providers.airflow import errors

ENCODINGS: Final = ("gzip", "deflate")
MAX_VALUES: Final = 1_000_000
"""In one answer: parsing a million takes some 0.2 s, in which nothing else of this process runs, and 200 MB."""


class BodySink(Protocol):
    """Takes the body of a response piece by piece. `seconds`: for the whole request."""

    seconds: float

    def accepts(self, response: egress.Response) -> bool:
        """Whether it is the success that was wanted; any other response is read and judged as usual."""
        ...

    def write(self, chunk: bytes) -> bool:
        """Take a piece; False ends the reading."""
        ...


async def fill(sink: BodySink, response: egress.Response) -> bytes:
    """Hand the body to `sink`; nothing is left of it."""
    async for chunk in response.aiter_bytes():
        if not sink.write(chunk):
            break
    return b""


async def read_bounded(response: egress.Response, largest: int) -> bytes | None:
    """The whole body, or None when it is larger than what is held in memory."""
    chunks, size = [], 0
    async for chunk in response.aiter_bytes():
        size += len(chunk)
        if size > largest:
            return None
        chunks.append(chunk)
    return b"".join(chunks)


def is_json_type(content_type: str) -> bool:
    kind = content_type.partition(";")[0].strip().lower()
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))


def complaint_about(
    request_text: str, response: egress.Response, *, is_json: bool, is_broken: bool, shows_words: bool
) -> ProviderBadResponse | None:
    """Return why a 2xx response is no API response; `shows_words` as in errors.from_status."""
    status, encoding = response.status_code, response.headers.get("content-encoding", "")
    if status not in {200, 201}:
        return errors.not_plain_success(request_text, status)
    if is_json and not is_broken:
        return None
    if not _is_readable(encoding):
        return errors.wrongly_compressed(request_text, encoding if shows_words else "", is_known=False)
    if is_json:
        return errors.broken_json(request_text, status)
    return errors.not_json(request_text, status, response.headers.get("content-type", ""), shows_words=shows_words)


def _is_readable(encoding: str) -> bool:
    """Whether httpx2 has unpacked it: what it does not know it hands over as it came."""
    names = {name.strip().lower() for name in encoding.split(",")}
    return names <= {"", "identity", *ENCODINGS}


def holds_too_many_values(body: bytes) -> bool:
    """Whether JSON may hold more than are parsed. Quickly, by its punctuation; that within text counts too."""
    return body.count(b",") + body.count(b"[") + body.count(b"{") > MAX_VALUES
