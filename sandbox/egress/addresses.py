"""Judge an address before it is dialled: pure, from the address and what the host itself holds.

Sources: the IANA special-purpose registries for IPv4 and IPv6, RFC 6052 (64:ff9b::/96), RFC 8215
(64:ff9b:1::/48), RFC 3056 (6to4), RFC 4380 (Teredo), RFC 4291 (mapped and compatible), RFC 5214 (ISATAP).
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sandbox.egress.errors import EgressDeniedError

if TYPE_CHECKING:
    from collections.abc import Iterable

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_METADATA: Final = frozenset(
    ipaddress.ip_address(text)
    for text in (
        "169.254.169.254",  # AWS, Azure, GCP, OpenStack, Oracle
        "169.254.170.2",  # AWS ECS task credentials
        "169.254.170.23",  # AWS EKS pod identity
        "100.100.100.200",  # Alibaba Cloud
        "168.63.129.16",  # Azure's host
        "192.0.0.192",  # Oracle Cloud, older
        "fd00:ec2::254",  # AWS over IPv6
        "fd00:ec2::23",  # AWS EKS pod identity over IPv6
        "fd20:ce::254",  # GCP over IPv6
    )
)

_KINDS: Final[tuple[tuple[str, str], ...]] = (
    ("0.0.0.0/8", "this network"),
    ("10.0.0.0/8", "private"),
    ("100.64.0.0/10", "shared by a carrier"),
    ("127.0.0.0/8", "loopback"),
    ("169.254.0.0/16", "link-local"),
    ("172.16.0.0/12", "private"),
    ("192.0.0.0/24", "reserved"),
    ("192.0.2.0/24", "documentation"),
    ("192.88.99.0/24", "a 6to4 relay"),
    ("192.168.0.0/16", "private"),
    ("198.18.0.0/15", "benchmarking"),
    ("198.51.100.0/24", "documentation"),
    ("203.0.113.0/24", "documentation"),
    ("224.0.0.0/4", "multicast"),
    ("240.0.0.0/4", "reserved"),
    ("::/128", "unspecified"),
    ("::1/128", "loopback"),
    ("::/96", "an IPv4 address in another form"),
    ("::ffff:0:0/96", "an IPv4 address in another form"),
    ("::ffff:0:0:0/96", "an IPv4 address in another form"),
    ("64:ff9b::/96", "translated"),
    ("64:ff9b:1::/48", "translated"),
    ("100::/64", "discarded"),
    ("2001::/32", "a Teredo tunnel"),
    ("2001::/23", "reserved"),
    ("2001:db8::/32", "documentation"),
    ("2002::/16", "a 6to4 tunnel"),
    ("3fff::/20", "documentation"),
    ("5f00::/16", "segment routing"),
    ("fc00::/7", "private"),
    ("fe80::/10", "link-local"),
    ("fec0::/10", "private"),
    ("ff00::/8", "multicast"),
)
_TABLE: Final = tuple((ipaddress.ip_network(text), kind) for text, kind in _KINDS)
_GLOBAL_IPV6: Final = ipaddress.ip_network("2000::/3")
_PRIVATE: Final = frozenset({"private", "loopback", "shared by a carrier", "benchmarking", "documentation"})
OWN: Final = "the host's own"
CONTAINER: Final = "a container network's"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostNetworks:
    """What the host itself holds; read anew before each dial, for interfaces come and go."""

    own: frozenset[Address] = frozenset()
    """The addresses of its interfaces."""
    containers: tuple[Network, ...] = ()
    """The networks of bridges and tunnels to containers and virtual machines."""


def kind_of(address: Address, host: HostNetworks) -> str:
    """Name what kind of address no rule means without saying so.

    Args:
        address: The address.
        host: What the host itself holds.

    Returns:
        A phrase that fits "is …"; empty for an ordinary public address.
    """
    if address in _METADATA:
        return "a cloud's metadata service"
    if address in host.own and not address.is_loopback:
        return OWN
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id:
        return "bound to an interface"
    return _reserved(address) or (CONTAINER if _within(address, host.containers) else "")


def _reserved(address: Address) -> str:
    for network, kind in _TABLE:
        if address.version == network.version and address in network:
            return kind
    odd = isinstance(address, ipaddress.IPv6Address) and _odd_ipv6(address)
    return "not global" if odd else ""


def _within(address: Address, networks: tuple[Network, ...]) -> bool:
    return any(address.version == network.version and address in network for network in networks)


def _odd_ipv6(address: ipaddress.IPv6Address) -> bool:
    interface = int(address) >> 32 & 0xFFFFFFFF
    return address not in _GLOBAL_IPV6 or interface in {
        0x00005EFE,
        0x02005EFE,
    }  # ISATAP carries an IPv4 address


def check(address: Address, *, name: str, host: HostNetworks, allow_private: bool) -> None:
    """Refuse an address that must not be dialled.

    Args:
        address: The address.
        name: The name that it was found under, for the message.
        host: What the host itself holds.
        allow_private: Whether the rule says that private addresses may be reached. It opens no metadata
            service, no multicast, link-local, reserved or translated address.

    Raises:
        EgressDeniedError: With code `address`.
    """
    kind = kind_of(address, host)
    if not kind or (allow_private and kind in _PRIVATE | {OWN, CONTAINER}):
        return
    openable = kind in _PRIVATE | {OWN, CONTAINER}
    raise EgressDeniedError(
        "address",
        f"`{name}` is at `{address}`, which is {kind}",
        hint="the policy's rule would need `private: true`" if openable else "no rule can allow it",
    )


def parse_all(texts: Iterable[str]) -> tuple[Address, ...]:
    """Read addresses, each once, in order; what is none is left out."""
    found: dict[Address, None] = {}
    for text in texts:
        try:
            found[ipaddress.ip_address(text)] = None
        except ValueError:
            continue
    return tuple(found)
