"""What the rules of the egress policy mean, and where its settings come from."""

import pytest

from windsock import egress
from windsock.context import egress_policy
from windsock.egress.addresses import destinations, parse_address, range_of
from windsock.errors import WindsockError
from windsock.settings import Settings

LAPTOP = egress.Policy.of(loopback=True)


@pytest.mark.parametrize(
    ("allow", "deny", "host", "address", "refused_by"),
    [
        (None, None, "a.example.com", "10.1.2.3", None),
        (None, None, "a.example.com", "100.64.0.1", None),
        (None, None, "a.example.com", "fd12::1", None),
        (None, None, "a.example.com", "93.184.216.34", None),
        (None, "10.0.0.0/8", "a.example.com", "10.1.2.3", "10.0.0.0/8 (WINDSOCK_EGRESS_DENY)"),
        (None, "private", "a.example.com", "192.168.1.1", "WINDSOCK_EGRESS_DENY"),
        (None, "10.0.0.0/8", "a.example.com", "64:ff9b::a01:203", "WINDSOCK_EGRESS_DENY"),
        ("10.0.0.0/8", "10.1.0.0/16", "a.example.com", "10.1.2.3", "WINDSOCK_EGRESS_DENY"),
        ("10.0.0.0/8", None, "a.example.com", "10.1.2.3", None),
        ("10.0.0.0/8", None, "a.example.com", "::ffff:10.1.2.3", None),
        ("10.0.0.0/8", None, "a.example.com", "64:ff9b::a01:203", None),
        ("10.0.0.0/8", None, "a.example.com", "192.168.1.1", "WINDSOCK_EGRESS_ALLOW"),
        ("10.0.0.0/8", None, "a.example.com", "93.184.216.34", "WINDSOCK_EGRESS_ALLOW"),
        ("airflow.example.com", None, "airflow.example.com", "10.1.2.3", None),
        ("airflow.example.com", None, "AIRFLOW.example.com.", "10.1.2.3", None),
        ("airflow.example.com", None, "b.airflow.example.com", "10.1.2.3", "WINDSOCK_EGRESS_ALLOW"),
        ("*.example.com", None, "b.airflow.example.com", "10.1.2.3", None),
        ("*.example.com", None, "example.com", "10.1.2.3", "WINDSOCK_EGRESS_ALLOW"),
        ("*.example.com", None, "badexample.com", "10.1.2.3", "WINDSOCK_EGRESS_ALLOW"),
        ("*.example.com", None, "a.example.com", "127.0.0.1", "WINDSOCK_EGRESS_ALLOW"),
        ("*.example.com", None, "a.example.com", "169.254.169.254", "WINDSOCK_EGRESS_ALLOW"),
        ("localhost", None, "localhost", "127.0.0.1", None),
        ("localhost", None, "localhost", "::1", None),
        ("localhost", None, "a.example.com", "127.0.0.1", "WINDSOCK_EGRESS_ALLOW"),
        ("0.0.0.0/0", None, "a.example.com", "127.0.0.1", "127.0.0.0/8 (WINDSOCK_EGRESS_ALLOW)"),
        ("127.0.0.0/8", None, "a.example.com", "127.0.0.1", None),
        ("127.0.0.1", None, "a.example.com", "127.0.0.2", "WINDSOCK_EGRESS_ALLOW"),
        ("169.254.169.254", None, "a.example.com", "169.254.169.254", None),
        ("169.254.169.254", None, "a.example.com", "169.254.170.2", "WINDSOCK_EGRESS_ALLOW"),
        ("fd00::/8", None, "a.example.com", "fd00:ec2::254", "WINDSOCK_EGRESS_ALLOW"),
        ("fd00:ec2::254", None, "a.example.com", "fd00:ec2::254", None),
    ],
)
def test_egress_rules_allow_or_refuse_address(
    allow: str | None, deny: str | None, host: str, address: str, refused_by: str | None
) -> None:
    refusal = egress.Policy.of(allow, deny, loopback=False).refusal(host, address, 443)
    assert (refusal is None) if refused_by is None else (refused_by in (refusal or ""))


@pytest.mark.parametrize(
    "rule", ["10.0.0.0/33", "127.1", "0x7f.1", "http://a.example.com", "a b", "*", "a.*.com", "ü.de"]
)
def test_invalid_egress_rule_is_reported(rule: str) -> None:
    with pytest.raises(WindsockError, match="WINDSOCK_EGRESS_DENY holds"):
        egress.Policy.of(None, f"10.0.0.0/8, {rule}", loopback=False)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "[::1]", "localhost"])
def test_loopback_is_allowed_while_windsock_listens_there_only(host: str) -> None:
    assert egress_policy(Settings(host=host), serves=True).refusal("h", "127.0.0.1", 1) is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "windsock.example.com"])  # noqa: S104 - never bound
def test_loopback_is_refused_while_others_can_connect(host: str) -> None:
    assert egress_policy(Settings(host=host), serves=True).refusal("h", "127.0.0.1", 1) is not None


def test_worker_reaches_loopback_only_if_setting_allows() -> None:
    assert egress_policy(Settings(), serves=False).refusal("h", "127.0.0.1", 1) is not None
    assert egress_policy(Settings(host="127.0.0.1"), serves=False).refusal("h", "127.0.0.1", 1) is None
    assert egress_policy(Settings(egress_allow="loopback"), serves=False).refusal("h", "127.0.0.1", 1) is None


def test_own_ports_include_server_and_database_ports() -> None:
    settings = Settings(port=8421, database_url="postgresql://owner:planted@127.0.0.1:5439/windsock")
    assert egress_policy(settings, serves=True).own_ports == {8421, 5439}
    assert egress_policy(settings, serves=True).refusal("h", "127.0.0.1", 5439) == "its own port 5439"


def test_machine_identity_alone_reaches_the_metadata_service() -> None:
    assert LAPTOP.refusal("h", "169.254.169.254", 80) is not None
    machine = LAPTOP.for_machine_identity()
    assert machine.refusal("h", "169.254.169.254", 80) is None
    assert machine.refusal("h", "fd00:ec2::254", 80) is None
    denied = egress.Policy.of(None, "169.254.0.0/16", loopback=True).for_machine_identity()
    assert denied.refusal("h", "169.254.169.254", 80) is not None


def test_ipv4_addresses_embedded_in_ipv6_are_extracted() -> None:
    def found(text: str) -> set[str]:
        return {str(destination) for destination in destinations(parse_address(text))[1:]}

    assert found("64:ff9b::a01:203") == {"10.1.2.3"}
    assert "10.1.2.3" in found("64:ff9b:1:a01:2:300::")
    assert found("2002:a01:203::1") == {"10.1.2.3"}
    assert found("2001:db8::1") == set()
    assert str(parse_address("::ffff:10.1.2.3")) == "10.1.2.3"
    assert range_of(parse_address("fe80::1%3"))[1] == "link-local"
