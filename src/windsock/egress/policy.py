"""The egress policy: to which addresses and host names Windsock opens connections."""

import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_network
from typing import Self

from windsock.egress.addresses import Address, Kind, Network, destinations, parse_address, range_of
from windsock.errors import WindsockError

ALLOW, DENY = "WINDSOCK_EGRESS_ALLOW", "WINDSOCK_EGRESS_DENY"

_KINDS: tuple[Kind, ...] = ("public", "private", "loopback")
"""The kinds that a rule can name."""
_ORDINARY = frozenset({"public", "private"})
"""The kinds that a network or host name of any size allows; others only a network within their own range does."""
_HOST_NAME = re.compile(r"(\*\.)?([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z]([a-z0-9-]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Rules:
    """`names` are host names in lower case; `*.example.com` stands for every name below example.com."""

    networks: tuple[Network, ...] = ()
    names: frozenset[str] = frozenset()
    kinds: frozenset[Kind] = frozenset()

    @classmethod
    def parse(cls, text: str, variable: str) -> Self:
        """Raises WindsockError for what is neither a network nor a host name nor a kind of addresses."""
        networks: list[Network] = []
        names: set[str] = set()
        kinds: set[Kind] = set()
        for part in filter(None, (part.strip().lower() for part in text.split(","))):
            kind = next((kind for kind in _KINDS if kind == part), None)
            if kind is not None:
                kinds.add(kind)
            elif (network := _network(part)) is not None:
                networks.append(network)
            elif _HOST_NAME.fullmatch(part):
                names.add(part)
            else:
                raise WindsockError(
                    f"{variable} holds {part!r}, which is neither a network (10.0.0.0/8) nor a host name "
                    f"(airflow.example.com, *.example.com) nor one of {', '.join(_KINDS)}."
                )
        return cls(tuple(networks), frozenset(names), frozenset(kinds))

    def have_name(self, host: str) -> bool:
        labels = host.split(".")
        parents = (".".join(labels[start:]) for start in range(1, len(labels)))
        return host in self.names or any(f"*.{parent}" in self.names for parent in parents)

    def network_of(self, address: Address) -> Network | None:
        return next((network for network in self.networks if address in network), None)


@dataclass(frozen=True, slots=True)
class Policy:
    """Decides about resolved addresses, at the moment of the connection; deny wins over allow.

    `own_ports` are Windsock's own, never reached on an address of this machine.
    """

    allow: Rules
    deny: Rules = Rules()
    own_ports: frozenset[int] = frozenset()
    setting: str = ALLOW
    """The setting that allows more, for refusals."""

    @classmethod
    def of(
        cls,
        allow: str | None = None,
        deny: str | None = None,
        *,
        loopback: bool,
        own_ports: Iterable[int] = (),
        setting: str = ALLOW,
    ) -> Self:
        """`allow` replaces the default: public and private addresses, and with `loopback` those of this machine too."""
        default = "public,private,loopback" if loopback else "public,private"
        rules = Rules.parse(default if allow is None else allow, setting)
        return cls(rules, Rules.parse(deny or "", DENY), frozenset(own_ports), setting)

    def for_machine_identity(self) -> Self:
        """Also reaches the metadata services of clouds: for libraries that ask them for this machine's identity."""
        kinds: frozenset[Kind] = frozenset({"link-local", "metadata"})
        return replace(self, allow=replace(self.allow, kinds=self.allow.kinds | kinds))

    def name_refusal(self, host: str) -> str | None:
        """Why no address of this name may be connected to, in words that follow "connections to"."""
        return f"{host} ({DENY})" if self.deny.have_name(_normalized(host)) else None

    def refusal(self, host: str, address: str, port: int) -> str | None:
        """Why this address of `host` may not be connected to, as in `name_refusal`; None if it may."""
        outer = parse_address(address)
        targets = destinations(outer)
        for target in targets:
            if (denied := self.deny.network_of(target)) or range_of(target)[1] in self.deny.kinds:
                return f"{denied or range_of(target)[0]} ({DENY})"
            if port in self.own_ports and _is_of_this_machine(target):
                return f"its own port {port}"
        # An address that embeds others is reached through a gateway: the embedded ones decide.
        for target in targets[1:] or targets:
            network, kind = range_of(target)
            if kind == "unusable":
                return str(network)
            if not self._allows(_normalized(host), target, network, kind):
                return f"{network} ({self.setting})"
        return None

    def _allows(self, host: str, address: Address, special: Network, kind: Kind) -> bool:
        if kind in self.allow.kinds:
            return True
        if kind in _ORDINARY:
            return self.allow.network_of(address) is not None or self.allow.have_name(host)
        if kind == "loopback" and host == "localhost" and self.allow.have_name(host):
            return True
        # 0.0.0.0/0 is not meant to include the metadata service: such ranges have to be named themselves.
        return any(address in network and _is_within(network, special) for network in self.allow.networks)


def _is_within(network: Network, special: Network) -> bool:
    if isinstance(network, IPv4Network):
        return isinstance(special, IPv4Network) and network.subnet_of(special)
    return isinstance(special, IPv6Network) and network.subnet_of(special)


def _network(text: str) -> Network | None:
    try:
        return ip_network(text.strip("[]"), strict=False)
    except ValueError:
        return None


def _normalized(host: str) -> str:
    return host.lower().rstrip(".")


def _is_of_this_machine(address: Address) -> bool:
    """Whether an interface of this machine has the address: only then a socket can be bound to it."""
    family = socket.AF_INET if isinstance(address, IPv4Address) else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((str(address), 0))
    except OSError:
        return False
    return True
