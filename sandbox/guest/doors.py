"""Listen for the agent's programs: on the container's loopback, and for commands. PID 1 keeps the sockets."""

from __future__ import annotations

import _socket

PORT = 3128
COMMANDS = b"\0pairlock-commands"  # abstract, unix(7): the container's network namespace bounds it
BACKLOG = 128
_IP_FREEBIND = 15  # linux/in.h


def listening() -> list[_socket.socket]:
    """Listen on the loopback addresses that there are.

    Raises:
        OSError: when 127.0.0.1 cannot be listened on.
    """
    first = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
    _free_bind(first)
    _listen(first, "127.0.0.1")
    try:
        second = _socket.socket(_socket.AF_INET6, _socket.SOCK_STREAM)
    except OSError:
        return [first]
    try:
        second.setsockopt(_socket.IPPROTO_IPV6, _socket.IPV6_V6ONLY, 1)
        _listen(second, "::1")
    except OSError:  # no such address here, which is usual
        second.close()
        return [first]
    return [first, second]


def commands() -> list[_socket.socket]:
    """Listen for programs that call commands; none where the profile lets no unix socket be made."""
    try:
        door = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        door.bind(COMMANDS)
    except OSError:
        return []
    door.listen(BACKLOG)
    door.setblocking(False)  # noqa: FBT003 (C, positional)
    return [door]


def _free_bind(door: _socket.socket) -> None:
    """Let the socket be bound while the interface is still down, where the kernel knows how."""
    try:
        door.setsockopt(_socket.IPPROTO_IP, _IP_FREEBIND, 1)
    except OSError:
        return


def _listen(door: _socket.socket, address: str) -> None:
    door.bind((address, PORT))
    door.listen(BACKLOG)
    door.setblocking(False)  # noqa: FBT003 (C, positional)
