"""What somebody could send who means no good, or whose program is broken."""

import json
from typing import Any
from urllib.parse import quote_from_bytes

SECRET = "planted-secret-0815"
"""Stands in every hostile text of a body; no error may show it."""


def _nested(depth: int, value: Any) -> Any:
    for _ in range(depth):
        value = {"deeper": [value]}
    return value


TEXTS = [
    "",
    " ",
    "\x00",
    "\ud800",
    "\udfff\ud800",
    "\r\nSet-Cookie: a=b",
    "\u202e\ufeff\u0130",
    "x" * 10_000,
    "😀" * 2_000,
    "'; DROP TABLE runs; --",
    "%s %(name)s {name} $1 \\",
    "../../etc/passwd",
    "<script>alert(1)</script>",
    "1e400",
    "-1",
    "NaN",
    "٣",
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59.999999-23:59",
    "2026-02-30T00:00:00",
    "ffffffff-ffff-ffff-ffff-fffffffffffg",
]
VALUES: list[Any] = [
    *(text + SECRET if text.strip() else text for text in TEXTS),
    None,
    True,
    0,
    -1,
    2**31,
    2**63,
    2**64,
    10**300,
    1.5,
    -0.0,
    1e308,
    float("nan"),
    float("inf"),
    [],
    {},
    [None],
    [SECRET, "\x00"],
    {"\x00": SECRET},
    {"\ud800": SECRET},
    _nested(15, SECRET),
    _nested(100, SECRET),
    ["x"] * 10_000,
]

IN_URLS = [
    quote_from_bytes(value)
    for value in (
        b"\x00",
        b"\xff\xfe",
        b"\xed\xa0\x80",
        b"\r\n",
        b"x" * 10_000,
        "😀".encode() * 500,
        b"'; DROP TABLE runs; --",
        b"%s %(name)s {name} \\",
        b"%",
        b"%25%00",
        b"-1",
        b"9" * 20,
        b"9" * 5_000,
        b"1.5",
        b"NaN",
        b" 1 ",
        "٣".encode(),
        b"null",
        b"0001-01-01T00:00:00+23:59",
        b"9999-12-31T23:59:59-23:59",
        b"2026-01-01",
        b"no-uuid",
        b"00000000-0000-0000-0000-00000000000g",
    )
]
"""Percent-encoded, for paths and queries; none of them holds a slash."""

BODIES = [
    b"",
    b" ",
    b"{",
    b"null",
    b"true",
    b"[]",
    b'"x"',
    b"{}",
    b"NaN",
    b'{"": ""}',
    b"\xff\xfe\x00",
    b"\xef\xbb\xbf{}",
    '{"name": "a"}'.encode("utf-16"),
    b'{"name": "\xed\xa0\x80"}',
    b'{"name": "a", "name": {"name": 1}, "role": "admin", "role": []}',
    b'{"__proto__": {"is_superadmin": true}, "__class__": "x"}',
    b"[" * 100_000,
    b'{"a":' * 50_000,
    b'{"name": ' + b"9" * 5_000 + b"}",
    b'{"name": 1e999}',
    b'{"name": "' + b"x" * 500_000 + b'"}',
]
CONTENT_TYPES = [
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data",
    "multipart/form-data; boundary=x",
    "application/json; charset=utf-16",
    "application/problem+json",
    ";;;",
    "",
]
HEADERS = [
    *[{"If-None-Match": value} for value in ("", "*, *", '"' * 1_000, "W/", "," * 5_000, "é", "\x01")],
    *[{"X-Request-ID": value} for value in ("", "x" * 1_000, "a b", "a\tb", "é", "\x7f", "a\r\nX-Planted: b")],
    *[{"Idempotency-Key": value} for value in ("", "x" * 1_000, "é")],
    *[{"Accept": value} for value in ("", "image/png", ";q=x")],
    {"Accept-Encoding": "\x00"},
    {"Range": "bytes=5-1"},
    {"Expect": "100-continue"},
    {"X-Forwarded-For": "'; DROP"},
    {"X-HTTP-Method-Override": "DELETE"},
]
AUTHORIZATIONS = [
    b"",
    b"Bearer",
    b"Bearer ",
    b"Bearer \xff\xfe",
    b"Bearer \x00",
    b"Bearer a b",
    b"Bearer " + b"x" * 100_000,
    b"Basic d2luZDpzb2Nr",
    b"Bearer wsk_'; DROP TABLE users; --",
    b"\xc3\xa9 key",
]


def as_json(value: Any) -> bytes:
    """JSON that may hold what JSON must not: NaN, halves of surrogate pairs."""
    return json.dumps(value).encode("ascii")
