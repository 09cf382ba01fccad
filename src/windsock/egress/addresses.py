"""Kinds of IP addresses, and the IPv4 addresses that are embedded in IPv6 addresses."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Literal

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Kind = Literal["public", "private", "loopback", "link-local", "metadata", "unusable"]

_METADATA = (  # those outside of the link-local ranges, where most clouds have theirs
    "fd00:ec2::254/128",  # AWS
    "fd20:ce::254/128",  # Google Cloud
    "168.63.129.16/32",  # Azure, in a public range
    "100.100.100.200/32",  # Alibaba Cloud
    "192.0.0.192/32",  # Oracle Cloud
    "fd00:c1::a9fe:a9fe/128",  # Oracle Cloud
    "fd00:42::42/128",  # Scaleway
)
_RANGES: tuple[tuple[Network, Kind], ...] = (
    *((ip_network(network), "metadata") for network in _METADATA),
    (ip_network("127.0.0.0/8"), "loopback"),
    (ip_network("::1/128"), "loopback"),
    (ip_network("169.254.0.0/16"), "link-local"),
    (ip_network("fe80::/10"), "link-local"),
    (ip_network("0.0.0.0/8"), "unusable"),  # "this host": Linux connects to itself
    (ip_network("::/128"), "unusable"),
    (ip_network("224.0.0.0/4"), "unusable"),  # multicast
    (ip_network("ff00::/8"), "unusable"),
    (ip_network("240.0.0.0/4"), "unusable"),  # reserved, and broadcast
)
"""The first that contains an address counts."""

_NAT64 = ip_network("64:ff9b::/96")
_NAT64_LOCAL = ip_network("64:ff9b:1::/48")
_IPV4_TRANSLATED = ip_network("::ffff:0:0:0/96")
_IPV4_COMPATIBLE = ip_network("::/96")
_ISATAP_MARK = 0x5EFE
_ISATAP_FLAGS = 0xFDFF
"""Without the bit that says whether the address is unique in the world."""


def parse_address(text: str) -> Address:
    """A resolved address; of `::ffff:10.0.0.1` the IPv4 address, since that is what is dialled. Drops a scope id."""
    address = ip_address(text.partition("%")[0])
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def range_of(address: Address) -> tuple[Network, Kind]:
    """The special range that contains the address, else the address alone, public or private."""
    for network, kind in _RANGES:
        if address in network:
            return network, kind
    return ip_network(address), "public" if address.is_global else "private"


def destinations(address: Address) -> tuple[Address, ...]:
    """Where packets may end: of NAT64, 6to4, Teredo, ISATAP and IPv4-compatible addresses the embedded ones too."""
    return (address, *_embedded(address)) if isinstance(address, IPv6Address) else (address,)


def _embedded(address: IPv6Address) -> tuple[IPv4Address, ...]:
    number = int(address)
    low = IPv4Address(number & 0xFFFFFFFF)
    found: list[IPv4Address] = []
    if address in _NAT64 or address in _IPV4_TRANSLATED:
        found.append(low)
    if address in _NAT64_LOCAL:  # RFC 6052: bits 48 to 63 and 72 to 87; some use the last 32 bits
        found += [IPv4Address((number >> 64 & 0xFFFF) << 16 | number >> 40 & 0xFFFF), low]
    if address in _IPV4_COMPATIBLE and number > 1:
        found.append(low)
    if address.sixtofour is not None:
        found.append(address.sixtofour)
    if address.teredo is not None:
        found += address.teredo
    if number >> 32 & 0xFFFF == _ISATAP_MARK and not number >> 48 & 0xFFFF & _ISATAP_FLAGS:
        found.append(low)
    return tuple(found)
