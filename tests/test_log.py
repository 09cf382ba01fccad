"""Logs: one shape for ours and the libraries', and never a secret in them."""

import json
import logging
import sys
from collections.abc import Callable, Iterator
from typing import Any, Literal

import pytest
import structlog

from windsock import log
from windsock.auth.keys import new_key

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZG1pbiJ9.s1gn-ature_0"


@pytest.fixture
def output(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[], str]]:
    """What went to standard error; logging is as before afterwards."""
    root = logging.getLogger()
    handlers, level, configuration = root.handlers[:], root.level, structlog.get_config()
    yield lambda: capsys.readouterr().err
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.configure(**configuration)


def lines(output: Callable[[], str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output().splitlines()]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("key wsk_0123456789abcdefghijABCDEFGHIJ-_ is known", "key [redacted] is known"),
        (f"token={JWT}.", "token=[redacted]."),
        ("postgresql://owner:pa%40ss@db:5432/windsock", "postgresql://[redacted]@db:5432/windsock"),
        ("https://user:s3cret@airflow/x and http://a:b@c", "https://[redacted]@airflow/x and http://[redacted]@c"),
        ("Authorization: Bearer abc.def", "Authorization: [redacted]"),
        ("authorization: basic dXNlcjpwYXNz", "authorization: [redacted]"),
        ("https://airflow.example.com:8080/dags?x=a@b", "https://airflow.example.com:8080/dags?x=a@b"),
        ("at 12:30 somebody@example.com wrote wsk_", "at 12:30 somebody@example.com wrote wsk_"),
        ("", ""),
    ],
)
def test_credential_like_text_is_redacted(text: str, expected: str) -> None:
    assert log.redact(text) == expected


def test_generated_api_keys_are_redacted() -> None:
    for _ in range(200):
        assert log.redact(f"({new_key()})") == "([redacted])"


SECRETS = [new_key(), JWT, "postgresql://owner:planted@db/windsock"]


def nested(levels: int) -> Any:
    return {"a": nested(levels - 1)} if levels else 1


def fail(error: Exception) -> None:
    raise error


@pytest.mark.parametrize("log_format", ["json", "text"])
@pytest.mark.parametrize("secret", SECRETS, ids=["key", "jwt", "url"])
def test_secrets_are_redacted_in_every_part_of_log_record(
    output: Callable[[], str], log_format: Literal["json", "text"], secret: str
) -> None:
    log.configure(log_format, "info")
    hidden = "planted" if "planted" in secret else secret
    ours, theirs = log.get("windsock.test"), logging.getLogger("a.library")
    with log.bound(request_id="r", detail=f"bound {secret}"):
        ours.info(f"event {secret}", value=secret)
        ours.info("nested", value={"list": [secret], "pair": (1, secret)})
        ours.warning("an error as a value", error=ValueError(secret))
        theirs.warning("format %s", secret)
        theirs.warning("extra", extra={"value": secret})
        try:
            fail(ValueError(f"raised with {secret}"))
        except ValueError:
            ours.exception("ours")
            theirs.exception("theirs")
            try:
                fail(LookupError(secret))
            except LookupError:
                ours.exception("chained")
    text = output()
    assert text.count("[redacted]") >= 12
    assert hidden not in text
    assert "raised with" in text
    assert text.count("Traceback") >= 4


def test_json_log_is_one_object_per_line_with_bound_context(output: Callable[[], str]) -> None:
    log.configure("json", "info")
    with log.bound(request_id="r-1", space="finance"):
        log.get("windsock.test").info("saïd\nmore", number=1, nothing=None)
        logging.getLogger("a.library").warning("theirs %d", 7)
    log.get("windsock.test").warning("outside")
    ours, theirs, outside = lines(output)
    assert ours.pop("timestamp").endswith("Z")
    assert ours == {
        "event": "saïd\nmore",
        "level": "info",
        "logger": "windsock.test",
        "number": 1,
        "nothing": None,
        "request_id": "r-1",
        "space": "finance",
    }
    assert theirs["event"] == "theirs 7"
    assert (theirs["level"], theirs["logger"], theirs["request_id"]) == ("warning", "a.library", "r-1")
    assert "request_id" not in outside


def test_unwritable_log_raises_no_error(output: Callable[[], str], monkeypatch: pytest.MonkeyPatch) -> None:
    log.configure("json", "info")
    with monkeypatch.context() as closed:
        closed.setattr(sys.stderr, "write", lambda _: fail(BrokenPipeError()))
        log.get("windsock.test").info("answered")
    log.get("windsock.test").info("again")
    assert [line["event"] for line in lines(output)] == ["again"]


@pytest.mark.parametrize(("level", "expected"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_records_below_log_level_are_not_logged(output: Callable[[], str], level: str, expected: int) -> None:
    log.configure("json", level)
    logger = log.get("windsock.test")
    for name in ("debug", "info", "warning", "error"):
        getattr(logger, name)("said")
    assert len(lines(output)) == expected


def test_auto_format_is_json_without_terminal_and_text_on_terminal(
    output: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    log.configure("auto", "info")
    log.get("windsock.test").info("first")
    assert [line["event"] for line in lines(output)] == ["first"]
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    log.configure("auto", "info")
    log.get("windsock.test").info("second")
    assert not output().startswith("{")


def test_noisy_libraries_log_warnings_and_above(output: Callable[[], str]) -> None:
    log.configure("json", "debug")
    for name in ("httpx2", "procrastinate", "alembic"):
        logging.getLogger(name).info("chat")
        logging.getLogger(name).warning("matters")
    assert [line["event"] for line in lines(output)] == ["matters"] * 3


@pytest.mark.parametrize("value", ["\ud800", 2**64, nested(300)], ids=["surrogate", "large", "deep"])
def test_value_rejected_by_orjson_is_logged_anyway(output: Callable[[], str], value: Any) -> None:
    log.configure("json", "info")
    log.get("windsock.test").info("refused", value=value)
    assert json.loads(output())["value"] == value
