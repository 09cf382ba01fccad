"""Credentials in text that others wrote: struck out, and nothing else is."""

import time

import pytest

from windsock.providers.redaction import redact_secrets

PLANTED = "planted-s3cret-4711"


@pytest.mark.parametrize(
    "text",
    [
        f"postgresql://etl:{PLANTED}@db:5432/bank",
        f"mysql+pymysql://etl:p@{PLANTED}@db/bank?ssl=1",
        f"password={PLANTED}",
        f"PGPASSWORD={PLANTED} psql",
        f"db_password: {PLANTED}, host: db",
        f"'password': '{PLANTED}', 'host': 'db'",
        f'{{"client_secret": "{PLANTED}", "a": 1}}',
        f'{{\\"api_key\\": \\"{PLANTED}\\"}}',
        f"passwd => '{PLANTED} with \\' blanks'",
        f"Authorization: Bearer {PLANTED}",
        f"'Authorization': 'Basic {PLANTED}=='",
        f"curl -H 'authorization: token {PLANTED}'",
        f"sent Bearer {PLANTED} to it",
        f"Cookie: session={PLANTED}; a=b",
        f"tool --db-password {PLANTED} --verbose",
        f"AWS_SECRET_ACCESS_KEY={PLANTED}",
        f"https://bank/?api_key={PLANTED}&day=1",
        f"eyJhbGciOiJIUzI1NiJ9.eyJ{PLANTED}.sig{PLANTED}",
        f"wsk_{PLANTED}",
        f"ghp_{PLANTED}{PLANTED}",
        f"-----BEGIN RSA PRIVATE KEY-----\n{PLANTED}\n-----END RSA PRIVATE KEY-----",
        f"-----BEGIN PRIVATE KEY-----\n{PLANTED}",
    ],
)
def test_credential_in_text_is_struck_out(text: str) -> None:
    redacted = redact_secrets(text)
    assert PLANTED not in redacted
    assert "…" in redacted


def test_secrets_of_the_connector_are_struck_out_anywhere() -> None:
    assert redact_secrets("said hunter2 twice: hunter2", {"hunter2", "a"}) == "said … twice: …"


@pytest.mark.parametrize(
    "text",
    [
        "Task failed with exception",
        "tokens=512 in 3 s",
        "password: None",
        "https://bank.example.com/path?day=1",
        "{taskinstance.py:3337} INFO - Executing <Task(_PythonDecoratedOperator): flaky>",
        "The secret of the report is its order",
        "KeyError: 'amount'",
        "the password was wrong",
        "contact ada@example.com at 10:30",
    ],
)
def test_text_without_credentials_stays(text: str) -> None:
    assert redact_secrets(text) == text


@pytest.mark.parametrize("text", ["a" * 64_000, "password" * 8_000, "://" * 20_000, "'" * 64_000, "Bearer " * 9_000,
                                  "password=" * 7_000, "eyJ" * 20_000, "password='\\" * 6_000,
                                  "-----BEGIN PRIVATE KEY" * 2_000, "authorization " * 4_000])  # fmt: skip
def test_redaction_takes_time_in_proportion_to_the_text(text: str) -> None:
    started = time.process_time()
    redact_secrets(text)
    assert time.process_time() - started < 1.0
