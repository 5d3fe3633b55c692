"""Probe the families of sockets, and the addresses that a session must not reach."""

from __future__ import annotations

import _socket
import errno
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

METADATA = ("169.254.169.254", 80)  # where clouds keep a machine's credentials
METADATA_OF_IPV6 = ("fd00:ec2::254", 80)
RESOLVER = ("192.0.2.53", 53)  # RFC 5737: routed nowhere
BRIDGE = ("172.17.0.1", 2375)  # the engine's machine, seen from its default bridge
ENGINE = ("127.0.0.1", 2375)

# linux/socket.h: a family's name to its number; unix, inet and those of the self-test are elsewhere
FAMILIES = {
    "ax25": 3, "ipx": 4, "appletalk": 5, "netrom": 6, "bridge": 7, "atmpvc": 8, "x25": 9, "rose": 11,
    "decnet": 12, "netbeui": 13, "security": 14, "key": 15, "ash": 18, "econet": 19, "atmsvc": 20, "rds": 21,
    "sna": 22, "irda": 23, "pppox": 24, "wanpipe": 25, "llc": 26, "ib": 27, "mpls": 28, "can": 29,
    "tipc": 30, "bluetooth": 31, "iucv": 32, "rxrpc": 33, "isdn": 34, "phonet": 35, "ieee802154": 36,
    "caif": 37, "alg": 38, "nfc": 39, "kcm": 41, "qipcrtr": 42, "smc": 43, "xdp": 44, "mctp": 45,
}  # fmt: skip


def _socket_of(family: int, kind: int = _socket.SOCK_STREAM) -> None:
    _socket.socket(family, kind, 0).close()


def _reach(address: tuple[str, int], kind: int, family: int = _socket.AF_INET) -> None:
    """Send something to an address; EINPROGRESS would mean that there is a route."""
    wire = _socket.socket(family, kind, 0)
    wire.settimeout(1.0)
    wire.connect(address)
    wire.send(b"probe")


def _resolve() -> None:
    """Ask the C library for a name's address, as programs do."""
    try:
        _socket.getaddrinfo("example.com", 80)
    except _socket.gaierror as error:
        raise OSError(errno.EHOSTUNREACH, str(error)) from error


def _abstract(name: bytes) -> None:
    """Reach a socket of the host's that has no path: only a network namespace of its own keeps it away."""
    wire = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0)
    wire.settimeout(1.0)
    wire.connect(b"\0" + name)


def _abstract_of_our_own() -> None:
    name = b"\0pairlock-probe-%d" % os.getpid()
    listening = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0)
    listening.bind(name)
    listening.listen(1)
    _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0).connect(name)


def _loopback() -> None:
    """Speak to a listener of our own on the container's loopback."""
    listening = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM, 0)
    listening.bind(("127.0.0.1", 0))
    listening.listen(1)
    wire = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM, 0)
    wire.settimeout(5.0)
    wire.connect(listening.getsockname())


def _interface() -> None:
    """Look for an interface that is not the loopback."""
    with open("/proc/net/dev", encoding="utf-8") as file:  # noqa: PTH123 (pathlib would cost the start)
        names = {line.split(":")[0].strip() for line in file.read().splitlines()[2:]}
    if not names - {"lo"}:
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))


def _family(number: int) -> Callable[[], None]:
    return lambda: _socket_of(number, _socket.SOCK_RAW)


PROBES: dict[str, Callable[[], object]] = {
    **{f"socket_{name}": _family(number) for name, number in FAMILIES.items()},
    "socket_raw": lambda: _socket_of(_socket.AF_INET, _socket.SOCK_RAW),
    "socket_ping": lambda: _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM, _socket.IPPROTO_ICMP).close(),
    "socketpair_unix": lambda: _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM),
    "socketpair_tipc": lambda: _socket.socketpair(FAMILIES["tipc"], _socket.SOCK_SEQPACKET),
    "reach_metadata": lambda: _reach(METADATA, _socket.SOCK_STREAM),
    "reach_metadata_ipv6": lambda: _reach(METADATA_OF_IPV6, _socket.SOCK_STREAM, _socket.AF_INET6),
    "reach_resolver": lambda: _reach(RESOLVER, _socket.SOCK_DGRAM),
    "reach_bridge": lambda: _reach(BRIDGE, _socket.SOCK_STREAM),
    "reach_engine_port": lambda: _reach(ENGINE, _socket.SOCK_STREAM),
    "resolve_name": _resolve,
    "reach_loopback": _loopback,
    "reach_abstract_bus": lambda: _abstract(b"/org/freedesktop/systemd1/private"),
    "reach_abstract_display": lambda: _abstract(b"/tmp/.X11-unix/X0"),
    "reach_abstract_containerd": lambda: _abstract(b"/containerd-shim/moby"),
    "abstract_of_our_own": _abstract_of_our_own,
    "see_interface": _interface,
}
"""Name to attempt."""
