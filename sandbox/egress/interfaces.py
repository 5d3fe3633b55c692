"""Read which addresses and container networks this host holds, from /proc/net; no socket is opened."""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sandbox.egress.addresses import Address, HostNetworks, Network

if TYPE_CHECKING:
    from collections.abc import Iterator

_CONTAINER: Final = re.compile(
    r"(docker|br-|cni|flannel|cali|veth|podman|virbr|lxc|lxd|vmnet|kube|nerdctl|incus)"
)
_PROC: Final = Path("/proc/net")


def host_networks(proc: Path = _PROC) -> HostNetworks:
    """Read what the host holds now.

    Args:
        proc: The folder that holds `fib_trie`, `if_inet6`, `route` and `ipv6_route`.

    Returns:
        Its own addresses and the networks of its container bridges.

    Raises:
        OSError: When the tables cannot be read: then nothing may be dialled.
    """
    tables = (proc / "fib_trie").read_text(), (proc / "route").read_text()
    return _understood(*tables, _optional(proc / "if_inet6"), _optional(proc / "ipv6_route"))


@lru_cache(maxsize=2)
def _understood(trie: str, routes: str, addresses_ipv6: str, routes_ipv6: str) -> HostNetworks:
    """Understand the tables; the same ones, as they mostly are, once."""
    return HostNetworks(
        own=frozenset((*_own_ipv4(trie), *_own_ipv6(addresses_ipv6))),
        containers=(*_routes_ipv4(routes), *_routes_ipv6(routes_ipv6)),
    )


def _optional(path: Path) -> str:
    """Read a table that a kernel without IPv6 does not have."""
    return path.read_text() if path.exists() else ""


def _own_ipv4(text: str) -> Iterator[Address]:
    leaf = ""
    for line in text.splitlines():
        words = line.split()
        if words[:1] == ["|--"]:
            leaf = words[1]
        elif leaf and words[1:3] == ["host", "LOCAL"] and words[0] == "/32":
            yield ipaddress.IPv4Address(leaf)


def _own_ipv6(text: str) -> Iterator[Address]:
    for line in text.splitlines():
        yield ipaddress.IPv6Address(bytes.fromhex(line.split()[0]))


def _routes_ipv4(text: str) -> Iterator[Network]:
    for line in text.splitlines()[1:]:
        name, destination, _, _, _, _, _, mask, *_ = line.split()
        if _CONTAINER.match(name) and int(mask, 16):
            network = ipaddress.IPv4Address(bytes.fromhex(destination)[::-1])
            yield ipaddress.ip_network((network, int(mask, 16).bit_count()), strict=False)


def _routes_ipv6(text: str) -> Iterator[Network]:
    for line in text.splitlines():
        words = line.split()
        if _CONTAINER.match(words[-1]) and int(words[1], 16):
            yield ipaddress.ip_network((ipaddress.IPv6Address(bytes.fromhex(words[0])), int(words[1], 16)))
