"""Strikes credentials out of text that others wrote, such as logs of tasks."""

import re
from collections.abc import Collection

MASK = "…"
SHORTEST_SECRET = 4
_KEYWORD = r"(?:pass(?:word|wd|phrase)|pwd|secret|token(?!s)|api[_-]?key|access[_-]?key|private[_-]?key|credentials?)"
_PATTERNS = (
    # user:password in a URL, or in the URI of a connection; a password may hold an @.
    (re.compile(r"(?<=://)([^\s/:@'\"]*):[^\s/'\"]+@"), rf"\1:{MASK}@"),
    (re.compile(r"(?is)-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,40}PRIVATE KEY-----|\Z)"), MASK),
    (re.compile(r"(?i)(\bauthorization['\"]?\s{0,5}[:=]\s{0,5}['\"]?(?:[a-z]{1,20} )?)[^\s'\",;}]+"), rf"\1{MASK}"),
    (re.compile(r"(?i)\b(bearer) [a-z0-9._~+/=-]{12,}"), rf"\1 {MASK}"),
    (re.compile(r"(?i)\b((?:set-)?cookie['\"]?\s{0,5}[:=]\s{0,5}['\"]?)[^\r\n'\"]+"), rf"\1{MASK}"),
    (
        re.compile(
            rf"(?i)({_KEYWORD}[\w.-]{{0,40}}\\?['\"]?\s{{0,5}}(?:=>|[:=])\s{{0,5}})"
            r"(?!(?:none|null|true|false|\*+)\b)"
            r"(?:\\(['\"])[^\r\n]{0,2000}?\\\2|(['\"])(?:(?!\3)[^\\\r\n]|\\.)*\3|[^\s,;&'\")}\]\\]+)"
        ),
        rf"\1{MASK}",
    ),
    (re.compile(rf"(?i)(--[\w-]{{0,40}}{_KEYWORD}[\w-]{{0,20}} )(?!-)\S+"), rf"\1{MASK}"),
    # JSON web tokens, keys of AWS, tokens of GitHub, Slack and Google, and our own keys.
    (re.compile(r"\beyJ[\w-]{8,}\.[\w-]{4,}\.[\w-]*"), MASK),
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"), MASK),
    (re.compile(r"\b(?:gh[pousr]_|github_pat_|xox[abeoprs]-|AIza|ya29\.)[\w-]{20,}"), MASK),
    (re.compile(r"\bws[ksl]_[\w-]{8,}"), MASK),
)


def redact_secrets(text: str, secrets: Collection[str] = ()) -> str:
    """The text without `secrets` and without what looks like a credential, which cannot be all that is one."""
    for secret in secrets:
        if len(secret) >= SHORTEST_SECRET:
            text = text.replace(secret, MASK)
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text
