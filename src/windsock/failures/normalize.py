"""Normalises error messages: replaces what differs each time, and keeps codes that name the fault."""

import re

MAX_CHARACTERS = 1_000
"""Of a message; what follows does not count."""

ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")

PARAMETERS = re.compile(
    r"""
    (?P<code>
        \b[45]\d\d(?=[ ](?:Client|Server)[ ]Error\b)
        | \b(?:Client|Server)[ ]error[ ]'[45]\d\d
        | \bHTTP(?:/\d(?:\.\d)?)?[ :]+(?:(?:Error|status|code|response)[ ])*[1-5]\d\d\b
        | \bstatus(?:[ _-]?code)?['"]?(?:[ ]is|[ ]of|[:=]|[ ])[ ]?['"]?[1-5]\d\d\b
        | (?<![\w.-])[45]\d\d(?=,[ ]message=|[ ](?:GET|HEAD|POST|PUT|PATCH|DELETE)[ ]https?:|[ ][A-Z][a-z]+)
        | \b(?:exit|return)(?:ed)?(?:[ ]with)?(?:[ ]non-zero)?(?:[ ]exit)?(?:[ ]?(?:code|status))?[ :=]{1,3}-?\d{1,3}\b
        | \[(?:Errno|WinError)[ ]-?\d{1,5}\]
        | \bORA-\d{5}\b | \bSQLSTATE[ =:(\[]{1,2}[0-9A-Z]{5}\b | \bSQL[ ]Error[ ]\[\d{1,5}\]
        | \berror[ ]code:[ ]?\d{1,5}\b | (?<=^\()\d{4}(?=,[ ]['"]) | \bAn[ ]error[ ]occurred[ ]\(\w{1,80}\)
    )
    | (?P<pod>
        (?:(?<=\b[Pp]od[ ])|(?<=remote_pod:[ ])) (?=[a-z.-]{0,250}[\d-]) [a-z0-9][a-z0-9.-]{0,252}
    )
    | (?P<email> [\w.+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8} )
    | (?P<url> \b[A-Za-z][A-Za-z0-9+.-]{0,20}://[^\s'"<>()\[\]{}]+ )
    | (?P<traceparent> \b00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}\b )
    | (?P<uuid> \b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b )
    | (?P<sha> \b(?:[0-9a-f]{64}|[0-9a-f]{40})\b )
    | (?P<md5> \b[0-9a-f]{32}\b )
    | (?P<date>
        \b\d{4}-\d\d-\d\d(?:[T _]\d\d[:_]?\d\d(?:[:_]?\d\d(?:[.,]\d{1,9})?)?(?:[ ]?(?:Z|UTC|[+-]\d\d:?\d\d))?)?
        | \b\d{8}T\d{6}(?:[.,]\d{1,9})?(?:Z|[+-]\d{4})?\b
        | \b\d{1,2}[./]\d{1,2}[./]\d{2,4}\b
        | \b(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun),?[ ]\d{1,2}[ ][A-Z][a-z]{2}[ ]\d{4}\b
        | \b\d{1,2}:\d\d:\d\d(?:[.,]\d{1,9})?\b
    )
    | (?P<ip>
        (?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?::\d{1,5})?(?![\w.]*\d)
        | (?<![\w:])(?=[0-9a-fA-F:]{0,40}\d)(?:[0-9a-fA-F]{0,4}:){3,7}[0-9a-fA-F]{0,4}(?![\w:])
    )
    | (?P<host>
        \b(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.){1,8}
        (?:com|org|net|io|dev|app|cloud|local|internal|corp|lan|svc|eu|de|fr|uk|us|co|ai|gov|edu|example|test)\b
        (?::\d{1,5})?
    )
    | (?P<duration>
        (?<![\w.])\d+(?:[.,]\d+)?[ ]?
        (?:ms|milliseconds?|µs|us|ns|s|secs?|seconds?|mins?|minutes?|h|hours?|d|days?)\b
    )
    | (?P<hex> \b0[xX][0-9a-fA-F]+\b | \b(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])[0-9a-f]{7,}\b )
    | (?P<quoted>
        '(?=[^'\n]{0,300}[^A-Za-z_.'\n])[^'\n]{1,300}'(?!\w)
        | "(?=[^"\n]{0,300}[^A-Za-z_."\n])[^"\n]{1,300}"(?!\w)
    )
    | (?P<float> (?<![\w.])[+-]?\d+\.\d+(?:[eE][+-]?\d+)?(?![\w.]*\d) )
    | (?P<int> (?<![A-Za-z0-9])[+-]?\d+(?![A-Za-z0-9]) | \d{4,} )
    """,
    re.VERBOSE,
)
"""The first that matches at a place counts, and stands for what differs each time.

A `code` stays: two faults that differ in an HTTP status or a short error code are not the same. A quoted name of
letters only stays, too: it names a thing.
"""
SPACES = re.compile(r"\s+")


def clean(text: str) -> str:
    """Text without colours of a terminal and control characters."""
    return CONTROL.sub("", ANSI.sub("", text))


def normalize(message: str) -> str:
    """The message in one line, with `<int>` for a number and the like."""
    text = PARAMETERS.sub(_replace, clean(message)[: MAX_CHARACTERS * 4])
    return SPACES.sub(" ", text).strip()[:MAX_CHARACTERS]


def error_codes(message: str) -> list[str]:
    """The HTTP status codes and short error codes of a message, in one notation, each once."""
    found = (match[0] for match in PARAMETERS.finditer(clean(message)[: MAX_CHARACTERS * 4]) if match["code"])
    return list(dict.fromkeys(_bare(code) for code in found))


def _replace(match: re.Match[str]) -> str:
    kind = match.lastgroup
    return match[0] if kind == "code" else f"<{kind}>"


def _bare(code: str) -> str:
    """`Server error '503` and `503` are the same code."""
    if (digits := re.search(r"[1-5]\d\d$", code)) and not re.search(r"exit|return|Errno|WinError|ORA|SQL", code):
        return digits[0]
    return code.lower()
