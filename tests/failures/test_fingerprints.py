"""Fingerprints: one for each fault, whatever differs from time to time and between Airflow 2 and 3."""

from itertools import combinations

import pytest

from failures.faults import FAULTS, VERSIONS, Fault, every_failure, failed, line, log, own
from windsock.failures.cause import find_cause
from windsock.failures.fingerprints import VERSION, compute_fingerprint
from windsock.failures.normalize import error_codes, normalize
from windsock.providers.task_logs import LoggedException, StackFrame, TaskLog

BY_KIND = pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.kind)


def hash_of(fault: Fault, log: TaskLog) -> bytes:
    return compute_fingerprint(fault.task_id, find_cause(log)).hash


@BY_KIND
def test_fingerprint_of_one_fault_is_equal_in_airflow_2_and_3(fault: Fault) -> None:
    assert len({hash_of(fault, fault.build(version)) for version in VERSIONS for _ in range(5)}) == 1


def test_fingerprints_of_pairs_have_precision_and_recall_of_at_least_95_percent() -> None:
    rows = [(fault.kind, hash_of(fault, log)) for fault, _, log in every_failure()]
    pairs = [(first[0] == second[0], first[1] == second[1]) for first, second in combinations(rows, 2)]
    grouped = sum(is_equal for _, is_equal in pairs)
    right = sum(is_same and is_equal for is_same, is_equal in pairs)
    precision, recall = right / grouped, right / sum(is_same for is_same, _ in pairs)
    assert precision >= 0.95, precision
    assert recall >= 0.95, recall


def test_fingerprint_names_the_facts_that_it_compares() -> None:
    named = {compute_fingerprint(fault.task_id, find_cause(fault.build(3))).grouped_by for fault in FAULTS}
    assert named == {
        "task and kind of end", "task and last error lines", "task, exception types and function",
        "task, exception types and message",
    }  # fmt: skip
    assert VERSION == 1


def test_message_hash_differs_between_messages_of_one_function() -> None:
    first, second = (compute_fingerprint("load", find_cause(own(words)(3))) for words in ("no account", "no amount"))
    assert first.hash == second.hash
    assert first.message_hash != second.message_hash


def test_fingerprint_of_version_1_does_not_change() -> None:
    """A stored hash must be found again by every later release."""
    frame = StackFrame(filename="/opt/airflow/dags/pay.py", lineno=3, function="load")
    logged = LoggedException(type="ValueError", message="no rows", frames=(frame,))
    cause = find_cause(log(line("Task failed with exception", "error", (logged,))))
    assert compute_fingerprint("load", cause).hash.hex() == STORED


STORED = "0bd96bd0a52bb1aec64f14432c00d29244100761bfc00c75988aaab8b0804afd"


@pytest.mark.parametrize(
    ("message", "normalized"),
    [
        ("mail to ana@example.com bounced", "mail to <email> bounced"),
        ("GET https://api.example.com/v1/orders/17?x=1 failed", "GET <url> failed"),
        ("no route to db-7.prod.internal:5432", "no route to <host>"),
        ("no route to 10.1.2.3:5432", "no route to <ip>"),
        ("no route to fe80::1:2:3:4", "no route to <ip>"),
        ("run 01a208d2-7ff7-7f1d-8764-56ae2c3ce8b9 is gone", "run <uuid> is gone"),
        ("commit da39a3ee5e6b4b0d3255bfef95601890afd80709 is gone", "commit <sha> is gone"),
        ("sum d41d8cd98f00b204e9800998ecf8427e differs", "sum <md5> differs"),
        ("no data for 2026-11-23T14:32:23.228231Z", "no data for <date>"),
        ("no data for 2026-11-23", "no data for <date>"),
        ("06:00:01 no data", "<date> no data"),
        ("waited 30 seconds, then 1.5s", "waited <duration>, then <duration>"),
        ("object at 0x7f3a9c", "object at <hex>"),
        ("pod load-7f3a9c2 failed", "pod <pod> failed"),
        ("Pod failed to start", "Pod failed to start"),
        ("remote_pod: load-x7k2m, phase Failed", "remote_pod: <pod>, phase Failed"),
        ("ratio 0.25 is below 1e", "ratio <float> is below 1e"),
        ("row 17 of table orders_20261123", "row <int> of table orders_<int>"),
        ("customer 'Anna 7' is unknown", "customer <quoted> is unknown"),
        ("No module named 'pandas'", "No module named 'pandas'"),
        ("503 Server Error: Service Unavailable", "503 Server Error: Service Unavailable"),
        ("Server error '503 Service Unavailable'", "Server error '503 Service Unavailable'"),
        ("HTTP Error 404: Not Found", "HTTP Error 404: Not Found"),
        ("request failed with status code 429 after 3 tries", "request failed with status code 429 after <int> tries"),
        ("[Errno 13] Permission denied", "[Errno 13] Permission denied"),
        ("ORA-00942: table 7 does not exist", "ORA-00942: table <int> does not exist"),
        ("returned a non-zero exit code 7.", "returned a non-zero exit code 7."),
        ("\x1b[31mred\x1b[0m   and\n spaces", "red and spaces"),
        ("", ""),
    ],
)
def test_normalized_message_replaces_what_differs(message: str, normalized: str) -> None:
    assert normalize(message) == normalized


@pytest.mark.parametrize(
    ("message", "codes"),
    [
        ("503 Server Error for url: https://example.com/404", ["503"]),
        ("Server error '503 Service Unavailable' for url", ["503"]),
        ("503, message='Service Unavailable', url='x'", ["503"]),
        ("An error occurred (AccessDenied) when calling", ["an error occurred (accessdenied)"]),
        ("read 503 rows of 404", []),
    ],
)
def test_error_codes_are_statuses_and_not_other_numbers(message: str, codes: list[str]) -> None:
    assert error_codes(message) == codes


@pytest.mark.parametrize(
    "text", ["1" * 100_000, "a." * 50_000, "'" * 100_000, "0:" * 50_000, "a@" * 50_000, " 1" * 50_000]
)
def test_normalize_of_hostile_text_takes_little_time(text: str) -> None:
    assert len(normalize(text)) <= 1_000


def test_every_failure_of_no_log_has_a_fingerprint() -> None:
    assert compute_fingerprint("load", find_cause(log())).hash != compute_fingerprint("send", find_cause(log())).hash
    assert failed(3)
